"""The report of a speedrun: one HTML file without scripts. Reach, seconds, curves of the cold start, some episodes.

The episodes that are shown are chosen by the hash of their ids, so nobody picked them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from vtscot.evaluation.answers import Answer
from vtscot.files import write_text
from vtscot.frames import encode_jpeg
from vtscot.index import ensure_index
from vtscot.masks import Rle
from vtscot.publish.outline import outline
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack
from vtscot.training.metrics import read_metrics

CURVES: Final = ("lm", "accuracy", "bce", "dice", "iou", "object")
SHOWN: Final = 6
PIXELS: Final = 400 * 240
POINTS: Final = 120  # of a curve
MEASURES: Final = (
    "answered",
    "keyframe_hit",
    "keyframe_hit_short_lived",
    "window_iou",
    "window_iou_short_lived",
    "decoded_hit",
    "decoded_iou",
    "decoded_iou_visible",
    "absent_empty",
    "mean_rounds",
)


def write_page(path: Path, result: Mapping[str, Any], out: Path) -> None:
    """Write the report of `result`, what is below `out` included."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    here = Path(__file__).with_name("speedrun.html.j2").read_text(encoding="utf-8")
    style = files("vtscot.publish").joinpath("templates", "report.css").read_text(encoding="utf-8")
    style += files("vtscot.evaluation").joinpath("templates", "scores.css").read_text(encoding="utf-8")
    style += ".curve { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }"
    style += (
        ".wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 370px), 1fr)); } .one { display: block; }"
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    environment.filters["number"] = lambda value: "-" if value is None else f"{value:.3f}"
    seeds = [_seed(figures, out / f"seed-{figures['seed']}") for figures in result["each"]]
    text = environment.from_string(here).render(
        style=style, style_hash=f"sha256-{digest}", result=result, seeds=seeds, measures=MEASURES
    )
    write_text(path, text)


def _seed(figures: Mapping[str, Any], place: Path) -> dict[str, Any]:
    lines = read_metrics(place / "policy")
    return {
        "figures": figures,
        "curves": [_curve(name, lines) for name in CURVES if any(name in line for line in lines)],
        "episodes": _episodes(place),
    }


def _curve(name: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A curve in a box of 100 x 40, each point the mean of a stretch of steps."""
    values = [float(line[name]) for line in lines if name in line]
    stretch = -(-len(values) // POINTS)
    means = [sum(part) / len(part) for part in (values[i : i + stretch] for i in range(0, len(values), stretch))]
    low, high = min(*means, 0.0), max(*means, 1e-9)
    points = [
        f"{100 * i / max(1, len(means) - 1):.2f},{40 - 40 * (mean - low) / (high - low):.2f}"
        for i, mean in enumerate(means)
    ]
    last = sum(values[-50:]) / len(values[-50:])
    return {
        "name": name,
        "points": " ".join(points),
        "low": low,
        "high": high,
        "last": last,
        "steps": lines[-1]["step"],
    }


def _episodes(place: Path) -> list[dict[str, Any]]:
    """A few answers with the last decoded frame, the target and the mask on it."""
    lines = (place / "eval" / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {answer.query_id: answer for answer in map(Answer.model_validate_json, lines)}
    source = open_source("demo", place / "run" / "source", "valid_u")
    index = ensure_index(source, place / "eval" / "index")
    chosen = sorted(answers, key=lambda key: hashlib.sha256(key.encode()).digest())[:SHOWN]
    queries = {query.id: query for query in index.queries}
    return [_episode(answers[key], queries[key], index, source) for key in chosen if key in queries]


def _episode(answer: Answer, query: Any, index: Any, source: Any) -> dict[str, Any]:
    target, picture = index.target(query), None
    if answer.decoded is not None:
        frames = source.frames(index.videos[query.video])
        width, height = frames.size(answer.decoded)
        data = base64.b64encode(encode_jpeg(frames.image(answer.decoded, PIXELS), 70)).decode("ascii")
        truth = None if target is None else target.rle(answer.decoded)
        paths = {"truth": _outline(truth), "predicted": _outline(answer.rle)}
        picture = {"data": data, "width": width, "height": height, "frame": answer.decoded, **paths}
    return {"query": query, "answer": answer, "picture": picture, "seen": _seen(target)}


def _seen(target: MaskTrack | None) -> str:
    """When the target is seen, in words."""
    spans = target.spans() if target is not None else ()
    return (
        "seen in " + ", ".join(f"{start} to {end}" for start, end in spans) if spans else "means nothing in the video"
    )


def _outline(mask: Rle | None) -> str:
    return "" if mask is None else outline(mask, 0.7)
