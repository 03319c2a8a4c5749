"""OUT/report.html: what was trained on what, every curve, and the recipe. One file, no network, no scripts.

It is made from training.json, recipe.yaml and metrics.jsonl alone, at any time. Needs no torch.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from vtscot.errors import DataError
from vtscot.files import write_text

from .curves import Curve, brief, curve
from .metrics import Line, read_metrics

REPORT: Final = "report.html"
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
    path = out / REPORT
    write_text(path, render_report(_told(out / "training.json"), _recipe(out / "recipe.yaml"), read_metrics(out)))
    return path


def render_report(told: dict[str, Any], recipe: dict[str, Any], lines: Sequence[Line]) -> str:
    """The page. `told` are the counts of the training, `recipe` its settings, `lines` its figures."""
    counted = {
        "trained on": f"{told.get('records', 0):,}",
        "tokens of an epoch": f"{told.get('tokens', 0):,}",
        "longer than the window, left out": f"{len(told.get('too_long', {})):,}",
        **{reason: f"{count:,}" for reason, count in told.get("left_out", {}).items()},
    }
    return render_page("Cold start", told, recipe, _tiles(told, lines), curves(lines), "Records", counted)


def render_page(
    stage: str,
    told: dict[str, Any],
    recipe: dict[str, Any],
    tiles: Sequence[tuple[str, str, str]],
    drawn: Sequence[Curve],
    about: str,
    counted: dict[str, str],
) -> str:
    """The page of any stage; `counted` is the table called `about`, `tiles` are (value, unit, explanation)."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    template = files(__package__ or "").joinpath("templates")
    style = template.joinpath("training.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return environment.from_string(template.joinpath("training.html.j2").read_text(encoding="utf-8")).render(
        style=style,
        style_hash=f"sha256-{digest}",
        told=told,
        state="finished" if told.get("finished") else "not finished",
        stage=stage,
        tiles=tiles,
        curves=drawn,
        about=about,
        counted=counted,
        trained=told.get("trained", {}),
        too_long=list(told.get("too_long", {}).items()),
        recipe=yaml.safe_dump(recipe, sort_keys=False),
    )


def curves(lines: Sequence[Line], meanings: dict[str, str] = MEANINGS) -> list[Curve]:
    """A curve for every figure of `meanings` that some line has."""
    timed = [
        line | {"tokens/s": line["tokens"] / line["seconds"]} if line.get("seconds") and "tokens" in line else line
        for line in lines
    ]
    drawn = []
    for name, meaning in meanings.items():
        having = [line for line in timed if isinstance(line.get(name), int | float)]
        if having:
            drawn.append(curve(name, meaning, [line["step"] for line in having], [line[name] for line in having]))
    return drawn


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


def _told(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _recipe(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return found if isinstance(found, dict) else {}
