"""`vtscot train`: the stages of training."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtscot.cli.options import AsJson, Assignments
from vtscot.errors import UsageError

if TYPE_CHECKING:
    from vtscot.sft.train import Trained

train = typer.Typer(help="Train a policy.", no_args_is_help=True, rich_markup_mode=None)
_NEEDED = ("torch", "transformers", "peft", "accelerate")


@train.command("sft")
def sft(
    data: Annotated[
        str, typer.Option("--data", help="Run, folder of a dataset, or a dataset's id on the Hub.", metavar="DATA")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the trained policy; new or empty.", metavar="DIR")],
    model: Annotated[
        str | None, typer.Option("--model", help="Policy to begin with [default: nano].", metavar="DIR|ID")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Shipped recipe or a file [default: sft_tiny].", metavar="NAME|FILE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    assignments: Assignments = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of order, points and adapters.", metavar="N")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or auto.", metavar="NAME")] = "auto",
    report_to: Annotated[
        list[str] | None, typer.Option("--report-to", help="Also log to wandb or trackio.", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Cold start: supervised training on kept episodes.

    Every turn's text and the mask of every [SEG]. Writes a policy, metrics.jsonl and a report with curves.
    """
    from vtscot.cli.progress import progress
    from vtscot.sft.recipe import load_sft_recipe

    resolved = load_sft_recipe(recipe, assignments or (), {"seed": seed, "report_to": report_to or None})
    _need(_NEEDED, "train")
    _need(tuple(resolved.report_to), None)
    from transformers.utils import logging

    from vtscot.sft.train import train_sft

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with progress() as say:
        trained = train_sft(data, model, resolved, out, resume=resume, device=device, progress=say)
    if _main_process():
        typer.echo(json.dumps(trained.json()) if as_json else "\n".join(_lines(trained)))


def _lines(trained: Trained) -> list[str]:
    figures = trained.json()
    return [
        "",
        f"steps    {trained.steps:,} ({trained.epochs:.2f} epochs of {figures['records']:,} records)",
        f"trained  {sum(figures['trained'].values()):,} of {figures['parameters']:,} parameters",
        f"policy   {trained.out}",
        f"report   {figures['report']}",
    ]


def _main_process() -> bool:
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def _need(packages: tuple[str, ...], extra: str | None) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        way_out = f"training needs the extra: pip install 'vtscot[{extra}]'" if extra else f"pip install {missing[0]}"
        raise UsageError(f"{missing[0]} is not installed; {way_out}")
