"""`vtscot push`: a run's dataset, or a folder of one, to the Hub."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import typer

from vtscot.errors import PublishError, UsageError
from vtscot.publish import Target, push
from vtscot.publish.locate import find_dataset, is_run
from vtscot.publish.unfinished import check_run
from vtscot.sources.registry import SOURCES


def push_command(path: Path, target: Target, *, dry_run: bool, yes: bool) -> None:
    """Validate, show, ask and send; prints the address on standard output, all else on standard error."""
    target.check()
    if not path.is_dir():
        raise PublishError(f"{path} is no folder: give a run, or a dataset on this machine")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError("push asks before it sends, and there is no terminal to ask on: give --yes, or --dry-run")
    say = partial(typer.echo, err=True)
    directory = find_dataset(str(path))
    warnings = check_run(path, directory) if is_run(path) else []
    for warning in warnings:
        say(f"note: {warning}")
    licences = {name: source.licence for name, source in SOURCES.items()}
    question = "Send it, unfinished as the run is?" if warnings else "Send it?"
    url = push(
        directory,
        target,
        say=say,
        confirm=lambda: yes or typer.confirm(question, err=True),
        dry_run=dry_run,
        licences=licences,
    )
    typer.echo(url)
