"""The trainer of the cold start: transformers' Trainer with the policy's own inputs, losses and order.

Why not TRL's SFTTrainer: what it adds to Trainer is the preparation of a text dataset, a collator that knows images
only, and a fused head in the place of the model's forward pass that gives neither hidden states nor masks. With masks
all of it would have to be replaced, and nothing of it would be left.

Every term is divided by its number in the whole step (tokens or masks, over all batches and processes), so that
accumulation and several processes give the losses of one large batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from vtscot.errors import PolicyError
from vtscot.policy.tokens import IGNORED
from vtscot.training.losses import mask_ious, mask_losses, point_generator, token_losses
from vtscot.training.trainer import PolicyTrainer

from .batching import Batches, Collator, Samples
from .frozen import FrozenTower
from .recipe import SftRecipe

TERMS: Final = ("lm", "bce", "dice", "object")
_SUMS: Final = (*TERMS, "right", "overlap", "visible", "masks", "tokens")  # what is added up between two logs
INPUTS: Final = (
    "input_ids",
    "mm_token_type_ids",
    "pixel_values",
    "image_grid_thw",
    "image_index",
    "seg_index",
    "frames",
    "seg_frame",
)


class SftTrainer(PolicyTrainer, Trainer):  # type: ignore[misc]
    """Trains a policy on samples. `token_weights` (V,) weighs the tokens that are to be said."""

    recipe: SftRecipe

    def __init__(
        self,
        policy: Any,
        recipe: SftRecipe,
        arguments: TrainingArguments,
        samples: Samples,
        batches: Batches,
        collator: Collator,
        *,
        token_weights: Tensor | None = None,
        save_processor: Callable[[Path], object],
        callbacks: list[Any] | None = None,
    ) -> None:
        super().__init__(
            policy, arguments, train_dataset=samples, data_collator=collator, callbacks=list(callbacks or ())
        )
        self.recipe = recipe
        self.batches = batches
        self.token_weights = None if token_weights is None else token_weights.to(arguments.device)
        self.save_processor = save_processor
        self.model_accepts_loss_kwargs = True  # our losses are divided by the numbers of the whole step
        self.frozen = FrozenTower(policy, recipe.features_mb) if self._keeps_features() else None
        self._sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=arguments.device)
        self._since = (0, 0.0)  # step and time of the last log

    def _keeps_features(self) -> bool:
        """Not of a tower that is trained; nor where weights are shared out: whole they are in a forward pass only."""
        shared = self.is_fsdp_enabled or self.is_deepspeed_enabled
        return self.recipe.features_mb > 0 and not self.recipe.trainable.vision_tower and not shared

    def get_train_dataloader(self) -> DataLoader:
        """The batches of this process: they are shared out already, so accelerate has nothing to do with them."""
        workers = self.recipe.loader_workers
        self._since = (0, time.monotonic())
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.args.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # unused; without one the global state would be
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | None:
        """Tokens and masks (2,) of the whole step, over all its batches and processes."""
        if not batch_samples:
            return None
        tokens = sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batch_samples)
        masks = sum(len(batch["masks"]) for batch in batch_samples)
        numbers = torch.tensor([tokens, masks], dtype=torch.float64, device=device)
        return self.accelerator.reduce(numbers) if self.args.world_size > 1 else numbers

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        """The loss of one batch as its share of the step's; adds the terms to what is logged next."""
        assert num_items_in_batch is not None
        tokens, masks = (max(float(number), 1.0) for number in num_items_in_batch)
        terms, told = self._terms(model, inputs)
        terms = terms / terms.new_tensor([tokens, masks, masks, masks])
        told[0] /= tokens
        self._sums += torch.cat([terms.detach().double(), told.double()])
        weights = self.recipe.losses
        weighed = terms * terms.new_tensor([weights.lm, weights.bce, weights.dice, weights.object])
        # Gradients are averaged over processes, but each holds its share of a sum.
        return weighed.sum() * self.args.world_size

    def _terms(self, model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Sums of the terms (4,) over a batch; and of what is told beside them: the rest of `_SUMS`."""
        labels = inputs["labels"]
        where = (labels[:, 1:] != IGNORED).nonzero()
        targets = labels[where[:, 0], where[:, 1] + 1]
        given = {name: inputs[name] for name in INPUTS}
        if self.frozen is not None:
            given = self.frozen.seen(given, inputs["image_keys"])
        output = model(**given, logits_index=where)
        words = token_losses(output.logits, targets, self.token_weights)
        points = [point_generator(self.recipe.seed, *mask_id) for mask_id in inputs["mask_ids"]]
        masks = mask_losses(output.mask_logits, output.object_scores, inputs["masks"], self.recipe.losses, points)
        with torch.no_grad():
            right = (output.logits.argmax(-1) == targets).sum()
            ious, visible = mask_ious(output.mask_logits, inputs["masks"])
            counted = ious.new_tensor([len(visible), sum(inputs["tokens"])])
            told = torch.stack([right.float(), ious.sum(), visible.sum().float()])
        sums = torch.stack([words.sum(), masks.bce.sum(), masks.dice.sum(), masks.object.sum()])
        return sums, torch.cat([told, counted])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Every term on its own, beside what Trainer logs."""
        if "loss" in logs:
            logs |= self._told()
            if not math.isfinite(logs["loss"]):
                raise PolicyError(
                    f"the loss of step {self.state.global_step} is not a number; train again with a"
                    " lower learning rate: --set optimiser.lr=, and another --out"
                )
        self.state.epoch = self.epoch_of(self.state.global_step)
        super().log(logs, start_time)

    def epoch_of(self, step: int) -> float:
        """Epochs of records seen after `step` steps."""
        return step * self.recipe.batch.effective / len(self.train_dataset)

    def _told(self) -> dict[str, float]:
        sums = self.accelerator.reduce(self._sums) if self.args.world_size > 1 else self._sums
        named = dict(zip(_SUMS, sums.tolist(), strict=True))
        self._sums.zero_()
        step, now = self.state.global_step, time.monotonic()
        (before, begun), self._since = self._since, (step, now)
        steps = max(step - max(before, self._initial_global_step), 1)
        told = {name: named[name] / steps for name in (*TERMS, "right")}
        told["accuracy"] = told.pop("right")
        if named["visible"]:
            told["iou"] = named["overlap"] / named["visible"]
        return told | {"tokens": named["tokens"], "seconds": now - begun}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights that no one shards were loaded when the policy was; see `train._prepare`."""
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
