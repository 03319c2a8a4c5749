"""What happens beside the steps: figures are written, the console is told, an interruption is heeded."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from vtscot.progress import Progress

from . import events
from .metrics import Line, append

Logs = dict[str, Any]


class Figures(TrainerCallback):  # type: ignore[misc]
    """Appends every log to metrics.jsonl and TensorBoard's file, and advances the progress on the main process.

    `named` gives the figures of a log by our names; `seconds` since the line before are added where it has none.
    """

    def __init__(self, out: Path, say: Progress, named: Callable[[Logs], Line]) -> None:
        self._out, self._say, self._named, self._since = out, say, named, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Time counts from here."""
        self._since = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Logs | None = None, **_: Any) -> None:
        """One line for one or more steps."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        line: Line = {"step": state.global_step, "epoch": state.epoch, **self._named(logs)}
        now = time.monotonic()
        line.setdefault("seconds", now - self._since)
        self._since = now
        append(self._out, line)
        events.add(self._out, line)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step is done."""
        if state.is_world_process_zero:
            self._say.advance()


class Console(TrainerCallback):  # type: ignore[misc]
    """Says the figures of about twenty of all steps; `spoken` makes the line of a step, all steps and a log."""

    def __init__(self, say: Progress, steps: int, spoken: Callable[[int, int, Logs], str]) -> None:
        self._say, self._every, self._spoken = say, max(1, steps // 20), spoken

    def on_log(self, args: Any, state: Any, control: Any, logs: Logs | None = None, **_: Any) -> None:
        """A line now and then."""
        due = state.global_step % self._every == 0 or state.global_step in (1, state.max_steps)
        if state.is_world_process_zero and logs and "loss" in logs and due:
            self._say.note(self._spoken(state.global_step, state.max_steps, logs))


class Interruption(TrainerCallback):  # type: ignore[misc]
    """Ctrl-C (or a polite end) finishes the step, saves, and ends the training; a second one ends it at once."""

    def __init__(self, reduce: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        self.asked = False
        self.reduce = reduce  # adds up over processes: all of them stop after the same step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop here, where anyone was asked to."""
        asked = torch.tensor(float(self.asked), device=args.device)
        if float(asked if self.reduce is None else self.reduce(asked)) > 0:
            self.asked = True
            control.should_save = control.should_training_stop = True

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Signals set the flag while the block runs. They reach only the main thread; elsewhere nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self._ask) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
