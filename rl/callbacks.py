"""What happens beside the steps of the reinforcement stage: figures, the console, the guard of the optimiser."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from vtscot.progress import Progress
from vtscot.sft import events
from vtscot.sft.metrics import Line, append

NAMES = {
    "learning_rate": "lr",
    "clip_ratio/region_mean": "clip",
}
_LEFT_OUT = ("clip_ratio/", "epoch", "total_flos", "train_", "step_time", "num_tokens", "num_input_tokens_seen")


class Figures(TrainerCallback):  # type: ignore[misc]
    """Appends every log to metrics.jsonl and advances the progress on the main process."""

    def __init__(self, out: Path, say: Progress) -> None:
        self._out, self._say, self._since = out, say, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Time counts from here."""
        self._since = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """One line for one or more steps; a figure that is no number is left out."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        now = time.monotonic()
        line: Line = {"step": state.global_step, "epoch": state.epoch, **named(logs), "seconds": now - self._since}
        self._since = now
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
            self._say.note(spoken(state.global_step, state.max_steps, named(logs)))


class Guard(TrainerCallback):  # type: ignore[misc]
    """Has the trainer look at the gradients before every step of the optimiser."""

    def __init__(self) -> None:
        self.trainer: Any = None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Right before the step."""
        self.trainer.guard()


def named(logs: dict[str, Any]) -> Line:
    """The figures of a log by our names."""
    kept = {name: value for name, value in logs.items() if name in NAMES or not name.startswith(_LEFT_OUT)}
    return {NAMES.get(name, name): value for name, value in kept.items() if _finite(value)}


def spoken(step: int, steps: int, line: Line) -> str:
    """The figures of a step as one line of text."""
    shown = ("reward", "reward_std", "zero_spread", "kl", "iou", "turns", "answered")
    figures = "  ".join(f"{name} {line[name]:.3f}" for name in shown if name in line)
    lost = "".join(f"  {name} {line[name]:.0f}" for name in ("failed", "skipped") if line.get(name))
    return f"step {step} of {steps}  {figures}{lost}"


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
