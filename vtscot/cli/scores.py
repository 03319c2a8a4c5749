"""`vtscot eval` and `vtscot submit`: score predictions, or pack them for a server."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.errors import DataError
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
from vtscot.evaluation.page import render_page
from vtscot.evaluation.tables import csv_text, notes, terminal_table
from vtscot.files import write_text
from vtscot.progress import Progress
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source, open_usual


def eval_command(
    name: str,
    root: Path,
    split: str | None,
    path: Path,
    out: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    *,
    semi_supervised: bool,
    as_released: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Score predictions; write what was asked for and print the scores."""
    rules = Rules(benchmark_of(name), semi_supervised, as_released)
    split = _split(name, root, split, rules.benchmark.split)
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch, progress() as say:
        directory = out or Path(scratch)
        say.stage("index")
        index = read_truth(open_source(name, root, split), directory / "index").index
        source = open_source(name, root, split)  # anew: what the other has read is in the index, and let go
        truth = Truth(source, index)
        say.stage("find predictions")
        predictions = open_predictions(path)
        found = evaluate(truth, predictions, rules, directory, workers=workers, progress=say)
        summary = summarize(found)
        _write(found, summary, source, out, csv_file, html_file)
    for line in notes(found) if as_json else ():
        typer.echo(line, err=True)
    typer.echo(json.dumps(figures(found, summary)) if as_json else "\n".join(terminal_table(found, summary)))


def _write(
    found: Evaluation, summary: Summary, source: Source, out: Path | None, csv_file: Path | None, html_file: Path | None
) -> None:
    """The files: those named, and all of them below `out`."""
    if out is not None:
        write_text(out / "scores.json", json.dumps(figures(found, summary), indent=2) + "\n")
        csv_file, html_file = csv_file or out / "scores.csv", html_file or out / "scores.html"
    if csv_file is not None:
        write_text(csv_file, csv_text(found))
    if html_file is not None:
        write_text(html_file, render_page(found, summary, source))


def _split(name: str, root: Path, given: str | None, usual: str) -> str:
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
    split = _split(name, root, split, "valid")
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
