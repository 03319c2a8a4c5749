"""The reinforcement stage from beginning to end: queries, policy, steps, and what is left in OUT.

OUT/config.json, model.safetensors, ...   the trained policy, when the training has ended
OUT/training.json                         what was trained on what, and the counts
OUT/recipe.yaml, metrics.jsonl            every setting; the figures of every step
OUT/report.html, pages/                   curves, counts and recipe; rollouts of some steps, to look at
OUT/checkpoints/                          the last whole checkpoint, while the training has not ended
OUT/index/                                the index of the source, where --data names one
OUT/tensorboard/                          the same figures, as TensorBoard reads them

Under torch's or accelerate's launcher every process runs the same function; the first one writes and speaks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import GRPOConfig

from vtscot.budget import PRESETS
from vtscot.errors import FrameError
from vtscot.policy.dataset_eval import weights_digest
from vtscot.policy.load import choose_device, load_policy, policy_folder
from vtscot.policy.lora import merge_lora
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.settings import PartCount, TrainableSettings
from vtscot.policy.trainable import trainable
from vtscot.progress import Progress, Silent
from vtscot.training.callbacks import Console, Figures, Interruption
from vtscot.training.place import Place
from vtscot.training.stage import announce, arguments_of, begin, counts_of, end, take_steps

from .callbacks import Guard, named, spoken
from .checks import check_generation, check_launch, check_length, probe
from .order import Order
from .pages import Pages
from .queries import Tasks, open_tasks
from .recipe import RlRecipe, accumulation
from .report import write_report
from .rolling import Generation
from .trainer import RlTrainer
from .trials import Trialled


@dataclass(frozen=True)
class Data:
    """What is asked: a run or a source's split."""

    name: str
    root: Path | None = None
    split: str | None = None


@dataclass(frozen=True, eq=False)
class Work:
    """What a training works with, made alike in every process."""

    policy: Any
    processor: PolicyProcessor
    reference: Any | None
    tasks: Tasks
    parts: dict[str, PartCount]
    probed: Generation

    @property
    def spare(self) -> Trialled:
        """A rollout of the probe."""
        return next(row for row in self.probed.rows if row is not None)


@dataclass(frozen=True)
class Trained:
    """What a training was and left behind; `json()` is what `vtscot train rl --json` prints."""

    out: Path
    steps: int
    told: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """Counts and places."""
        return {"policy": str(self.out), "report": str(self.out / "report.html"), "steps": self.steps, **self.told}


def told(tasks: Tasks, parts: dict[str, PartCount]) -> dict[str, Any]:
    """The counts of a training, as plain data."""
    return {
        "queries": len(tasks),
        "left_out": tasks.left_out,
        **counts_of(parts),
    }


def train_rl(
    data: Data,
    model: str | None,
    recipe: RlRecipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Trained:
    """Train `model` on rollouts about the queries of `data` and leave the policy in `out`.

    KeyboardInterrupt after an interruption was heeded: a checkpoint is saved, and `resume` goes on from it. Raises
    UsageError, DataError, PolicyError and RunError with the way out, before the first step where anything is wrong.
    """
    cpu = choose_device(device).type == "cpu"
    state = PartialState(cpu=cpu)
    place = Place(out, resume)
    place.check()
    accumulate = accumulation(recipe, state.num_processes)
    say = progress if progress is not None and state.is_main_process else Silent()
    try:
        work = prepare(data, model, recipe, out / "index", say, place.checkpoint or (out if place.finished else None))
    except BaseException:
        if state.is_main_process and not place.begun:
            shutil.rmtree(out, ignore_errors=True)  # only an index can be in it
        raise
    identity = [weights_digest(policy_folder(model)), *work.tasks.ids]
    Order(work.tasks.ids, recipe, accumulate)
    if place.begun:
        place.agree(recipe, identity)
    counts = told(work.tasks, work.parts)
    if place.finished:
        say.note(f"{out} has ended its {recipe.max_steps} steps already")
        return Trained(out, recipe.max_steps, counts)
    about = _about(work, recipe, accumulate, state.num_processes)
    announce(say, work.parts, list(about), place.step)
    begin(place, recipe, identity, {"data": data.name, "model": model or "nano", **counts})
    trainer, interruption = _trainer(work, recipe, place, accumulate, cpu, say)
    try:
        take_steps(trainer, interruption, place, recipe.max_steps, say, write_report)
        end(place, recipe.max_steps, write_report)
    finally:
        trainer.close()
    return Trained(out, recipe.max_steps, counts)


def prepare(
    data: Data, model: str | None, recipe: RlRecipe, index: Path, say: Progress, begun_from: Path | None = None
) -> Work:
    """Load everything and look whether it fits together; `begun_from` is the checkpoint that is gone on from."""
    check_launch()
    policy, processor = load_policy(begun_from or model, "cpu", "float32")
    check_length(policy, processor, recipe)
    check_generation(policy, recipe)
    if begun_from is None:
        merge_lora(policy)  # adapters of the cold start: those of this stage begin with nothing learned
    parts = trainable(policy, recipe.trainable, seed=recipe.seed)
    policy.config.budget = PRESETS[recipe.budget_at_use].model_dump()
    say.stage("index")
    state = PartialState()
    with state.main_process_first():
        tasks = open_tasks(data.name, data.root, data.split, index)
    policy.to(state.device)
    probed = probe(policy, processor, recipe, tasks, model or "nano")
    reference = _reference(model, recipe) if recipe.beta else None
    return Work(policy, processor, reference, tasks, parts, probed)


def _reference(model: str | None, recipe: RlRecipe) -> Any | None:
    """The language part of the policy as it is before this stage; None where the adapters alone make the difference."""
    settings: TrainableSettings = recipe.trainable
    if settings.language_model == "lora" and not (settings.embeddings or settings.lm_head or settings.vision_tower):
        return None
    policy, _ = load_policy(model, "cpu", "float32")
    merge_lora(policy)
    del policy.sam, policy.projector  # no masks: only what is said is compared
    return policy.requires_grad_(False)


def _trainer(
    work: Work, recipe: RlRecipe, place: Place, accumulate: int, cpu: bool, say: Progress
) -> tuple[RlTrainer, Interruption]:
    interruption, guard = Interruption(), Guard()
    pages = Pages(place.out, recipe) if PartialState().is_main_process and recipe.page_every else None
    trainer = RlTrainer(
        work.policy,
        work.processor,
        recipe,
        arguments(recipe, place.out, accumulate, cpu=cpu),
        work.tasks,
        reference=work.reference,
        spare=work.spare,
        on_generation=_heard(say, pages),
        callbacks=[guard, interruption, Figures(place.out, say, named), Console(say, recipe.max_steps, spoken)],
    )
    guard.trainer = trainer
    return trainer, interruption


def _heard(say: Progress, pages: Pages | None) -> Callable[[int, Generation], None]:
    """Failures are said, pages written where they are due."""

    def hear(step: int, generation: Generation) -> None:
        for name, reason in generation.failures:
            say.note(f"failed: {name}: {reason}")
        try:
            if pages is not None:
                pages.write(step, generation)
        except FrameError as error:
            say.note(f"no page of rollouts: {error}")

    return hear


def arguments(recipe: RlRecipe, out: Path, accumulate: int, *, cpu: bool) -> GRPOConfig:
    """The recipe as TRL takes it; beta is set later, so that TRL loads no reference."""
    return GRPOConfig(
        **arguments_of(recipe, out, cpu=cpu),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.group.per_device,
        gradient_accumulation_steps=accumulate,
        num_generations=recipe.group.size,
        num_iterations=recipe.iterations,
        beta=0.0,
        epsilon=recipe.clip,
        use_bias_correction_kl=False,  # TRL's default multiplies the KL term by the ratio, which the method does not
        loss_type="grpo",
        scale_rewards="group",
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        disable_dropout=True,
        gradient_checkpointing=recipe.gradient_checkpointing,  # TRL's default is true
    )


def _about(work: Work, recipe: RlRecipe, accumulate: int, processes: int) -> Iterator[str]:
    """What is trained on, line by line."""
    left_out = "".join(f", {count} {reason}" for reason, count in work.tasks.left_out.items())
    yield f"queries {len(work.tasks)}{left_out}"
    group = recipe.group
    spread = f"{group.per_device} x {accumulate} x {processes} (at once x accumulated x processes)"
    yield f"steps {recipe.max_steps}, {group.prompts} prompts x {group.size} rollouts each = {spread}"
