"""`vtscot inspect` and `vtscot push`: what can be done with a run that was built."""

from __future__ import annotations

import webbrowser
from functools import partial
from pathlib import Path

import typer

from vtscot.build import republish
from vtscot.cli.progress import progress
from vtscot.publish import push
from vtscot.sources.registry import SOURCES


def inspect_command(run: Path, *, show: bool) -> None:
    """Write the run's dataset and report again from its ledger, print the report's path and open it."""
    with progress() as say:
        summary = republish(run, say)
    typer.echo(str(summary.published.report))
    if show and not webbrowser.open(summary.published.report.resolve().as_uri()):
        typer.echo("no browser could be opened; open the file yourself", err=True)


def push_command(run: Path, repo: str, *, private: bool, dry_run: bool) -> None:
    """Upload the dataset of a run."""
    licences = {name: source.licence for name, source in SOURCES.items()}
    say = partial(typer.echo, err=True)
    url = push(run, repo, private=private, dry_run=dry_run, say=say, licences=licences)
    typer.echo(url)
