"""Multi-turn GRPO with SEG-aware logit calibration, on TRL's GRPOTrainer.

What is TRL's: the ratio and its clipping, the KL term (k3), their sum over tokens, accumulation, several iterations per
batch of rollouts. What is ours: rollouts with images in later turns (`vtscot.policy.rollout`), rewards, one forward
pass that gives log-probabilities and masks, the calibration, the mask loss.

The calibration enters the ratio only. TRL has one tensor of log-probabilities for the ratio and the KL term, so it
gets c = log pi + w * l at every `[SEG]`, and as reference log pi_ref + w * l, with the gradient of l: in the KL term,
which sees the difference of both, l has no part. Weight 0 leaves every tensor as it is.

Every process rolls out whole groups. A rollout that fails has an empty row: no token of it counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import trl
from datasets import Dataset
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from transformers import GenerationConfig
from trl import GRPOConfig, GRPOTrainer

from vtscot.errors import PolicyError
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.writing import barred_tokens
from vtscot.training.losses import mask_losses, point_generator
from vtscot.training.settings import LossSettings
from vtscot.training.trainer import PolicyTrainer

from .advantages import by_turn, normalised
from .calibration import calibrate, mask_log_likelihood
from .figures import figures_of, gathered
from .order import Order
from .queries import Tasks
from .recipe import RlRecipe
from .rolling import Generation, LearningEngine, Roller
from .scoring import Batch, Scores, batch_of, completion, forward, true_masks
from .trials import Trialled

OnGeneration = Callable[[int, Generation], None]


class RlTrainer(PolicyTrainer, GRPOTrainer):  # type: ignore[misc]
    """Trains a policy on rollouts about `tasks`.

    `reference` is the frozen policy that the KL term compares with; None where switching the adapters off gives it.
    `spare` is a rollout that stands in, with weight 0, where a batch has none. `on_generation` hears of every batch of
    rollouts with the step that follows it.
    """

    recipe: RlRecipe

    def __init__(
        self,
        policy: Any,
        processor: PolicyProcessor,
        recipe: RlRecipe,
        arguments: GRPOConfig,
        tasks: Tasks,
        *,
        reference: Any | None,
        spare: Trialled,
        on_generation: OnGeneration | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        with _as_trl_expects(policy, processor):
            super().__init__(
                model=policy,
                reward_funcs=[_unused],
                args=arguments,
                train_dataset=Dataset.from_dict({"prompt": list(tasks.ids), "number": list(range(len(tasks)))}),
                processing_class=processor,
                callbacks=list(callbacks),
            )
        self.processing_class = None  # Trainer would write the tokenizer's special tokens into the policy's config
        self.beta = recipe.beta  # not before: TRL would load a reference of its own
        self.policy, self.processor, self.recipe, self.tasks = policy, processor, recipe, tasks
        self.reference = None if reference is None else reference.to(self.accelerator.device)
        self.spare, self.on_generation = spare, on_generation
        self.save_processor = processor.save_pretrained
        self.roller = Roller(policy, processor, recipe, tasks, self._engine())
        self.generation = Generation((), recipe.group.size, self.roller.store())
        self.nothing = False  # no process has a rollout: the step is skipped
        self.barred = barred_tokens(policy, processor)
        self._encodes = any(p.requires_grad for p in policy.sam.vision_encoder.parameters())
        self._step: int = 0  # batches so far, as TRL counts them
        self._counted = False
        self._handed: tuple[Tensor, Tensor] | None = None

    def _engine(self) -> LearningEngine | None:
        """Who writes the replies, where it is not the policy."""
        if self.recipe.generation == "hf":
            return None
        from .vllm import VllmEngine

        return VllmEngine(self.policy, self.processor, self.recipe, self.accelerator)

    def close(self) -> None:
        """End the engine, where there is one; nothing may follow that processes do together."""
        if self.roller.engine is not None:
            self.roller.engine.close()

    def _get_train_sampler(self, dataset: Any = None) -> Order:
        """Every batch of rollouts has its queries in the order of `Order`, repeated as TRL expects it."""
        return Order(self.tasks.ids, self.recipe, self.args.steps_per_generation)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One batch; after a resume TRL's count of batches goes on where it was."""
        if not self._counted:
            self._step = self.state.global_step * self.current_gradient_accumulation_steps
            self._counted = True
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Roll out the groups of this process and give what the loss reads; dim 0 is the batch."""
        started = time.monotonic()
        number = self._step // (self.args.steps_per_generation * self.num_iterations)
        queries = [int(row["number"]) for row in inputs][:: self.recipe.group.size]
        with self.accelerator.autocast():
            self.generation = self.roller.generation(queries, number)
        rolled = time.monotonic()
        made = self._tensors(self.generation.rows)
        with torch.no_grad():
            made |= self._earlier(self.generation.rows, made["completion_ids"].shape[1])
        seconds = {"seconds_rollout": rolled - started, "seconds_scoring": time.monotonic() - rolled}
        told = figures_of(gathered(self.generation, self.accelerator), self.recipe) | seconds
        self.nothing = not told["episodes"]
        for name, value in told.items():
            self._metrics["train"][name].append(value)
        if self.on_generation is not None:
            self.on_generation(self.state.global_step, self.generation)
        return made

    def _tensors(self, rows: Sequence[Trialled | None]) -> dict[str, Tensor]:
        """Prompts, completions, masks and advantages of the rows, in order."""
        device, pad = self.accelerator.device, self.processor.pad_id
        nothing = torch.tensor([pad]), torch.tensor([False])
        encoded = [None if row is None else row.rollout.encoded(self.processor) for row in rows]
        said = [
            nothing if row is None or one is None else completion(one, row.rollout.turns)
            for row, one in zip(rows, encoded, strict=True)
        ]
        prompts = [nothing[0] if one is None else one.input_ids[: one.turn_spans[0][0]] for one in encoded]
        there = [torch.full_like(ids, row is not None) for (ids, _), row in zip(said, rows, strict=True)]
        stacked = {
            "prompt_ids": _stack(prompts, pad, "left"),
            "prompt_mask": _stack([torch.ones_like(ids) for ids in prompts], 0, "left"),
            "completion_ids": _stack([ids for ids, _ in said], pad, "right"),
            "completion_mask": _stack(there, 0, "right"),
            "tool_mask": _stack([sampled.long() for _, sampled in said], 0, "right"),
            "rollout_index": torch.arange(len(rows)),
        }
        stacked["advantages"] = self._advantages(rows, encoded, stacked["completion_ids"].shape[1])
        stacked["num_items_in_batch"] = (stacked["completion_mask"] * stacked["tool_mask"]).sum()
        return {name: value.to(device) for name, value in stacked.items()}

    def _advantages(self, rows: Sequence[Trialled | None], encoded: Sequence[Any], width: int) -> Tensor:
        """(B,), or (B, W) where turns are credited one by one."""
        size = self.recipe.group.size
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        if self.recipe.advantage == "trajectory":
            found = [iter(normalised([row.reward for row in group if row is not None])) for group in groups]
            values = [0.0 if row is None else next(found[i // size]) for i, row in enumerate(rows)]
            return torch.tensor(values)
        turns = [iter(by_turn([row.prefixes for row in group if row is not None])) for group in groups]
        table = torch.zeros(len(rows), width)
        for i, (row, one) in enumerate(zip(rows, encoded, strict=True)):
            if row is not None:
                first = one.turn_spans[0][0]
                for (start, end), value in zip(one.turn_spans, next(turns[i // size]), strict=True):
                    table[i, start - first : end - first] = value
        return table

    def _earlier(self, rows: Sequence[Trialled | None], width: int) -> dict[str, Tensor]:
        """Log-probabilities under the reference and, where several steps use the rollouts, under this policy."""
        found: dict[str, Tensor] = {}
        if self.beta:
            found["ref_per_token_logps"] = self._by_parts(rows, width, self._reference_logps)
        if self.num_iterations > 1:
            found["old_per_token_logps"] = self._by_parts(rows, width, self._old_logps)
        return found

    def _by_parts(
        self, rows: Sequence[Trialled | None], width: int, logps: Callable[[Batch, tuple[int, int]], Tensor]
    ) -> Tensor:
        table = torch.zeros(len(rows), width, device=self.accelerator.device)
        having = [i for i, row in enumerate(rows) if row is not None]
        for start in range(0, len(having), self.recipe.group.per_device):
            some = having[start : start + self.recipe.group.per_device]
            batch = batch_of([row for i in some if (row := rows[i]) is not None], self.processor, spatial=False)
            with self.accelerator.autocast():
                table[some] = logps(batch, (len(some), width))
        return table

    def _reference_logps(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        settings: dict[str, Any] = {"barred": self.barred, "temperature": self.recipe.temperature}
        if self.reference is not None:
            return forward(self.reference, batch, shape, **settings).logps
        with adapters_off(self.policy):
            return forward(self.policy, batch, shape, **settings).logps

    def _old_logps(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        scores = self._scores(self.policy, batch, shape)
        return self._calibrated(scores, batch, torch.arange(shape[0]), scores.logps)[0]

    def _scores(self, model: Any, batch: Batch, shape: tuple[int, int]) -> Scores:
        return forward(
            model,
            batch,
            shape,
            barred=self.barred,
            temperature=self.recipe.temperature,
            store=self.generation.store,
            encode=self._encodes and torch.is_grad_enabled(),
            entropies=torch.is_grad_enabled(),
        )

    def _calibrated(self, scores: Scores, batch: Batch, rows: Tensor, *logps: Tensor) -> tuple[Tensor, ...]:
        """Each of `logps` (B, W) with the likelihood of the masks at its `[SEG]`; row i of the batch is row rows[i]."""
        settings = self.recipe.calibration
        if settings.weight == 0:
            return logps
        masks, rolled = scores.masks[: len(batch.seg_places)], batch.rolled.to(scores.masks.device)
        if not len(masks):
            return logps
        likelihood = mask_log_likelihood(masks, rolled, settings.size, settings.threshold)
        places = torch.stack([rows[batch.seg_places[:, 0]], batch.seg_places[:, 1]], -1)
        if torch.is_grad_enabled():
            self._metrics["train"]["likelihood"].append(float(likelihood.detach().mean()))
        return tuple(calibrate(table, places, likelihood, settings.weight) for table in logps)

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """GRPO with KL on calibrated log-probabilities, and the mask loss."""
        items = [self.generation.rows[i] for i in inputs["rollout_index"].tolist()]
        rows = torch.tensor([row for row, item in enumerate(items) if item is not None], dtype=torch.int64)
        some = [item for item in items if item is not None]
        batch = batch_of(some or [self.spare], self.processor, spatial=self.recipe.mask_loss > 0)
        width = inputs["completion_ids"].shape[1]
        scores = self._scores(model, batch, (len(some), width) if some else (1, self._width(self.spare)))
        logps = scores.logps.new_zeros(len(items), width)
        entropies = torch.zeros_like(logps)
        handed = inputs
        if some:
            logps = logps.index_copy(0, rows.to(logps.device), scores.logps)
            entropies = entropies.index_copy(0, rows.to(logps.device), scores.entropies)
            logps, *reference = self._calibrated(scores, batch, rows, logps, *self._reference_of(inputs))
            handed = inputs | ({"ref_per_token_logps": reference[0]} if reference else {})
        self._handed = logps, entropies
        loss: Tensor = super()._compute_loss(model, handed)
        if not some or self.accelerator.num_processes > 1:  # processes wait for each other's gradient of every part
            loss = loss + scores.connected
        return loss + self._mask_loss(scores, batch, some) + self._closing_loss(scores, batch) if some else loss

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        """What the scoring forward of this batch gave."""
        assert self._handed is not None
        logps, entropies = self._handed
        self._handed = None
        return logps, entropies, None

    def _mask_loss(self, scores: Scores, batch: Batch, items: Sequence[Trialled]) -> Tensor | float:
        """mask_loss * (BCE + Dice on the spatial frames + BCE + Dice on the turns' own frames), its share of a step."""
        if not self.recipe.mask_loss or not len(scores.masks):
            return 0.0
        settings = LossSettings(points=self.recipe.points)
        step = self.state.global_step
        points = [point_generator(self.recipe.seed, name, 0, step) for name in batch.names]
        truth = true_masks(batch, self.policy.config.image_size).to(scores.masks.device)
        terms = mask_losses(scores.masks, scores.object_scores, truth, settings, points)
        own, spatial = (terms.bce + terms.dice).tensor_split([len(batch.seg_places)])
        total = own.mean() + (spatial.mean() if len(spatial) else 0.0)
        self._metrics["train"]["mask_loss"].append(float(total.detach()))
        return self.recipe.mask_loss * total / self.current_gradient_accumulation_steps

    def _closing_loss(self, scores: Scores, batch: Batch) -> Tensor | float:
        """closing_loss * cross-entropy of the tags that guided turns were closed with, its share of a step.

        They are known, so there is nothing to explore; a policy that never had to say them would forget how.
        """
        if not self.recipe.closing_loss or not len(batch.forced):
            return 0.0
        rows, columns = batch.forced.to(scores.logps.device).T
        value = -scores.logps[rows, columns].mean()
        self._metrics["train"]["closing_loss"].append(float(value.detach()))
        return self.recipe.closing_loss * value / self.current_gradient_accumulation_steps

    def guard(self) -> None:
        """Before a step of the optimiser: no step where a gradient is not a number, or nothing was rolled out."""
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        finite = all(bool(norm.isfinite()) for norm in torch._foreach_norm(gradients)) if gradients else True
        skipped = self.nothing or not finite
        if skipped:
            for parameter in self.policy.parameters():
                parameter.grad = None  # the optimiser passes over such parameters: nothing moves or decays
        self._metrics["train"]["skipped"].append(float(skipped))

    def _reference_of(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return (inputs["ref_per_token_logps"],) if "ref_per_token_logps" in inputs else ()

    def _width(self, item: Trialled) -> int:
        return len(completion(item.rollout.encoded(self.processor), item.rollout.turns)[0])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The weights were loaded when the policy was; see `train`."""


@contextmanager
def adapters_off(policy: Any) -> Iterator[None]:
    """The policy as it was before its adapters learned anything."""
    layers = [module for module in policy.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def _as_trl_expects(policy: Any, processor: PolicyProcessor) -> Iterator[None]:
    """A policy that looks as if TRL could generate with it: rollouts are our own, and what TRL changes is put back.

    That is the padding token in the config, and a fused head, which would give neither hidden states nor masks.
    """
    text = policy.config.get_text_config()
    padding = text.pad_token_id
    policy.generation_config = GenerationConfig()
    policy.config.image_token_id = processor.image_token_id
    yield
    text.pad_token_id = padding
    del policy.config.image_token_id
    policy.generation_config = None
    policy.__dict__.pop("forward", None)


def _unused(prompts: list[Any], **_: Any) -> list[float]:
    """TRL takes no trainer without a reward function; ours rewards its rollouts itself, and never calls one."""
    raise PolicyError(
        f"TRL {trl.__version__} asks for rewards of its own, which this vtscot does not know of:"
        " install the version that it was made for with pip install 'vtscot[train]'"
    )


def _stack(rows: Sequence[Tensor], value: int, side: str) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=side)
