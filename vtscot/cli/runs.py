"""`vtscot inspect`: a run that was built, as a page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import typer

from vtscot.build import republish
from vtscot.cli.progress import progress


def inspect_command(run: Path, *, show: bool) -> None:
    """Write the run's dataset and report again from its ledger, print the report's path and open it."""
    with progress() as say:
        summary = republish(run, say)
    typer.echo(str(summary.published.report))
    if show and not webbrowser.open(summary.published.report.resolve().as_uri()):
        typer.echo("no browser could be opened; open the file yourself", err=True)
