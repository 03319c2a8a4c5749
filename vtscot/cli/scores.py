"""`vtscot eval` and `vtscot submit`: score predictions, or pack them for a server."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from vtscot.cli.progress import progress
from vtscot.errors import DataError, UsageError
from vtscot.evaluation import (
    Evaluation,
    Rules,
    Summary,
    Truth,
    benchmark_of,
    evaluate,
    figures,
    open_predictions,
    read_truth,
    server_of,
    submit,
    summarize,
)
from vtscot.evaluation.answers import Episodes
from vtscot.evaluation.page import render_page
from vtscot.evaluation.tables import csv_text, episode_table, notes, terminal_table
from vtscot.files import write_text
from vtscot.progress import Progress
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source, open_usual

SCORES: Final = "scores.json"


@dataclass(frozen=True)
class Reports:
    """Which files are written: those named, and all of them below `out`."""

    out: Path | None
    csv: Path | None
    html: Path | None

    def write(self, found: Evaluation, summary: Summary, source: Source, episodes: Episodes | None = None) -> None:
        """Write them."""
        csv, html = self.csv, self.html
        if self.out is not None:
            write_text(self.out / SCORES, json.dumps(_figures(found, summary, episodes), indent=2) + "\n")
            csv, html = csv or self.out / "scores.csv", html or self.out / "scores.html"
        if csv is not None:
            write_text(csv, csv_text(found, episodes.scores if episodes else None))
        if html is not None:
            write_text(html, render_page(found, summary, source, episodes))


def eval_command(
    name: str | None,
    root: Path | None,
    split: str | None,
    path: Path,
    reports: Reports,
    *,
    semi_supervised: bool,
    as_released: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Score predictions; write what was asked for and print the scores."""
    if name is None or root is None:
        raise UsageError(f"--predictions needs {'--source' if name is None else '--root'}, the dataset they are for")
    rules = Rules(benchmark_of(name), semi_supervised, as_released)
    split = split_of(name, root, split, rules.benchmark.split)
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch, progress() as say:
        directory = reports.out or Path(scratch)
        say.stage("index")
        index = read_truth(open_source(name, root, split), directory / "index").index
        source = open_source(name, root, split)  # anew: what the other has read is in the index, and let go
        truth = Truth(source, index)
        say.stage("find predictions")
        predictions = open_predictions(path)
        found = evaluate(truth, predictions, rules, directory, workers=workers, progress=say)
        summary = summarize(found)
        reports.write(found, summary, source)
    print_scores(found, summary, as_json=as_json)


def print_scores(found: Evaluation, summary: Summary, episodes: Episodes | None = None, *, as_json: bool) -> None:
    """The table, or one JSON object with the notes beside it."""
    for line in notes(found) if as_json else ():
        typer.echo(line, err=True)
    if as_json:
        typer.echo(json.dumps(_figures(found, summary, episodes)))
    else:
        beside = ["", *episode_table(episodes.figures)] if episodes else []
        typer.echo("\n".join([*terminal_table(found, summary), *beside]))


def _figures(found: Evaluation, summary: Summary, episodes: Episodes | None) -> dict[str, Any]:
    return {**figures(found, summary), **(episodes.plain() if episodes else {})}


def split_of(name: str, root: Path, given: str | None, usual: str) -> str:
    """The split given, else the usual one, else the only one there is, which is said."""
    if given is not None:
        return given
    split = open_usual(name, root, usual).split
    if split != usual:
        typer.echo(f"{root} has no {usual}; its only split, {split}, is taken", err=True)
    return split


def submit_command(name: str, root: Path, split: str | None, path: Path, out: Path) -> None:
    """Write the archive for the server of a set, and print its path."""
    server = server_of(name)
    split = split_of(name, root, split, "valid")
    source = open_source(name, root, split)
    with progress() as say:
        without = _without(server.without.get(split), name, root, say)
        made = submit(source, open_predictions(path), out, say, without=without)
    if made.extra:
        typer.echo(f"{len(made.extra)} predictions are for no expression of the split and stay out", err=True)
    typer.echo(f"{made.expressions} expressions, {made.frames} frames  {made.path}")


def _without(split: str | None, name: str, root: Path, say: Progress) -> Source | None:
    """The split whose videos are left out; all stay in, with a note, where its file is not there."""
    if split is None:
        return None
    try:
        return open_source(name, root, split)
    except DataError:
        say.note(f"there is no file of the {split} split: none of its videos can be left out")
        return None
