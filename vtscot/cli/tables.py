"""`vtscot index`, `vtscot mine`, `vtscot demo-data`: the stages before any teacher is asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import typer

from vtscot.build import open_recipe_source, select
from vtscot.cli.progress import progress
from vtscot.files import write_text
from vtscot.index import Index, ensure_index
from vtscot.recipe import Recipe
from vtscot.stages import mine_query


def _index(recipe: Recipe, directory: Path) -> Index:
    root = Path(recipe.source.root) if recipe.source.root else directory / "source"
    with progress() as say:
        say.stage("index")
        return ensure_index(open_recipe_source(recipe, root), directory / "index")


def index_command(recipe: Recipe, directory: Path, *, as_json: bool) -> None:
    """Index the source into the run and print what was found."""
    found = _index(recipe, directory)
    skipped = Counter(reason for _, reason, _ in found.skipped)
    faults = Counter(fault.kind for fault in found.faults)
    if as_json:
        figures = {
            "index": str(directory / "index"),
            "videos": len(found.videos),
            "queries": len(found.queries),
            "skipped": dict(sorted(skipped.items())),
            "faults": dict(sorted(faults.items())),
        }
        typer.echo(json.dumps(figures))
        return
    typer.echo(f"{len(found.videos)} videos, {len(found.queries)} queries, {len(found.skipped)} expressions skipped")
    for fault in found.faults:
        typer.echo(f"{fault.kind}: {fault.detail}")
    typer.echo(f"index  {directory / 'index'}")


def mine_command(recipe: Recipe, directory: Path, out: Path | None) -> None:
    """Print or write the plan of every query, one JSON object a line, in the order of the annotation file."""
    found = _index(recipe, directory)
    queries, _ = select(found, recipe.limit)
    lines = [mine_query(query, found, recipe.mining, recipe.budget).model_dump_json() for query in queries]
    if out is None:
        for line in lines:
            typer.echo(line)
    else:
        write_text(out, "".join(f"{line}\n" for line in lines))
        typer.echo(f"{len(lines)} plans  {out}", err=True)


def demo_command(directory: Path, videos: int, seed: int, *, as_json: bool) -> None:
    """Write the demo world as a MeViS tree."""
    from vtscot.demo import write_demo

    with progress() as say:
        say.stage("demo world", videos)
        made = write_demo(directory, videos=videos, seed=seed, progress=lambda done, total: say.advance())
    figures = {"root": str(directory), "videos": made.videos, "frames": made.frames, "queries": dict(made.queries)}
    typer.echo(json.dumps(figures) if as_json else f"{made.videos} videos, {made.frames} frames  {directory}")
