"""What happens beside the steps of the reinforcement stage: names of figures, the guard of the optimiser."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback

from vtscot.training.metrics import Line

NAMES = {
    "learning_rate": "lr",
    "clip_ratio/region_mean": "clip",
}
_LEFT_OUT = ("clip_ratio/", "epoch", "total_flos", "train_", "step_time", "num_tokens", "num_input_tokens_seen")


class Guard(TrainerCallback):  # type: ignore[misc]
    """Has the trainer look at the gradients before every step of the optimiser."""

    def __init__(self) -> None:
        self.trainer: Any = None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Right before the step."""
        self.trainer.guard()


def named(logs: dict[str, Any]) -> Line:
    """The figures of a log by our names; one that is no number is left out."""
    kept = {name: value for name, value in logs.items() if name in NAMES or not name.startswith(_LEFT_OUT)}
    return {NAMES.get(name, name): value for name, value in kept.items() if _finite(value)}


def spoken(step: int, steps: int, logs: dict[str, Any]) -> str:
    """The figures of a step as one line of text."""
    line = named(logs)
    shown = ("reward", "reward_std", "zero_spread", "kl", "iou", "turns", "answered")
    figures = "  ".join(f"{name} {line[name]:.3f}" for name in shown if name in line)
    lost = "".join(f"  {name} {line[name]:.0f}" for name in ("failed", "skipped") if line.get(name))
    return f"step {step} of {steps}  {figures}{lost}"


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
