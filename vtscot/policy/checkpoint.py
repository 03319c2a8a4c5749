"""A policy's folder: what is checked before it is loaded, and how it is written so that an old one survives a failure.

Files: config.json, model.safetensors (or shards and their index), and those of the processor. Weights in pickle
files are refused: loading them runs code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from vtscot.errors import PolicyError
from vtscot.policy.config import FORMAT_VERSION, MODEL_TYPE, PolicyConfig

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
WEIGHTS_INDEX: Final = "model.safetensors.index.json"
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def check_policy(name: str, **hub: Any) -> None:
    """Raise PolicyError unless `name`, a folder or an id of the Hub, is a policy that this version can load."""
    folder = Path(name)
    if folder.exists():
        _check_folder(folder)
    try:
        found, _ = PolicyConfig.get_config_dict(name, **hub)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise PolicyError(f"{name}: no config of a policy can be read there ({reason})") from error
    _check_config(name, found)


def check_weights(folder: Path) -> None:
    """Raise PolicyError unless `folder` holds all its weights as safetensors."""
    if (folder / WEIGHTS_INDEX).is_file():
        missing = [shard for shard in _shards(folder) if not (folder / shard).is_file()]
        if missing:
            raise PolicyError(f"{folder}: {missing[0]} and so part of the weights is missing; copy the whole folder")
    elif not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise PolicyError(
                f"{folder}: {pickles[0]} is a pickle file, and loading it could run code; save it as {WEIGHTS} instead"
            )
        raise PolicyError(f"{folder}: no weights ({WEIGHTS} is missing); copy the whole folder")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise PolicyError(f"{folder} is a file, not the folder of a policy")
    if not (folder / CONFIG).is_file():
        raise PolicyError(f"{folder}: no policy there ({CONFIG} is missing); make one with `vtscot init-policy`")
    check_weights(folder)


def _shards(folder: Path) -> list[str]:
    try:
        names = json.loads((folder / WEIGHTS_INDEX).read_text())["weight_map"].values()
        return sorted({Path(name).name for name in names})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PolicyError(f"{folder / WEIGHTS_INDEX} is no index of weights: {error}") from error


def _check_config(name: str, found: dict[str, Any]) -> None:
    kind = found.get("model_type")
    if kind != MODEL_TYPE:
        raise PolicyError(f"{name} is no policy (model type {kind!r}); join it with SAM 2 by `vtscot init-policy`")
    version = found.get("format_version")
    if version != FORMAT_VERSION:
        raise PolicyError(
            f"{name} has format {version!r}, this vtscot reads {FORMAT_VERSION}; use the version that wrote it"
        )
    if not isinstance(found.get("seg_token_id"), int):
        raise PolicyError(f"{name} knows no [SEG] token; join the checkpoints again with `vtscot init-policy`")


def save_whole(directory: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `directory`'s files, then put its files in their place, config.json last.

    When writing fails (a full disk), what was in `directory` is as it was. Files that are not written again, such as
    the processor's, stay; weights of the old checkpoint under other names are removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".saving-") as temporary:
        fresh = Path(temporary)
        write(fresh)
        names = sorted((path.name for path in fresh.iterdir()), key=lambda name: (name == CONFIG, name))
        for name in names:
            _replace(fresh / name, directory / name)
        for stale in directory.glob("model*.safetensors*"):
            if stale.name not in names and names:
                stale.unlink()


def _replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    new.replace(old)
