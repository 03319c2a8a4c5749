"""What happens beside the steps: figures are written, the console is told, an interruption is heeded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from vtscot.progress import Progress

from . import events
from .metrics import FIGURES, Line, append

_NAMES = {"learning_rate": "lr"}  # Trainer's names, where ours are others


class Figures(TrainerCallback):  # type: ignore[misc]
    """Appends every log to metrics.jsonl and TensorBoard's file, and advances the progress on the main process."""

    def __init__(self, out: Path, say: Progress) -> None:
        self._out, self._say = out, say

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """One line for one or more steps."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        named: Line = {_NAMES.get(name, name): value for name, value in logs.items()}
        figures: Line = {name: named[name] for name in FIGURES if name in named}
        line: Line = {"step": state.global_step, "epoch": state.epoch, **figures}
        append(self._out, line)
        events.add(self._out, line)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step is done."""
        if state.is_world_process_zero:
            self._say.advance()


class Console(TrainerCallback):  # type: ignore[misc]
    """Says the figures of about twenty steps of the training."""

    def __init__(self, say: Progress, every: int) -> None:
        self._say, self._every = say, every

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """A line now and then."""
        due = state.global_step % self._every == 0 or state.global_step in (1, state.max_steps)
        if state.is_world_process_zero and logs and "loss" in logs and due:
            self._say.note(spoken({"step": state.global_step, **logs}, state.max_steps))


def spoken(line: Line, steps: int) -> str:
    """The figures of a step as one line of text."""
    terms = "  ".join(f"{name} {line[name]:.3f}" for name in ("lm", "bce", "dice", "object"))
    iou = f"  iou {line['iou']:.3f}" if "iou" in line else ""
    speed = f"  {line['tokens'] / line['seconds']:,.0f} tokens/s" if line.get("seconds") else ""
    return f"step {line['step']} of {steps}  loss {line['loss']:.3f}  {terms}  words {line['accuracy']:.3f}{iou}{speed}"


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
