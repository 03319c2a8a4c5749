"""A cold start from beginning to end: data, policy, steps, and what is left in OUT.

OUT/config.json, model.safetensors, ...   the trained policy, when the training has ended
OUT/training.json                         what was trained on what, and the counts
OUT/recipe.yaml, metrics.jsonl            every setting; the figures of every step
OUT/report.html                           curves, counts and recipe, to look at
OUT/checkpoints/                          the last whole checkpoint, while the training has not ended
OUT/tensorboard/                          the same figures, as TensorBoard reads them

Under `accelerate launch` every process runs the same function; the first one writes and speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import PartialState
from torch import Tensor
from transformers import TrainingArguments

from vtscot.budget import PRESETS
from vtscot.errors import DataError
from vtscot.policy.load import choose_device, load_policy
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.settings import PartCount
from vtscot.policy.trainable import trainable
from vtscot.progress import Progress, Silent
from vtscot.training.callbacks import Console, Figures, Interruption
from vtscot.training.place import Place
from vtscot.training.stage import announce, arguments_of, begin, counts_of, end, take_steps

from .batching import Batches, Collator, Samples, Schedule, schedule
from .decisions import Decisions
from .encoding import Encoder
from .examples import Examples, open_examples
from .figures import named, spoken
from .recipe import SftRecipe
from .report import write_report
from .trainer import SftTrainer

_COMMON: Final = 0.5  # tokens in this share of the replies, or more, are no content
_SURVEYED: Final = 512  # replies that tell which tokens are common


@dataclass(frozen=True)
class Records:
    """Which records are trained on: their numbers in the data, ids and lengths in tokens."""

    numbers: tuple[int, ...]
    ids: tuple[str, ...]
    lengths: tuple[int, ...]
    too_long: tuple[tuple[str, int], ...]  # id and tokens of records that do not fit
    left_out: dict[str, int] = field(default_factory=dict)  # records that were never candidates, by reason


@dataclass(frozen=True)
class Trained:
    """What a training was and left behind; `json()` is what `vtscot train sft --json` prints."""

    out: Path
    steps: int
    epochs: float
    records: Records
    parts: dict[str, PartCount]

    def json(self) -> dict[str, Any]:
        """Counts and places."""
        return {
            "policy": str(self.out),
            "report": str(self.out / "report.html"),
            "steps": self.steps,
            "epochs": round(self.epochs, 4),
            **told(self.records, self.parts),
        }


def told(records: Records, parts: dict[str, PartCount]) -> dict[str, Any]:
    """The counts of a training, as plain data."""
    return {
        "records": len(records.ids),
        "tokens": sum(records.lengths),
        "too_long": dict(records.too_long),
        "left_out": records.left_out,
        **counts_of(parts),
    }


@dataclass(frozen=True)
class Work:
    """What a training works with, made alike in every process."""

    policy: Any
    processor: PolicyProcessor
    encoder: Encoder
    records: Records
    parts: dict[str, PartCount]
    plan: Schedule

    def trained(self, out: Path) -> Trained:
        """What is told of it when all steps are done."""
        epochs = self.plan.steps * self.plan.effective / len(self.records.ids)
        return Trained(out, self.plan.steps, epochs, self.records, self.parts)


def train_sft(
    data: str,
    model: str | None,
    recipe: SftRecipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Trained:
    """Train `model` on the kept records of `data` and leave the policy in `out`.

    KeyboardInterrupt after an interruption was heeded: a checkpoint is saved, and `resume` goes on from it. Raises
    UsageError, DataError, PolicyError and RunError with the way out.
    """
    cpu = choose_device(device).type == "cpu"
    state = PartialState(cpu=cpu)
    place = Place(out, resume)
    place.check()
    say = progress if progress is not None and state.is_main_process else Silent()
    work = _prepare(data, model, recipe, place, say)
    if place.begun:
        place.agree(recipe, work.records.ids)
    if place.finished:
        say.note(f"{out} has ended its {work.plan.steps} steps already")
        return work.trained(out)
    announce(say, work.parts, list(_about(work)), place.step)
    begin(place, recipe, work.records.ids, {"data": data, "model": model or "nano", **told(work.records, work.parts)})
    trainer, interruption = _trainer(work, recipe, place, cpu, say)
    take_steps(trainer, interruption, place, work.plan.steps, say, write_report)
    end(place, work.plan.steps, write_report)
    return work.trained(out)


def _prepare(data: str, model: str | None, recipe: SftRecipe, place: Place, say: Progress) -> Work:
    processes = PartialState().num_processes
    schedule(recipe, 1, processes)  # batches that cannot be shared out are refused before anything is read
    begun_from = place.checkpoint or (place.out if place.finished else model)
    policy, processor = load_policy(begun_from, "cpu", "float32")
    parts = trainable(policy, recipe.trainable, seed=recipe.seed)
    policy.config.budget = PRESETS[recipe.budget_at_use].model_dump()
    encoder = Encoder(open_examples(data), processor, policy.config.image_size, recipe.cache_mb)
    records = survey(encoder, recipe, data, say)
    plan = schedule(recipe, len(records.ids), processes)
    return Work(policy, processor, encoder, records, parts, plan)


def survey(encoder: Encoder, recipe: SftRecipe, data: str, say: Progress) -> Records:
    """Count the tokens of every record; those that do not fit are named, never cut. DataError where none fits."""
    examples: Examples = encoder.examples
    say.stage("read", len(examples))
    numbers: list[int] = []
    lengths: list[int] = []
    too_long: list[tuple[str, int]] = []
    for number, name in enumerate(examples.ids):
        tokens = encoder.tokens(number)
        say.advance()
        if tokens > recipe.max_tokens:
            too_long.append((name, tokens))
            continue
        numbers.append(number)
        lengths.append(tokens)
    if not numbers:
        raise DataError(
            f"{data}: all {len(too_long)} records are longer than max_tokens {recipe.max_tokens} (the shortest has"
            f" {min(tokens for _, tokens in too_long)}); raise it by --set max_tokens=, or build with a smaller budget"
        )
    ids = tuple(examples.ids[number] for number in numbers)
    return Records(tuple(numbers), ids, tuple(lengths), tuple(too_long), dict(examples.left_out))


def content_weights(encoder: Encoder, numbers: Sequence[int], vocabulary: int, weight: float) -> Tensor | None:
    """(V,) `weight` for tokens that less than half of the replies hold, 1 for the others; None where all weigh 1.

    What every reply says (headings, tags) is learned in no time, and drowns the few words that matter.
    """
    if weight == 1:
        return None
    seen = torch.zeros(vocabulary)
    surveyed = list(numbers)[:: max(1, len(numbers) // _SURVEYED)]
    replies = 0
    for number in surveyed:
        encoded = encoder.sample(number).encoded
        for first, last in encoded.turn_spans:
            seen[encoded.labels[first:last].unique()] += 1
            replies += 1
    return torch.where(seen < _COMMON * replies, weight, 1.0)


def _trainer(work: Work, recipe: SftRecipe, place: Place, cpu: bool, say: Progress) -> tuple[SftTrainer, Interruption]:
    interruption = Interruption()
    state = PartialState()
    records, plan, encoder = work.records, work.plan, work.encoder
    vocabulary = len(work.processor.tokenizer)
    decisions = Decisions(recipe.decisions, work.processor, recipe.seed)
    if decisions.left_out:
        say.note(f"decisions: {', '.join(map(repr, decisions.left_out))} is not one token of this policy, and left out")
    weights = content_weights(encoder, records.numbers, vocabulary, recipe.losses.content)
    weights = decisions.weighed(weights, vocabulary)
    trainer = SftTrainer(
        work.policy,
        recipe,
        _arguments(recipe, plan, place.out, cpu=cpu),
        Samples(encoder, records.numbers, decisions),
        Batches(records.ids, records.lengths, plan, recipe.seed, recipe.batch.sorted_steps, state.process_index),
        Collator(encoder),
        token_weights=weights,
        save_processor=work.processor.save_pretrained,
        callbacks=[interruption, Figures(place.out, say, named), Console(say, plan.steps, spoken)],
    )
    if recipe.features_mb and trainer.frozen is None:
        why = "the vision tower is trained" if recipe.trainable.vision_tower else "FSDP or ZeRO share its weights out"
        say.note(f"features_mb: nothing is kept, for {why}")
    return trainer, interruption


def _arguments(recipe: SftRecipe, plan: Schedule, out: Path, *, cpu: bool) -> TrainingArguments:
    return TrainingArguments(
        **arguments_of(recipe, out, cpu=cpu),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.per_device,
        gradient_accumulation_steps=plan.accumulate,
        logging_nan_inf_filter=False,
    )


def _about(work: Work) -> Iterator[str]:
    """What is trained on, line by line."""
    records, plan = work.records, work.plan
    left_out = "".join(f", {count} {reason}" for reason, count in records.left_out.items())
    yield f"records {len(records.ids)}, too long {len(records.too_long)}{left_out}"
    for name, tokens in records.too_long:
        yield f"too long: {name} ({tokens} tokens)"
    spread = f"{plan.effective} records each = {plan.per_device} x {plan.accumulate} x {plan.processes}"
    yield f"steps {plan.steps}, {spread} (at once x accumulated x processes)"
