"""Progress on standard error: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class PlainProgress:
    """One line when a stage begins, and one every few seconds while it runs."""

    def __init__(self, every: float = 10.0) -> None:
        self._every = every
        self._name = ""
        self._done = 0
        self._total: int | None = None
        self._said = self._begun = time.monotonic()
        self._status = ""

    def stage(self, name: str, total: int | None = None) -> None:
        self._name, self._done, self._total, self._status = name, 0, total, ""
        self._said = self._begun = time.monotonic()
        self.note(f"{name}: {total}" if total is not None else name)

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        if time.monotonic() - self._said >= self._every:
            self._said = time.monotonic()
            of = f" of {self._total}" if self._total is not None else ""
            rate = f"{self._done / (self._said - self._begun):,.2f} a second"
            self.note(f"{self._name}: {self._done}{of}, {rate}" + (f"; {self._status}" if self._status else ""))

    def status(self, text: str) -> None:
        self._status = text

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()


class BarProgress:
    """A bar per stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars: Bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self._task = self._bars.add_task(name, total=total, status="")

    def advance(self, steps: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def status(self, text: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, status=text)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


def progress() -> PlainProgress | BarProgress:
    """What suits standard error."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
