"""What a step of the cold start tells, for metrics.jsonl and for the console. Needs no torch.

loss is the weighted sum of the terms lm, bce, dice and object; accuracy is of the tokens of the replies, iou of visible
targets at the size of the logits, left out where a step shows none.
"""

from __future__ import annotations

from typing import Any, Final

from vtscot.training.metrics import Line

FIGURES: Final = ("loss", "lm", "bce", "dice", "object", "accuracy", "iou", "lr", "grad_norm", "tokens", "seconds")
_NAMES: Final = {"learning_rate": "lr"}  # Trainer's names, where ours are others


def named(logs: dict[str, Any]) -> Line:
    """The figures of a log by our names, in order."""
    ours = {_NAMES.get(name, name): value for name, value in logs.items()}
    return {name: ours[name] for name in FIGURES if name in ours}


def spoken(step: int, steps: int, logs: dict[str, Any]) -> str:
    """The figures of a step as one line of text."""
    terms = "  ".join(f"{name} {logs[name]:.3f}" for name in ("lm", "bce", "dice", "object"))
    iou = f"  iou {logs['iou']:.3f}" if "iou" in logs else ""
    speed = f"  {logs['tokens'] / logs['seconds']:,.0f} tokens/s" if logs.get("seconds") else ""
    return f"step {step} of {steps}  loss {logs['loss']:.3f}  {terms}  words {logs['accuracy']:.3f}{iou}{speed}"
