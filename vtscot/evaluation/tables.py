"""Scores as text: the table of the terminal, and the CSV with one line per expression."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from vtscot.evaluation.evaluation import Evaluation
from vtscot.evaluation.scoring import names
from vtscot.evaluation.summary import Means, Summary, beside_published, worst
from vtscot.sources.names import printable

_SHOWN: Final = 5  # of long lists


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


def csv_text(evaluation: Evaluation) -> str:
    """One line per expression, in the order of the annotation file; scores unrounded, 0 .. 1."""
    more = names(evaluation.rules)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "exp_id", "kind", "expression", "state", "frames", "J", "F", "J&F", *more])
    for row in evaluation.rows:
        query, scores = row.query, row.scores
        j_and_f = (scores.J + scores.F) / 2
        numbers = [scores.J, scores.F, j_and_f, *(scores.more[name] for name in more)]
        about = [query.video, query.exp_id, query.kind or "", query.expression, row.state, row.frames]
        writer.writerow([*about, *map(repr, numbers)])
    return text.getvalue()


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
