"""Options that several commands share, and how they become a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vtscot.recipe import Recipe

SourceName = Annotated[
    str | None,
    typer.Option(
        "--source", help="Dataset, for example demo or mevis; an unknown name lists them all.", metavar="NAME"
    ),
]
Root = Annotated[Path | None, typer.Option("--root", help="Folder that holds the dataset.", metavar="DIR")]
Split = Annotated[str | None, typer.Option("--split", help="Split of the dataset.", metavar="NAME")]
RunDirectory = Annotated[
    Path | None, typer.Option("--run", help="Run directory [default: runs/SOURCE-SPLIT].", metavar="DIR")
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Recipe [default: the one shipped for the source].", metavar="FILE")
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="Set one key of the recipe.", metavar="KEY=VALUE")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N queries.", metavar="N")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of demo world and teacher.", metavar="N")]
TeacherName = Annotated[
    str | None, typer.Option("--teacher", help="Who writes the thoughts: oracle, openai.", metavar="NAME")
]
Model = Annotated[str | None, typer.Option("--model", help="Model of the endpoint.", metavar="NAME")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="OpenAI-compatible endpoint.", metavar="URL")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", min=1, help="Requests in flight.", metavar="N")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop before more is spent; needs prices.", metavar="X")
]
BudgetName = Annotated[
    str | None, typer.Option("--budget", help="Frames and pixels [default: the policy's].", metavar="NAME")
]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.", metavar="T")]
TopP = Annotated[float, typer.Option("--top-p", min=1e-6, max=1, help="Draw from the likeliest tokens.", metavar="P")]
Guided = Annotated[
    bool, typer.Option("--guided", help="Do not draw the tags that close a turn: they are those it opened.")
]
SamplingSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.", metavar="N")]
PropagateFrom = Annotated[
    str, typer.Option("--propagate-from", help="The frame that was looked at (decoded), or that the answer names.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or auto.", metavar="NAME")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def recipe_of(
    source: str | None,
    root: Path | None,
    split: str | None,
    recipe: Path | None,
    assignments: list[str] | None,
    **flags: object,
) -> Recipe:
    """The recipe that the options of a command describe; `flags` are dotted keys with `__` for the dot."""
    from vtscot.recipe import load_recipe

    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    where: dict[str, object] = {
        "source.root": str(root.absolute()) if root is not None else None,  # a run is opened from anywhere
        "source.split": split,
    }
    return load_recipe(source, recipe, assignments or (), where | dotted)


def taught_recipe(
    source: str | None,
    root: Path | None,
    split: str | None,
    recipe: Path | None,
    assignments: list[str] | None,
    teacher: str | None,
    model: str | None,
    base_url: str | None,
    concurrency: int | None,
    max_cost: float | None,
    limit: int | None,
    seed: int | None,
    *,
    batch: bool = False,
) -> Recipe:
    """The recipe of a command that may ask a teacher; what `batch` leaves False, the recipe decides."""
    return recipe_of(
        source,
        root,
        split,
        recipe,
        assignments,
        teacher__name=teacher,
        teacher__model=model,
        teacher__base_url=base_url,
        teacher__concurrency=concurrency,
        teacher__max_cost=max_cost,
        teacher__batch=batch or None,
        limit=limit,
        seed=seed,
    )


def run_directory(run: Path | None, recipe: Recipe) -> Path:
    """The run directory given, or the usual one of the source."""
    return run or Path("runs") / f"{recipe.source.name}-{recipe.source.split}"
