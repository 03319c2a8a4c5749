"""`vtscot preview`: a few traces to read before a build spends money."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.errors import COST_REACHED, StoppedError
from vtscot.grammar import TITLES
from vtscot.preview import Preview, preview
from vtscot.recipe import Recipe
from vtscot.records import Episode, Outcome

WIDTH = 100


def preview_command(recipe: Recipe, directory: Path, count: int, *, as_json: bool) -> None:
    """Trace, verify and print; StoppedError where the cost limit came first."""
    with progress() as say:
        seen = preview(recipe, directory, count, say)
    typer.echo(json.dumps(seen.json()) if as_json else "\n".join(lines(seen)))
    if unasked := sum(outcome.reason == COST_REACHED for outcome in seen.outcomes):
        raise StoppedError(f"the cost limit is reached: {unasked} of {len(seen.outcomes)} queries are not asked yet")


def lines(seen: Preview) -> Iterator[str]:
    """The traces for people."""
    for outcome in seen.outcomes:
        yield from _trace(outcome)
    if seen.spent is not None and seen.projected is not None:
        yield f"spent {seen.spent:.4f}; all {seen.queries} queries would cost about {seen.projected:.2f}"


def _trace(outcome: Outcome) -> Iterator[str]:
    record = outcome.record
    iou = record.verdict.keyframe_iou if record is not None else None
    why = f" ({outcome.reason})" if outcome.reason else ""
    yield f'{outcome.query.id}   "{outcome.query.expression}"'
    yield f"{outcome.state}{why}" + (f"   IoU {iou:.3f}" if iou is not None else "") + f"   {outcome.detail}".rstrip()
    if record is not None:
        yield from _turns(record.episode)
    yield ""


def _turns(episode: Episode) -> Iterator[str]:
    for observation, turn in zip(episode.observations, episode.turns, strict=True):
        yield "  shown " + ", ".join(map(str, sorted(set(observation.indices))))
        for name, title in TITLES.items():
            text = f"{title} {getattr(turn.thought, name)}"
            yield textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
        own = turn.selection
        yield f"  {turn.action}: frames {own.start} to {own.end}, keyframe {own.keyframe}"
