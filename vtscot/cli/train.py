"""`vtscot train`: the stages of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtscot.cli.options import AsJson, Assignments, Device, Root, Split
from vtscot.errors import UsageError

if TYPE_CHECKING:
    from vtscot.rl import train as reinforcement
    from vtscot.sft.train import Trained

train = typer.Typer(help="Train a policy.", no_args_is_help=True, rich_markup_mode=None)
_NEEDED = ("torch", "transformers", "peft", "accelerate")

Out = Annotated[Path, typer.Option("--out", help="Folder of the trained policy; new or empty.", metavar="DIR")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")]
ReportTo = Annotated[
    list[str] | None, typer.Option("--report-to", help="Also log to wandb or trackio.", metavar="NAME")
]
Begun = Annotated[str | None, typer.Option("--model", help="Policy to begin with [default: nano].", metavar="DIR|ID")]
StageSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of whatever is drawn.", metavar="N")]


def _recipe(default: str) -> Any:
    return typer.Option("--recipe", help=f"Shipped recipe or a file [default: {default}].", metavar="NAME|FILE")


@train.command("sft")
def sft(
    data: Annotated[
        str, typer.Option("--data", help="Run, folder of a dataset, or a dataset's id on the Hub.", metavar="DATA")
    ],
    out: Out,
    model: Begun = None,
    recipe: Annotated[str | None, _recipe("sft_tiny")] = None,
    resume: Resume = False,
    assignments: Assignments = None,
    seed: StageSeed = None,
    device: Device = "auto",
    report_to: ReportTo = None,
    as_json: AsJson = False,
) -> None:
    """Cold start: supervised training on kept episodes.

    Every turn's text and the mask of every [SEG]. Writes a policy, metrics.jsonl and a report with curves.
    """
    from vtscot.cli.progress import progress
    from vtscot.sft.recipe import load_sft_recipe

    resolved = load_sft_recipe(recipe, assignments or (), {"seed": seed, "report_to": report_to or None})
    _ready(_NEEDED, resolved.report_to)
    from vtscot.sft.train import train_sft

    with progress() as say:
        trained = train_sft(data, model, resolved, out, resume=resume, device=device, progress=say)
    _tell(trained.json(), _lines(trained), as_json=as_json)


@train.command("rl")
def rl(
    data: Annotated[str, typer.Option("--data", help="Run, or a source with --root and --split.", metavar="DATA")],
    out: Out,
    root: Root = None,
    split: Split = None,
    model: Begun = None,
    recipe: Annotated[str | None, _recipe("rl_tiny")] = None,
    resume: Resume = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Shapes, memory and one rollout; trains and writes nothing.")
    ] = False,
    assignments: Assignments = None,
    seed: StageSeed = None,
    device: Device = "auto",
    report_to: ReportTo = None,
    as_json: AsJson = False,
) -> None:
    """Reinforcement: GRPO over rollouts of several turns, with SEG-aware logit calibration.

    The policy looks, writes and is rewarded for words, windows and masks. Writes a policy, metrics.jsonl, a report with
    curves, and pages of rollouts.
    """
    from vtscot.cli.progress import progress
    from vtscot.rl.recipe import load_rl_recipe

    resolved = load_rl_recipe(recipe, assignments or (), {"seed": seed, "report_to": report_to or None})
    _ready((*_NEEDED, "trl", "datasets"), resolved.report_to)
    from vtscot.rl.dry import rehearse
    from vtscot.rl.train import Data, train_rl

    asked = Data(data, root, split)
    with progress() as say:
        if dry_run:
            found = rehearse(asked, model, resolved, device=device, progress=say)
        else:
            trained = train_rl(asked, model, resolved, out, resume=resume, device=device, progress=say)
    if dry_run:
        _tell(found.json(), found.lines(), as_json=as_json)
    else:
        _tell(trained.json(), _reinforced(trained), as_json=as_json)


def _reinforced(trained: reinforcement.Trained) -> list[str]:
    return _summary(f"{trained.steps:,} about {trained.json()['queries']:,} queries", trained.json())


def _lines(trained: Trained) -> list[str]:
    figures = trained.json()
    return _summary(f"{trained.steps:,} ({trained.epochs:.2f} epochs of {figures['records']:,} records)", figures)


def _summary(steps: str, figures: dict[str, Any]) -> list[str]:
    return [
        "",
        f"steps    {steps}",
        f"trained  {sum(figures['trained'].values()):,} of {figures['parameters']:,} parameters",
        f"policy   {figures['policy']}",
        f"report   {figures['report']}",
    ]


def _tell(figures: dict[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """The first process speaks; then all take leave of each other: one that just ends may keep others waiting."""
    from accelerate import PartialState

    if PartialState().is_main_process:
        typer.echo(json.dumps(figures) if as_json else "\n".join(lines))
    PartialState().destroy_process_group()


def _ready(packages: tuple[str, ...], trackers: tuple[str, ...]) -> None:
    """UsageError where something is not installed; transformers is told to be silent."""
    _need(packages, "train")
    _need(trackers, None)
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _need(packages: tuple[str, ...], extra: str | None) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        way_out = f"training needs the extra: pip install 'vtscot[{extra}]'" if extra else f"pip install {missing[0]}"
        raise UsageError(f"{missing[0]} is not installed; {way_out}")
