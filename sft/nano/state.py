"""What training has reached, as safetensors and a line of JSON: written whole, so that it can go on after any stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file

_MOMENTS: Final = ("exp_avg", "exp_avg_sq", "step")


def save_state(path: Path, model: Any, optimizer: Any | None, names: list[str], where: dict[str, Any]) -> None:
    """Weights, moments of the optimizer's parameters (called `names`, in its order) if any, and `where` it stands."""
    tensors = {f"model.{name}": value.contiguous() for name, value in _distinct(model).items()}
    states = optimizer.state_dict()["state"] if optimizer is not None else {}
    for number, state in states.items():
        for moment in _MOMENTS:
            tensors[f"{moment}.{names[number]}"] = torch.as_tensor(state[moment]).contiguous()
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"where": json.dumps(where)})
    part.replace(path)


def load_state(path: Path, model: Any, optimizer: Any | None, names: list[str]) -> dict[str, Any]:
    """Puts a saved state back and returns `where`; moments of parameters that are not trained now are left out."""
    with safe_open(path, framework="pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a safetensors file is no dict
        where: dict[str, Any] = json.loads(file.metadata()["where"])
    weights = {key.removeprefix("model."): value for key, value in found.items() if key.startswith("model.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    untied = [name for name in missing if name not in _tied(model)]
    if untied or unexpected:
        raise ValueError(f"{path} is a state of another model: {[*untied, *unexpected][0]}; start in a new folder")
    if optimizer is not None:
        state = {
            number: {moment: found[f"{moment}.{name}"] for moment in _MOMENTS}
            for number, name in enumerate(names)
            if f"step.{name}" in found
        }
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return where


def _distinct(model: Any) -> dict[str, torch.Tensor]:
    tied = _tied(model)
    return {name: value for name, value in model.state_dict().items() if name not in tied}


def _tied(model: Any) -> set[str]:
    """Names of tensors that are another one under a second name."""
    seen: set[int] = set()
    tied = set()
    for name, value in model.state_dict().items():
        if value.data_ptr() in seen and value.numel():
            tied.add(name)
        seen.add(value.data_ptr())
    return tied
