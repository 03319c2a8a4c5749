"""`vtscot build`: run the engine, or say what it would do, and print what came out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import typer

from vtscot.build import Summary, build, rebuild
from vtscot.cli.progress import progress
from vtscot.errors import COST_REACHED, RunError, StoppedError, UsageError
from vtscot.estimate import estimate
from vtscot.ledger import Ledger
from vtscot.publish.figures import Figures
from vtscot.recipe import Recipe
from vtscot.run import differences


def build_command(
    recipe: Recipe, directory: Path, *, dry_run: bool, update: bool, only_failed: bool, as_json: bool
) -> None:
    """Build and print the summary; RunError where every query that was worked on failed."""
    if update and only_failed:
        raise UsageError("--only-failed leaves everything else as it is: it cannot go with --update")
    if dry_run:
        _dry_run(recipe, directory, as_json=as_json)
        return
    with progress() as say:
        summary = build(recipe, directory, say, update=update, only_failed=only_failed)
    show(summary, as_json=as_json)


def rebuild_command(directory: Path, assignments: list[str], *, as_json: bool) -> None:
    """Make a run's dataset again from its ledger and print the summary."""
    with progress() as say:
        summary = rebuild(directory, assignments, say)
    show(summary, as_json=as_json)


def show(summary: Summary, *, as_json: bool) -> None:
    """Print the summary; RunError where every query that was worked on failed."""
    typer.echo(json.dumps(summary.json()) if as_json else "\n".join(table(summary)))
    states, failures = summary.figures.states, summary.figures.reasons["failed"]
    if unasked := failures.get(COST_REACHED):
        raise StoppedError(f"the cost limit is reached: {unasked} queries are not asked yet")
    if states["failed"] and not states["kept"] + states["rejected"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in failures.items())
        raise RunError(f"every query failed ({reasons}); {summary.failures} says why for each")


def table(summary: Summary) -> list[str]:
    """The summary as lines of text."""
    figures = summary.figures
    iou = "-" if figures.keyframe_iou is None else f"{figures.keyframe_iou:.3f}"
    seconds = " ".join(f"{name} {value:.1f}" for name, value in summary.seconds.items())
    return [
        "",
        *_states(figures),
        "",
        *_turns(figures),
        "",
        f"{'mean keyframe IoU':<28}{iou:>6}",
        f"seconds  {seconds}",
        "",
        f"dataset  {summary.published.dataset}",
        f"report   {summary.published.report}",
        *([f"failures {summary.failures}"] if figures.states["failed"] else []),
    ]


def _states(figures: Figures) -> list[str]:
    lines = [f"{'queries':<28}{figures.queries:>6}"]
    for state, count in figures.states.items():
        lines.append(f"  {state:<26}{count:>6}")
        lines += [f"    {reason:<24}{n:>6}" for reason, n in figures.reasons.get(state, {}).items()]
    return lines


def _turns(figures: Figures) -> list[str]:
    most = max(figures.turns.values(), default=1)
    bars = [
        f"  {f'{n} turn' if n == 1 else f'{n} turns':<26}{count:>6}  {'#' * round(30 * count / most)}"
        for n, count in figures.turns.items()
    ]
    return ["turns of kept episodes", *bars]


def _dry_run(recipe: Recipe, directory: Path, *, as_json: bool) -> None:
    with progress() as say, tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        for change in _changes(recipe, directory):
            say.note(f"changed  {change}")
        figures = estimate(recipe, Path(scratch), say, directory)
    typer.echo(json.dumps(figures) if as_json else "\n".join(_estimate_lines(figures)))


def _changes(recipe: Recipe, directory: Path) -> list[str]:
    """The settings that the run was not made with; only `--update` would take them."""
    path = directory / "ledger.sqlite"
    if not path.is_file():
        return []
    with Ledger(path, read_only=True) as ledger:
        made_with = ledger.setting("identity")
    return differences(json.loads(made_with), recipe.identity()) if made_with else []


def _stored_text(stored: int) -> str:
    return f"; {stored} more are answered by the ledger" if stored else ""


def _cost_text(cost: float | None) -> str:
    return "unknown: set teacher.input_price and teacher.output_price" if cost is None else f"about {cost:.2f}"


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "at most a day for each batch; a turn takes two batches, and its verification one"
    return f"about {seconds / 3600:.1f} h" if seconds >= 3600 else f"about {seconds / 60:.1f} min"


def _estimate_lines(figures: dict[str, Any]) -> list[str]:
    """The estimate for people."""
    turns = ", ".join(f"{n}: {count}" for n, count in figures["turns"].items())
    return [
        "",
        f"queries             {figures['queries']}   settled {figures['settled']}, skipped {figures['skipped']}",
        f"planned turns       {turns}",
        f"requests            {figures['requests']}   with {figures['images']} images{_stored_text(figures['stored'])}",
        f"tokens              about {figures['input_tokens']} in, {figures['output_tokens']} out",
        f"cost                {_cost_text(figures['cost'])}",
        f"time                {_time_text(figures['seconds'])}",
        "nothing was sent and nothing was written",
    ]
