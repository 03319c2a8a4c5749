"""Checkpoints of a training: OUT/checkpoints/checkpoint-STEP, each whole or not there. Needs no torch.

A checkpoint is written in a folder of another name, synced, and renamed; only then older ones are removed. So an
interruption or a full disk at any moment leaves the last whole one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from vtscot.errors import PolicyError

CHECKPOINTS: Final = "checkpoints"
SAVING: Final = ".saving"
_PREFIX: Final = "checkpoint-"


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of the training in `out`."""
    found = _whole(out / CHECKPOINTS)
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint was made after."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def settle(folder: Path, step: int, keep: int) -> None:
    """Give the checkpoint of `step` its name, and keep no more than `keep`."""
    fresh = folder / SAVING / f"{_PREFIX}{step}"
    for path in fresh.rglob("*"):
        if path.is_file():
            _sync(path)
    target = folder / fresh.name
    if target.exists():  # the same step, trained again after a resume from an older one
        shutil.rmtree(target)
    fresh.rename(target)
    shutil.rmtree(folder / SAVING)
    for old in _whole(folder)[:-keep]:
        shutil.rmtree(old)


def unsaved(folder: Path, step: int, error: Exception) -> PolicyError:
    """What is said when a checkpoint cannot be written; what there is of it is removed."""
    shutil.rmtree(folder / SAVING, ignore_errors=True)
    found = _whole(folder)
    rest = f"that of step {step_of(found[-1])} is whole" if found else "there is no earlier one"
    reason = " ".join(str(error).split())[:200]
    return PolicyError(
        f"{folder}: the checkpoint of step {step} cannot be written ({reason}); {rest}:"
        " free some space and go on with --resume"
    )


def _whole(folder: Path) -> list[Path]:
    """Checkpoints by step, oldest first."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit()]
    return sorted(found, key=step_of)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
