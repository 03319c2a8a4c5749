"""`vtscot check`: what is wrong with a dataset on disk, video by video."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import typer

from vtscot.cli.progress import progress
from vtscot.doctor import Finding, Report, examine
from vtscot.doctor.files import SAMPLE
from vtscot.errors import UsageError
from vtscot.recipe import Recipe
from vtscot.sources.registry import open_source
from vtscot.work import cores


def check_command(recipe: Recipe, *, deep: bool, limit: int | None, workers: int | None, as_json: bool) -> None:
    """Examine a split and print what was found; exit code 1 where something would be lost."""
    if recipe.source.root is None:
        raise UsageError(f"source {recipe.source.name!r} needs --root, the folder that holds the dataset")
    root = Path(recipe.source.root)
    source = open_source(recipe.source.name, root, recipe.source.split)
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch, progress() as say:
        report = examine(
            source, Path(scratch), deep=deep, limit=limit, root=root, workers=workers or cores(recipe), progress=say
        )
    typer.echo(json.dumps(report.json()) if as_json else "\n".join(table(report, deep=deep)))
    if report.fatal:
        raise typer.Exit(1)


def table(report: Report, *, deep: bool) -> list[str]:
    """The report as lines of text: kinds, counts and the first detail per video, then a summary."""
    lines = []
    for video, found in groupby(report.findings, key=lambda finding: finding.video):
        lines += [video or "(the split)", *_kinds(list(found)), ""]
    decoded = (
        "every frame was decoded" if deep else f"{SAMPLE} frames per video were decoded, of all others the headers"
    )
    lines += [f"{kind:<24}{count:>6}" for kind, count in report.kinds.items()]
    lines += ["", f"{report.videos} videos, {report.queries} queries: {report.usable} usable, {report.lost} lost"]
    return [*lines, f"{decoded}" + ("" if deep else " (--deep decodes all)")]


def _kinds(found: list[Finding]) -> Iterator[str]:
    kinds = dict.fromkeys(finding.kind for finding in found)
    for kind in kinds:
        alike = [finding for finding in found if finding.kind == kind]
        mark = "" if any(finding.fatal for finding in alike) else "note: "
        yield f"  {kind:<22}{len(alike):>6}  {mark}{_place(alike[0])}{alike[0].detail}"


def _place(finding: Finding) -> str:
    places = [
        f"{name} {value}"
        for name, value in (("expression", finding.exp_id), ("track", finding.anno_id), ("frame", finding.frame))
        if value is not None
    ]
    sure = "" if finding.confidence is None else f" ({finding.confidence:.0%} sure)"
    return f"{', '.join(places)}{sure}: " if places or sure else ""
