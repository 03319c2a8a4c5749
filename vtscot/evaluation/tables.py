"""Scores as text: the table of the terminal, and the CSV with one line per expression."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vtscot.evaluation.episodes import EpisodeScore
from vtscot.evaluation.evaluation import Evaluation
from vtscot.evaluation.scoring import names
from vtscot.evaluation.summary import Means, Summary, beside_published, worst
from vtscot.sources.names import printable

_SHOWN: Final = 5  # of long lists
_BAR: Final = 30  # characters of the longest one
MEASURED: Final = {  # of episodes, as they are shown
    "parsed": "parse",
    "answered": "answer",
    "keyframe_hit": "keyframe shows the target",
    "keyframe_hit_short_lived": "  of short-lived targets",
    "decoded_hit": "frame of the mask shows it",
    "window_iou": "window IoU",
    "window_iou_short_lived": "  of short-lived targets",
    "decoded_iou": "mask IoU on its frame",
    "decoded_iou_visible": "  where the target is seen",
    "absent_empty": "absent target left empty",
}
EPISODE_COLUMNS: Final = (
    "parsed",
    "answered",
    "rounds",
    "keyframe_hit",
    "decoded_hit",
    "window_iou",
    "decoded_iou",
    "absent_empty",
    "short_lived",
)


def terminal_table(evaluation: Evaluation, summary: Summary) -> list[str]:
    """Scores in per cent, published ones below, then what is missing, extra or could not be scored."""
    frames = sum(row.frames for row in evaluation.rows)
    lines = [f"{evaluation.source} {evaluation.split}: {len(evaluation.rows)} expressions, {frames} frames", ""]
    lines += _scores(summary)
    lines += _published(evaluation, summary)
    lines += notes(evaluation)
    low = worst(evaluation, _SHOWN)
    lines += ["", "lowest J&F"] if low else []
    for row in low:
        text = printable(row.query.expression)
        mean = 50 * (row.scores.J + row.scores.F)
        lines.append(f"  {mean:6.2f}  {printable(row.query.video)}/{printable(row.query.exp_id)}  {text}")
    return lines


def episode_table(episodes: Mapping[str, Any]) -> list[str]:
    """What `summarize_episodes` found, in per cent, with its standard errors; how episodes ended; their rounds."""
    lines = [f"{'episodes':<30}{'mean':>9}{'se':>9}{'n':>7}"]
    for name, label in MEASURED.items():
        found = episodes[name]
        if found["n"]:
            lines.append(f"  {label:<28}{percent(found['mean']):>9}{percent(found['se']):>9}{found['n']:>7}")
    most = max(episodes["rounds"].values(), default=1)
    bars = [
        f"  {f'{n} rounds' if n != '1' else '1 round':<28}{count:>9}  {'#' * round(_BAR * count / most)}"
        for n, count in episodes["rounds"].items()
    ]
    return [*lines, *bars, f"  {'ended':<28}  {counted(episodes['ended'])}", *failures(episodes)]


def failures(episodes: Mapping[str, Any]) -> list[str]:
    """One line where queries could not be answered."""
    count = sum(episodes["failed"].values())
    return [f"{count} queries could not be answered: {counted(episodes['failed'])}"] if count else []


def counted(counts: Mapping[str, int]) -> str:
    """Counts in one line."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def notes(evaluation: Evaluation) -> list[str]:
    """One line each for predictions that are missing or extra, and for what could not be scored."""
    missing = [f"{row.query.video}/{row.query.exp_id}" for row in evaluation.rows if row.state == "missing"]
    skipped = evaluation.rules.as_released and evaluation.rules.benchmark.skips_missing
    zero = "left out, as the released script does" if skipped else "scored zero"
    lines = [f"{len(missing)} predictions are missing and were {zero}: {_some(missing)}"] if missing else []
    if evaluation.extra:
        lines.append(
            f"{len(evaluation.extra)} predictions are for no expression of the split: {_some(evaluation.extra)}"
        )
    if evaluation.unscorable:
        which = [f"{e.query.video}/{e.query.exp_id} ({e.reason}: {e.detail})" for e in evaluation.unscorable]
        lines.append(f"{len(which)} expressions have no usable ground truth and were left out: {_some(which)}")
    return lines


def csv_text(evaluation: Evaluation, episodes: Mapping[str, EpisodeScore] | None = None) -> str:
    """One line per expression, in the order of the annotation file; scores unrounded, 0 .. 1.

    `episodes` are those of a policy by id of the query: what is in them stands behind the scores.
    """
    more = names(evaluation.rules)
    beside = EPISODE_COLUMNS if episodes is not None else ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "exp_id", "kind", "expression", "state", "frames", "J", "F", "J&F", *more, *beside])
    for row in evaluation.rows:
        query, scores = row.query, row.scores
        j_and_f = (scores.J + scores.F) / 2
        numbers = [scores.J, scores.F, j_and_f, *(scores.more[name] for name in more)]
        about = [query.video, query.exp_id, query.kind or "", query.expression, row.state, row.frames]
        episode = (episodes or {}).get(query.id)
        writer.writerow([*about, *map(repr, numbers), *(_cell(episode, name) for name in beside)])
    return text.getvalue()


def _cell(episode: EpisodeScore | None, name: str) -> str:
    """A value of an episode; hits as 1 or 0, nothing where it is not asked for."""
    value = None if episode is None else getattr(episode, name)
    return "" if value is None else repr(int(value) if isinstance(value, bool) else value)


def percent(value: float | None) -> str:
    """A score in per cent with two decimals."""
    return "-" if value is None else f"{100 * value:.2f}"


def score_rows(summary: Summary) -> list[tuple[str, Means]]:
    """(name, means) of each group, then of all."""
    last = [] if "overall" in summary.groups else [("all", summary.means)]
    return [*summary.groups.items(), *last]


def _scores(summary: Summary) -> list[str]:
    rows = score_rows(summary)
    columns = ["J&F", "J", "F", *(name for name in summary.means if name not in ("J", "F", "J&F"))]
    wide = max(len(name) for name, _ in rows) + 2
    lines = [" " * wide + "".join(f"{name:>9}" for name in columns)]
    for name, means in rows:
        lines.append(f"{name:<{wide}}" + "".join(f"{percent(means.get(c)) if c in means else '':>9}" for c in columns))
    return lines


def _published(evaluation: Evaluation, summary: Summary) -> list[str]:
    rows = beside_published(evaluation, summary)
    if not rows:
        return []
    columns = evaluation.rules.benchmark.columns
    lines = ["", f"{'J&F beside published ones':<28}" + "".join(f"{c:>11}" for c in columns if len(columns) > 1)]
    return [*lines, *(f"  {name:<26}" + "".join(f"{v:>11}" for v in values) for name, values in rows), ""]


def _some(things: Sequence[str]) -> str:
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(printable(thing) for thing in things[:_SHOWN]) + more
