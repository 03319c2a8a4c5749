"""`vtscot merge` and `vtscot split`: rows of runs and datasets put together anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.errors import UsageError
from vtscot.progress import Progress
from vtscot.publish.locate import is_run
from vtscot.publish.opened import Dataset, open_dataset
from vtscot.publish.regroup import Regrouped, merge, split
from vtscot.sources.base import Licence
from vtscot.sources.registry import SOURCES

NAMED = 20  # duplicates that are printed; `--json` names all


def merge_command(names: Sequence[str], out: Path, *, as_json: bool) -> None:
    """Merge what `names` mean into `out` and print what became of it."""
    if len(names) < 2:
        raise UsageError("merge takes two or more runs or datasets")
    if len({Path(name).resolve() for name in names}) < len(names):
        raise UsageError("one of the runs or datasets is named twice")
    _regroup(names, lambda datasets, say: merge(datasets, out, licences(), say), as_json=as_json)


def split_command(name: str, out: Path, valid: float, test: float, *, as_json: bool) -> None:
    """Split what `name` means into `out` and print what became of it."""
    _regroup(
        [name],
        lambda datasets, say: split(datasets[0], out, licences(), valid=valid, test=test, progress=say),
        as_json=as_json,
    )


def licences() -> dict[str, Licence]:
    """The licence of every source that this vtscot knows."""
    return {name: source.licence for name, source in SOURCES.items()}


def open_finished(name: str, say: Progress) -> Dataset:
    """Open a run or dataset; says what a run has left undone, PublishError where its dataset is not of its ledger."""
    dataset = open_dataset(name)
    if is_run(Path(name)):
        from vtscot.publish.unfinished import check_run

        for note in check_run(Path(name), dataset.directory):
            say.note(f"{name}: {note}")
    return dataset


def _regroup(names: Sequence[str], work: Callable[[list[Dataset], Progress], Regrouped], *, as_json: bool) -> None:
    with progress() as say:
        say.stage("read")
        done = work([open_finished(name, say) for name in names], say)
        for note in done.notes:
            say.note(note)
    typer.echo(json.dumps(done.json()) if as_json else "\n".join(lines(done)))


def lines(done: Regrouped) -> list[str]:
    """What was written, as text."""
    found = [f"  {f'{part.config}/{part.split}':<32}{part.rows:>8,}" for part in done.shards]
    doubles = [f"  {one.id} of {one.left_out}: {one.kept} has {one.kept_id}" for one in done.duplicates[:NAMED]]
    more = len(done.duplicates) - NAMED
    return [
        f"{'rows':<34}{sum(part.rows for part in done.shards):>8,}",
        *found,
        *([f"{'duplicates left out':<34}{len(done.duplicates):>8,}", *doubles] if done.duplicates else []),
        *([f"  and {more:,} more; --json names all"] if more > 0 else []),
        "",
        f"dataset  {done.out / 'dataset'}",
        f"report   {done.out / 'report.html'}",
    ]
