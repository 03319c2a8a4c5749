"""What the tests of all stages of training share: recipes as files, a process that dies, and waiting for one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml


def write_recipe(path: Path, small: dict[str, Any], **changes: Any) -> Path:
    """A file of the settings `small` with changed keys."""
    path.write_text(yaml.safe_dump({**small, **changes}))
    return path


class Stop(Exception):
    """A process that dies in the middle of a training."""


def after_figures(patch: pytest.MonkeyPatch, step: int, then: Callable[[], object]) -> None:
    """Call `then` after the figures of `step` were written, before a checkpoint is."""
    from vtscot.training.callbacks import Figures

    written = Figures.on_log

    def on_log(self: Figures, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        written(self, args, state, control, **kwargs)
        if state.global_step == step:
            then()

    patch.setattr(Figures, "on_log", on_log)


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Raise after the figures of `step` were written: without a checkpoint, as a power cut would."""

    def stop() -> None:
        raise Stop

    with monkeypatch.context() as patch:
        after_figures(patch, step, stop)
        with pytest.raises(Stop):
            yield


def wait_for(path: Path, process: subprocess.Popen[str], lines: int, seconds: float = 400) -> None:
    """Until `path` has so many lines."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        if path.is_file() and len(path.read_text().splitlines()) >= lines:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} did not get {lines} lines: {process.stderr and process.stderr.read()}")
