"""What a cold start has to reach, measured: a policy's episodes beside the baselines, and over several seeds."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vtscot.evaluation.answers import Answer
from vtscot.evaluation.baselines import Known, baselines
from vtscot.index import ensure_index
from vtscot.sources.registry import open_source

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the reach: what is measured, what it is held against, and from where on it holds.

    `policy` and `baseline` read a seed's figures; the line holds where the one is `how` (`>=`, `>` or `<`) `needed` of
    the other. A fixed figure is a baseline that nobody has to beat.
    """

    name: str
    rule: str
    policy: Callable[[Figures], float | None]
    baseline: Callable[[Figures], float | None]
    how: str = ">="
    needed: Callable[[float], float] = float


def _of(*path: str) -> Callable[[Figures], float | None]:
    """Reads the `mean` at a place in the figures; None where nothing is to be said."""

    def read(figures: Figures) -> float | None:
        value: Any = figures
        for key in (*path, "mean"):
            value = value[key]
        return None if value is None else float(value)

    return read


def _fixed(value: float) -> Callable[[Figures], float | None]:
    return lambda _: value


LINES: Final = (
    Line("episodes that parse and answer", ">= 0.95", _of("policy", "answered"), _fixed(0.95)),
    Line(
        "keyframe on a visible target, short-lived targets",
        ">= best constant + 0.10",
        _of("policy", "keyframe_hit_short_lived"),
        _of("baselines", "keyframe_hit_short_lived"),
        needed=lambda constant: constant + 0.10,
    ),
    Line("window IoU", "> best constant", _of("policy", "window_iou"), _of("baselines", "window_iou"), ">"),
    Line(
        "mask IoU on the decoded frame",
        ">= 1.5 x box of the largest object",
        _of("policy", "decoded_iou"),
        _of("baselines", "largest_box", "decoded"),
        needed=lambda box: 1.5 * box,
    ),
    Line(
        "the same, where that frame shows the target",
        ">= 1.5 x box of the largest object",
        _of("policy", "decoded_iou_visible"),
        _of("baselines", "largest_box", "decoded_visible"),
        needed=lambda box: 1.5 * box,
    ),
    Line("absent targets left empty", ">= 0.80", _of("policy", "absent_empty"), _fixed(0.80)),
    Line("minutes", "< 15", lambda figures: float(figures["minutes"]), _fixed(15.0), "<"),
)
HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {">=": operator.ge, ">": operator.gt, "<": operator.lt}


def seed_figures(run: Path, evaluated: Path, scratch: Path, seconds: Mapping[str, float]) -> dict[str, Any]:
    """All figures of one seed, from the answers in `evaluated` and the ground truth of the run's valid_u."""
    policy = json.loads((evaluated / "scores.json").read_text(encoding="utf-8"))["episodes"]
    lines = (evaluated / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {answer.query_id: answer for answer in map(Answer.model_validate_json, lines)}
    known = known_queries(run / "source", scratch, set(answers))
    decoded = {key: answer.decoded for key, answer in answers.items() if answer.decoded is not None}
    return {
        "policy": policy,
        "baselines": baselines(known, decoded),
        "queries": len(known),
        "seconds": dict(seconds),
        "minutes": sum(seconds.values()) / 60,
    }


def known_queries(root: Path, scratch: Path, asked: set[str]) -> list[Known]:
    """The ground truth of the queries that were asked."""
    index = ensure_index(open_source("demo", root, "valid_u"), scratch / "index")
    tracks = {name: index.track(name) for query in index.queries for name in (*query.anno_ids, *index.others(query))}
    return [
        Known(
            query_id=query.id,
            truth=index.target(query),
            objects=tuple(tracks[name] for name in sorted({*query.anno_ids, *index.others(query)})),
            num_frames=len(index.videos[query.video].frames),
        )
        for query in index.queries
        if query.id in asked
    ]


def over_seeds(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean over the seeds and its standard error (None for fewer than two)."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "se": None}
    mean = math.fsum(known) / len(known)
    spread = math.fsum((value - mean) ** 2 for value in known)
    se = math.sqrt(spread / (len(known) - 1) / len(known)) if len(known) > 1 else None
    return {"mean": mean, "se": se}


def reach(seeds: Sequence[Figures]) -> list[dict[str, Any]]:
    """Every line over the seeds: measured, baseline, what it needed, and whether the means hold it."""
    return [_row(line, [line.policy(figures) for figures in seeds], seeds) for line in LINES]


def _row(line: Line, each: list[float | None], seeds: Sequence[Figures]) -> dict[str, Any]:
    measured = over_seeds(each)
    baseline = over_seeds([line.baseline(figures) for figures in seeds])["mean"]
    needed = None if baseline is None else line.needed(baseline)
    mean = measured["mean"]
    held = None if mean is None or needed is None else HOLDS[line.how](mean, needed)
    row = {"name": line.name, "rule": line.rule, "baseline": baseline, "needed": needed}
    return row | {"measured": measured, "each": each, "held": held}
