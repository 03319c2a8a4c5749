"""OUT/report.html of a cold start: its records, curves and recipe; see `vtscot.training.report`. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vtscot.training.curves import brief
from vtscot.training.metrics import Line
from vtscot.training.report import curves, render_page, write_page

MEANINGS: Final = {
    "loss": "weighted sum of the terms",
    "lm": "cross-entropy of the replies, per token",
    "bce": "masks: cross-entropy per point",
    "dice": "masks: 1 - overlap of the points",
    "object": "is the target in the frame at all",
    "accuracy": "share of the tokens said right (of the true prefix)",
    "iou": "masks of visible targets",
    "lr": "learning rate",
    "grad_norm": "length of the gradient before clipping",
    "tokens/s": "all processes together",
}


def write_report(out: Path) -> Path:
    """Write the report of the training in `out`; DataError where there is none."""
    return write_page(out, render_report)


def render_report(told: dict[str, Any], recipe: dict[str, Any], lines: Sequence[Line]) -> str:
    """The page. `told` are the counts of the training, `recipe` its settings, `lines` its figures."""
    counted = {
        "trained on": f"{told.get('records', 0):,}",
        "tokens of an epoch": f"{told.get('tokens', 0):,}",
        "longer than the window, left out": f"{len(told.get('too_long', {})):,}",
        **{reason: f"{count:,}" for reason, count in told.get("left_out", {}).items()},
    }
    return render_page("Cold start", told, recipe, _tiles(told, lines), curves(lines, MEANINGS), "Records", counted)


def _tiles(told: dict[str, Any], lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """(value, unit, explanation) of what matters most."""
    last = lines[-1] if lines else {"step": 0, "epoch": 0.0}
    seconds = sum(line.get("seconds", 0.0) for line in lines)
    tokens = sum(line.get("tokens", 0.0) for line in lines)
    trained = sum(told.get("trained", {}).values())
    return [
        (f"{last['step']:,}", "steps", f"{last['epoch']:.2f} epochs"),
        (f"{told.get('records', 0):,}", "records", f"{len(told.get('too_long', {}))} too long"),
        (brief(trained), "trained parameters", f"of {told.get('parameters', 0):,}"),
        (_span(seconds), "in steps", f"{tokens / max(seconds, 1e-9):,.0f} tokens/s"),
    ]


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
