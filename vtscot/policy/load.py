"""A policy by its name, ready for use: the demonstration weights of the package, a folder, or an id of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from vtscot.errors import PolicyError, UsageError
from vtscot.policy.checkpoint import CONFIG
from vtscot.policy.model import Policy
from vtscot.policy.processor import PolicyProcessor

NANO: Final = "nano"
NANO_FOLDER: Final = Path(__file__).resolve().parents[1] / "nano"
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_policy(
    name: str | Path | None = None, device: str = "auto", dtype: str = "auto"
) -> tuple[Policy, PolicyProcessor]:
    """The policy and its processor, in evaluation mode on `device`.

    `name` is "nano" (or None) for the weights that come with the package, which only demonstrate: they have seen
    nothing but demo videos; otherwise a folder (`./nano` for one of that name) or an id of the Hub. `device` "auto" is
    the GPU where there is one. `dtype` "auto" is float32 on a CPU, where half the bits are many times slower, and the
    stored type elsewhere. PolicyError where there is no such policy; UsageError for another device or type.
    """
    place = policy_folder(name)
    wanted = choose_device(device)
    policy = Policy.from_pretrained(place, dtype=choose_dtype(dtype, wanted))
    processor = PolicyProcessor.from_pretrained(place)
    return policy.to(wanted).eval(), processor


def policy_folder(name: str | Path | None) -> str:
    """Where the policy of that name is: a folder, or the id itself."""
    if name is not None and str(name) != NANO:
        return str(name)
    if not (NANO_FOLDER / CONFIG).is_file():
        raise PolicyError(
            f"{NANO_FOLDER.name}/{CONFIG} is missing: this vtscot has no policy of its own; name a folder"
        )
    return str(NANO_FOLDER)


def choose_device(device: str) -> torch.device:
    """The device of that name; UsageError for one that this machine has not."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UsageError(f"no device {device!r} here ({reason}); take cpu, cuda or auto") from error
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype | str:
    """The type of that name, or "auto" for the stored one; on a CPU auto is float32. UsageError for another name."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise UsageError(f"no dtype {dtype!r}; there are auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]
