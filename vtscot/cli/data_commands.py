"""The commands of the data engine and their options; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtscot.cli.options import (
    AsJson,
    Assignments,
    BaseUrl,
    Concurrency,
    Limit,
    MaxCost,
    Model,
    RecipeFile,
    Root,
    RunDirectory,
    Seed,
    SourceName,
    Split,
    TeacherName,
    recipe_of,
    run_directory,
    taught_recipe,
)


def build(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    teacher: TeacherName = None,
    model: Model = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    batch: Annotated[bool, typer.Option("--batch", help="Send requests through the Batch API.")] = False,
    max_cost: MaxCost = None,
    limit: Limit = None,
    seed: Seed = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and sent.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Go on with other settings; only what they change is done and paid again.")
    ] = False,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only try again what failed, for whatever reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a dataset of verified episodes.

    Alone, it builds the demo. The same command goes on with a run that was stopped.
    """
    from vtscot.cli.build import build_command

    resolved = taught_recipe(
        source,
        root,
        split,
        recipe,
        assignments,
        teacher,
        model,
        base_url,
        concurrency,
        max_cost,
        limit,
        seed,
        batch=batch,
    )
    directory = run_directory(run, resolved)
    build_command(resolved, directory, dry_run=dry_run, update=update, only_failed=only_failed, as_json=as_json)


def preview(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many queries.", metavar="N")] = 3,
    teacher: TeacherName = None,
    model: Model = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    max_cost: MaxCost = None,
    limit: Limit = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Show a few traces before a build.

    Asks for these alone, into the run: the build does not pay for them again.
    """
    from vtscot.cli.preview import preview_command

    resolved = taught_recipe(
        source, root, split, recipe, assignments, teacher, model, base_url, concurrency, max_cost, limit, seed
    )
    preview_command(resolved, run_directory(run, resolved), count, as_json=as_json)


def rebuild(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Make a run's dataset again for nothing.

    From the answers of its ledger, with other thresholds if they are set; nothing can be sent.
    """
    from vtscot.cli.build import rebuild_command

    rebuild_command(run, assignments or [], as_json=as_json)


def index(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Read the annotations of a source once.

    Writes queries and mask tables into the run, and says every fault found on the way.
    """
    from vtscot.cli.tables import index_command

    resolved = recipe_of(source, root, split, None, None)
    index_command(resolved, run_directory(run, resolved), as_json=as_json)


def check(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame, not a sample.")] = False,
    limit_videos: Annotated[
        int | None, typer.Option("--limit-videos", min=1, help="Only the first N videos.", metavar="N")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes [default: one per core].", metavar="N")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a dataset.

    Files, masks, texts, and masks that do not fit their frames. Changes nothing.
    """
    from vtscot.cli.check import check_command

    resolved = recipe_of(source, root, split, None, None)
    check_command(resolved, deep=deep, limit=limit_videos, workers=workers, as_json=as_json)


def mine(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plans there.", metavar="FILE")] = None,
) -> None:
    """Propose windows and keyframes.

    One plan per query and line, as JSON, in the order of the annotation file.
    """
    from vtscot.cli.tables import mine_command

    resolved = recipe_of(source, root, split, recipe, assignments, limit=limit)
    mine_command(resolved, run_directory(run, resolved), out)


def selftest_verify(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Measure the verifier.

    Plants errors into good episodes and counts those that are noticed. Alone, it does so on the demo.
    """
    from vtscot.cli.selftest import selftest_command

    selftest_command(recipe_of(source, root, split, recipe, assignments, seed=seed), split, as_json=as_json)


def demo_data(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree is written.")],
    videos: Annotated[int, typer.Option("--videos", min=1, help="How many videos.", metavar="N")] = 24,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the world.", metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the demo world as a MeViS tree."""
    from vtscot.cli.tables import demo_command

    demo_command(directory, videos, seed, as_json=as_json)


def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    no_open: Annotated[bool, typer.Option("--no-open", help="Write the report without opening it.")] = False,
) -> None:
    """Write the report of a run and open it.

    It is made from the run's ledger; nothing is asked or paid.
    """
    from vtscot.cli.runs import inspect_command

    inspect_command(run, show=not no_open)
