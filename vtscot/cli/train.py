"""`vtscot train`: the stages of training."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtscot.cli.options import AsJson, Assignments, Root, Split
from vtscot.errors import UsageError

if TYPE_CHECKING:
    from vtscot.rl import train as reinforcement
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
    _leave()


@train.command("rl")
def rl(
    data: Annotated[str, typer.Option("--data", help="Run, or a source with --root and --split.", metavar="DATA")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the trained policy; new or empty.", metavar="DIR")],
    root: Root = None,
    split: Split = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Policy after its cold start [default: nano].", metavar="DIR|ID")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Shipped recipe or a file [default: rl_tiny].", metavar="NAME|FILE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Shapes, memory and one rollout; trains and writes nothing.")
    ] = False,
    assignments: Assignments = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of order and rollouts.", metavar="N")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or auto.", metavar="NAME")] = "auto",
    report_to: Annotated[
        list[str] | None, typer.Option("--report-to", help="Also log to wandb or trackio.", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reinforcement: GRPO over rollouts of several turns, with SEG-aware logit calibration.

    The policy looks, writes and is rewarded for words, windows and masks. Writes a policy, metrics.jsonl, a report with
    curves, and pages of rollouts.
    """
    from vtscot.cli.progress import progress
    from vtscot.rl.recipe import load_rl_recipe

    resolved = load_rl_recipe(recipe, assignments or (), {"seed": seed, "report_to": report_to or None})
    _need((*_NEEDED, "trl", "datasets"), "train")
    _need(tuple(resolved.report_to), None)
    from transformers.utils import logging

    from vtscot.rl.dry import rehearse
    from vtscot.rl.train import Data, train_rl

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    asked = Data(data, root, split)
    with progress() as say:
        if dry_run:
            found = rehearse(asked, model, resolved, device=device, progress=say)
        else:
            trained = train_rl(asked, model, resolved, out, resume=resume, device=device, progress=say)
    if not _main_process():
        return
    if dry_run:
        typer.echo(json.dumps(found.json()) if as_json else "\n".join(found.lines()))
    else:
        typer.echo(json.dumps(trained.json()) if as_json else "\n".join(_reinforced(trained)))


def _reinforced(trained: reinforcement.Trained) -> list[str]:
    figures = trained.json()
    return [
        "",
        f"steps    {trained.steps:,} about {figures['queries']:,} queries",
        f"trained  {sum(figures['trained'].values()):,} of {figures['parameters']:,} parameters",
        f"policy   {trained.out}",
        f"report   {figures['report']}",
    ]


def _lines(trained: Trained) -> list[str]:
    figures = trained.json()
    return [
        "",
        f"steps    {trained.steps:,} ({trained.epochs:.2f} epochs of {figures['records']:,} records)",
        f"trained  {sum(figures['trained'].values()):,} of {figures['parameters']:,} parameters",
        f"policy   {trained.out}",
        f"report   {figures['report']}",
    ]


def _leave() -> None:
    """Take leave of the other processes, where there are any: a process that just ends may keep them waiting."""
    from accelerate import PartialState

    PartialState().destroy_process_group()


def _main_process() -> bool:
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def _need(packages: tuple[str, ...], extra: str | None) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        way_out = f"training needs the extra: pip install 'vtscot[{extra}]'" if extra else f"pip install {missing[0]}"
        raise UsageError(f"{missing[0]} is not installed; {way_out}")
