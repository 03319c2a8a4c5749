"""`vtscot selftest-verify`: how far the verifier can be trusted on this source, as figures."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import typer

from vtscot.build import open_recipe_source
from vtscot.cli.progress import progress
from vtscot.errors import VtscotError
from vtscot.recipe import Recipe
from vtscot.selftest.figures import MAX_FALSE, MIN_RECALL, Measured
from vtscot.selftest.run import Measuring, measure
from vtscot.work import cores

DEMO_SPLITS = ("train", "valid_u")


def selftest_command(recipe: Recipe, split: str | None, *, as_json: bool) -> None:
    """Measure and print; raises VtscotError where a figure is not reached."""
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch, progress() as say:
        work = Path(scratch)
        root = Path(recipe.source.root) if recipe.source.root is not None else work / "source"
        source = open_recipe_source(recipe, root)
        measuring = Measuring(
            source=recipe.source.name,
            root=root,
            splits=DEMO_SPLITS if split is None and recipe.source.root is None else (source.split,),
            indexes=work / "index",
            budget=recipe.budget,
            mining=recipe.mining,
            verify=recipe.verify,
            seed=recipe.seed,
        )
        found = measure(measuring, cores(recipe), say)
    for kind, why in found.undecidable.items() if as_json else ():
        typer.echo(f"{kind} is undecidable here: {why}", err=True)
    typer.echo(json.dumps(found.json()) if as_json else "\n".join(lines(found)))
    if found.shortfalls:
        raise VtscotError(f"the verifier falls short on {found.source}: {'; '.join(found.shortfalls)}")


def lines(found: Measured) -> list[str]:
    """The figures as lines of text."""
    rejected = ", ".join(f"{reason} {count}" for reason, count in found.rejected.items())
    iou = "-" if found.mean_iou is None else f"{found.mean_iou:.3f}"
    table = [
        f"  {kind:<26}{tally.planted:>7}{tally.recall:>9.3f}   "
        + ", ".join(f"{reason} {count}" for reason, count in tally.reasons.items())
        for kind, tally in found.tallies.items()
        if tally.recall is not None
    ]
    missed = [f"  missed {kind}: {', '.join(t.missed)}" for kind, t in found.tallies.items() if t.missed]
    named = [f"  {kind:<26}{why}" for kind, why in found.undecidable.items()]
    return [
        "",
        f"good episodes             {found.episodes:>9}",
        f"  rejected                {sum(found.rejected.values()):>9}   {rejected}".rstrip(),
        f"false rejections          {found.false_rejections:>9.3f}   to reach <= {MAX_FALSE}",
        f"mean keyframe IoU         {iou:>9}   segmenter {found.segmenter}, {found.seconds:.3f} s per episode",
        "",
        f"planted error{'planted':>22}{'recall':>9}   noticed as (to reach >= {MIN_RECALL})",
        *table,
        *missed,
        *(["", "undecidable here", *named] if named else []),
    ]
