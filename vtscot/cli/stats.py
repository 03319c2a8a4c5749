"""`vtscot stats`: the numbers of a card in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.errors import DataError, PublishError
from vtscot.index import open_index
from vtscot.ledger import Ledger
from vtscot.progress import Progress
from vtscot.publish.figures import Figures, figures, row_figures
from vtscot.publish.locate import find_dataset, is_run
from vtscot.publish.opened import open_dataset
from vtscot.publish.unfinished import check_run
from vtscot.run import run_recipe

BAR = 30


def stats_command(name: str, *, as_json: bool) -> None:
    """Print the figures of a run's ledger, else those of the rows of a dataset."""
    with progress() as say:
        if is_run(Path(name)):
            numbers = run_figures(Path(name), say)
        else:
            numbers = row_figures(entry.counted for entry in open_dataset(name).entries)
    typer.echo(json.dumps(numbers.json()) if as_json else "\n".join(lines(numbers)))


def run_figures(run: Path, say: Progress) -> Figures:
    """The figures of a run as its card has them; what is unfinished is said.

    RunError where its recipe or ledger cannot be read, or were changed.
    """
    run_recipe(run)
    with Ledger(run / "ledger.sqlite", read_only=True) as ledger:
        outcomes = list(ledger.outcomes())
    try:
        known = {query.id for query in open_index(run / "index").expressions}
        outcomes = [outcome for outcome in outcomes if outcome.query.id in known]
        for note in check_run(run, find_dataset(str(run))):
            say.note(note)
    except (DataError, PublishError) as error:
        say.note(str(error))
    return figures(outcomes)


def lines(numbers: Figures) -> list[str]:
    """The figures as text, with bars."""
    share = "" if numbers.window_share is None else f", {100 * numbers.window_share:.0f}% of the video on average"
    tenths = {f"{i / 10:.1f}-{(i + 1) / 10:.1f}": count for i, count in enumerate(numbers.histogram)}
    first = next((i for i, count in enumerate(numbers.histogram) if count), 0)
    made = {
        "teacher": numbers.teachers,
        "graded by": numbers.graders,
        "recipe": numbers.recipes,
        "prompts": numbers.prompts,
    }
    return [
        *_states(numbers),
        f"{'videos of kept episodes':<28}{numbers.videos:>8,}",
        "",
        *_bars("turns of kept episodes", {str(turns): count for turns, count in numbers.turns.items()}),
        *_bars(f"frames of the answer's window{share}", numbers.windows),
        *_bars("keyframe IoU", dict(list(tenths.items())[first:]) if any(numbers.histogram) else {}),
        f"{'mean keyframe IoU':<28}{_number(numbers.keyframe_iou):>8}",
        f"{'ceiling':<28}{_number(numbers.ceiling):>8}",
        f"{'leak rate':<28}{_number(numbers.leak_rate):>8}  {numbers.leaks:,} of {numbers.traced:,} traced episodes",
        "",
        *(f"{name:<12}{', '.join(values) or '-'}" for name, values in made.items()),
    ]


def _states(numbers: Figures) -> Iterator[str]:
    yield f"{'queries' if 'failed' in numbers.states else 'rows':<28}{numbers.queries:>8,}"
    for state, count in numbers.states.items():
        yield f"  {state:<26}{count:>8,}"
        for reason, cases in numbers.reasons.get(state, {}).items():
            yield f"    {' '.join(reason.split())[:40]:<24}{cases:>8,}"


def _bars(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        return
    most = max(counts.values()) or 1
    yield title
    for name, count in counts.items():
        yield f"  {name:<26}{count:>8,}  {'#' * round(BAR * count / most)}".rstrip()
    yield ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
