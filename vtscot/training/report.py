"""OUT/report.html of a training: what was trained on what, every curve, and the recipe. No network, no scripts.

It is made from training.json, recipe.yaml and metrics.jsonl alone, at any time. Needs no torch.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from vtscot.errors import DataError
from vtscot.files import write_text

from .curves import Curve, curve
from .metrics import Line, read_metrics
from .place import RECIPE, TRAINING

REPORT: Final = "report.html"
Render = Callable[[dict[str, Any], dict[str, Any], Sequence[Line]], str]


def write_page(out: Path, render: Render) -> Path:
    """Write the report of the training in `out`; `render` takes its counts, its settings and its figures.

    DataError where there is no training.
    """
    path = out / REPORT
    write_text(path, render(_told(out / TRAINING), _recipe(out / RECIPE), read_metrics(out)))
    return path


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


def curves(lines: Sequence[Line], meanings: dict[str, str]) -> list[Curve]:
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
