"""`vtscot hydrate`: where the rows go, and what is said of those that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.publish.athome import DIFFERENCES, HYDRATED
from vtscot.publish.hydrate import Hydration, hydrate
from vtscot.publish.locate import find_dataset


def hydrate_command(dataset: str, source: str, root: Path, out: Path | None, *, embed: bool, as_json: bool) -> None:
    """Join the rows of `dataset` with the copy of `source` in `root`, and print what became of them."""
    folder = find_dataset(dataset)
    place = out or _beside(dataset)
    with progress() as say:
        done = hydrate(folder, source, root, place, embed=embed, name=dataset, progress=say)
    if as_json:
        typer.echo(json.dumps(done.json()))
        return
    for line in _lines(done):
        typer.echo(line)


def _beside(dataset: str) -> Path:
    """`DATASET-hydrated` beside a folder, or the folder where it is hydrated; here, for a dataset of the Hub."""
    path = Path(dataset)
    if (path / HYDRATED).is_file():
        return path
    path = path.resolve() if path.is_dir() else Path(path.name)
    return path.with_name(f"{path.name}-hydrated")


def _lines(done: Hydration) -> list[str]:
    how = "frames and masks embedded" if done.embedded else "frames as files, masks filled in"
    lines = [f"{'hydrated':<20}{done.hydrated:>8}  {how}"]
    for kind, found in done.kinds.items():
        lines += [f"{kind:<20}{len(found):>8}  first: {found[0].id}: {found[0].detail}"]
    if done.complete:
        lines.append(f"{'complete before':<20}{done.complete:>8}")
    if done.others:
        lines.append(f"{'of other sources':<20}{done.others:>8}  as they were")
    if done.differences:
        lines.append(f"left out: all in {done.out / DIFFERENCES}")
    return [*lines, f"dataset  {done.out}", "keep it at home: the source's terms do not allow to pass it on"]
