"""The way of a training, whatever its stage: begun or gone on with, its steps taken, and ended.

Under torch's or accelerate's launcher every process goes this way; the first one writes and speaks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState
from transformers.trainer_callback import PrinterCallback

from vtscot.policy.settings import PartCount
from vtscot.progress import Progress
from vtscot.records import Frozen

from . import events
from .callbacks import Interruption
from .metrics import read_metrics, rewind
from .place import Place
from .saving import CHECKPOINTS
from .settings import StageRecipe

_SCHEDULES: Final = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
WriteReport = Callable[[Path], object]


def arguments_of(recipe: StageRecipe, out: Path, *, cpu: bool) -> dict[str, Any]:
    """What a recipe says to transformers' Trainer, in its names."""
    settings = recipe.optimiser
    return {
        "output_dir": str(out),
        "run_name": out.name,
        "learning_rate": settings.lr,
        "lr_scheduler_type": _SCHEDULES[settings.schedule],
        "warmup_steps": settings.warmup,
        "max_grad_norm": settings.clip,
        "bf16": recipe.precision == "bf16",
        "activation_checkpointing": recipe.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "use_cpu": cpu,
        "seed": recipe.seed,
        "logging_steps": recipe.log_every,
        "save_steps": recipe.save_every,
        "save_strategy": "steps",
        "report_to": list(recipe.report_to),
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": True,  # a prompt encoder has parts that [SEG] does not use
        "disable_tqdm": True,
    }


def counts_of(parts: dict[str, PartCount]) -> dict[str, Any]:
    """Parameters, and how many of each part are trained, as plain data."""
    return {
        "parameters": sum(part.total for part in parts.values()),
        "trained": {name: part.trained for name, part in parts.items() if part.trained},
    }


def announce(say: Progress, parts: dict[str, PartCount], lines: Sequence[str], step: int) -> None:
    """What is trained on what, before the first step; `step` is the one that is gone on after."""
    for name, part in parts.items():
        if part.trained:
            say.note(f"trained {name:<16}{part.trained:>15,} of {part.total:,}")
    for line in lines:
        say.note(line)
    if step:
        say.note(f"going on after step {step}")


def begin(place: Place, recipe: Frozen, identity: Sequence[str], about: dict[str, Any]) -> None:
    """Write what the training is about, or forget what was logged after the step that it goes on from."""
    begun, state = place.begun, PartialState()
    state.wait_for_everyone()  # all have looked before one writes
    if not state.is_main_process:
        return
    if begun:
        rewind(place.out, place.step)
    else:
        place.remember(recipe, identity, about)
    events.begin(place.out, read_metrics(place.out))


def take_steps(
    trainer: Any, interruption: Interruption, place: Place, steps: int, say: Progress, write_report: WriteReport
) -> None:
    """Take the steps that are left and write the policy; KeyboardInterrupt where it was stopped before the last."""
    trainer.remove_callback(PrinterCallback)
    state, checkpoint = PartialState(), place.checkpoint
    if state.num_processes > 1:
        interruption.reduce = trainer.accelerator.reduce
    if place.step < steps:
        say.stage("train", steps - place.step)
        with interruption.heeded():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.state.global_step < steps:
            if state.is_main_process:
                write_report(place.out)
            state.wait_for_everyone()
            raise KeyboardInterrupt
    trainer.save_model(str(place.out))
    state.wait_for_everyone()


def end(place: Place, steps: int, write_report: WriteReport) -> None:
    """Write that the training has ended, and its report; its checkpoints are removed."""
    state = PartialState()
    if state.is_main_process:
        place.finish({"steps": steps})
        shutil.rmtree(place.out / CHECKPOINTS, ignore_errors=True)
        write_report(place.out)
    state.wait_for_everyone()
