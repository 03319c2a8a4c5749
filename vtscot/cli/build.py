"""`vtscot build`: run the engine, or say what it would do, and print what came out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import typer

from vtscot.build import Summary, build
from vtscot.cli.progress import progress
from vtscot.errors import RunError
from vtscot.estimate import estimate
from vtscot.recipe import Recipe


def build_command(recipe: Recipe, directory: Path, *, dry_run: bool, as_json: bool) -> None:
    """Build, print the summary, and fail where there were queries but none could be worked on."""
    if dry_run:
        _dry_run(recipe, as_json=as_json)
        return
    with progress() as say:
        summary = build(recipe, directory, say)
    typer.echo(json.dumps(summary.json()) if as_json else "\n".join(table(summary)))
    if summary.states["failed"] and not summary.states["kept"] + summary.states["rejected"]:
        first = next(o for o in summary.outcomes if o.state == "failed")
        raise RunError(f"every query failed; the first, {first.query.id}: {first.detail}")


def table(summary: Summary) -> list[str]:
    """The summary as lines of text."""
    figures = summary.json()
    lines = ["", f"{'queries':<28}{figures['queries']:>6}"]
    for state, count in summary.states.items():
        lines.append(f"  {state:<26}{count:>6}")
        reasons = {o.reason for o in summary.outcomes if o.state == state and o.reason}
        lines += [
            f"    {reason:<24}{_count(summary, state, reason):>6}" for reason in summary.reasons if reason in reasons
        ]
    lines += ["", "turns of kept episodes"]
    lines += [
        f"  {n} {'turn ' if n == 1 else 'turns'}{count:>25}  {_bar(count, summary)}"
        for n, count in summary.turns.items()
    ]
    iou = summary.keyframe_iou
    lines += ["", f"{'mean keyframe IoU':<28}{'-' if iou is None else format(iou, '.3f'):>6}"]
    seconds = " ".join(f"{name} {value:.1f}" for name, value in summary.seconds.items())
    return [*lines, f"seconds  {seconds}", "", f"dataset  {summary.dataset}", f"report   {summary.report}"]


def _count(summary: Summary, state: str, reason: str) -> int:
    return sum(outcome.state == state and outcome.reason == reason for outcome in summary.outcomes)


def _bar(count: int, summary: Summary) -> str:
    return "#" * round(30 * count / max(summary.turns.values()))


def _dry_run(recipe: Recipe, *, as_json: bool) -> None:
    with progress() as say, tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        figures = estimate(recipe, Path(scratch), say)
    typer.echo(json.dumps(figures) if as_json else "\n".join(_estimate_lines(figures)))


def _estimate_lines(figures: dict[str, Any]) -> list[str]:
    turns = ", ".join(f"{n}: {count}" for n, count in figures["turns"].items())
    return [
        "",
        f"queries to work on  {figures['queries']}   skipped {figures['skipped']}",
        f"planned turns       {turns}",
        f"requests            {figures['requests']}   with {figures['images']} images",
        "nothing was sent and nothing was written",
    ]
