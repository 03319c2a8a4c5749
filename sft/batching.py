"""Which records make which step, and what a batch of them holds.

The order is a function of the recipe and the ids of the records: the same on every machine, for any number of
processes, and after a resume. An epoch is a permutation of the records; steps run on over the end of an epoch, and the
last step is filled up with records of the next. Records of a step are sorted by length before they are cut into
batches, so that little is padded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vtscot.errors import UsageError
from vtscot.policy.pixels import normalised
from vtscot.policy.tokens import IGNORED

from .decisions import Decisions
from .encoding import Encoder, ImageKey, Sample
from .recipe import SftRecipe

Item = tuple[int, int]  # epoch, number of the record


@dataclass(frozen=True)
class Schedule:
    """How a recipe's batches are spread: `steps` of `effective` records, `accumulate` batches per process and step."""

    steps: int
    effective: int
    per_device: int
    accumulate: int
    processes: int


def schedule(recipe: SftRecipe, records: int, processes: int = 1) -> Schedule:
    """UsageError where the effective batch cannot be shared out evenly."""
    batch = recipe.batch
    share = batch.per_device * processes
    if batch.effective % share:
        raise UsageError(
            f"batch.effective {batch.effective} is no multiple of batch.per_device {batch.per_device} x {processes}"
            f" {'process' if processes == 1 else 'processes'}; change one with --set"
        )
    steps = recipe.max_steps or max(1, math.ceil(round((recipe.epochs or 1) * records, 6) / batch.effective))
    return Schedule(steps, batch.effective, batch.per_device, batch.effective // share, processes)


class Batches:
    """The batches of one process in order: lists of items. What `torch.utils.data` calls a batch sampler."""

    def __init__(
        self, ids: Sequence[str], lengths: Sequence[int], plan: Schedule, seed: int, sorted_steps: int, process: int = 0
    ) -> None:
        self._ids, self._lengths, self._plan, self._seed = ids, lengths, plan, seed
        self._sorted, self._process = sorted_steps, process

    def __len__(self) -> int:
        return self._plan.steps * self._plan.accumulate

    def __iter__(self) -> Iterator[list[Item]]:
        plan = self._plan
        together = plan.per_device * plan.processes
        for step in islice(self._steps(), plan.steps):
            for start in range(0, plan.effective, together):
                yield step[start : start + together][self._process :: plan.processes]

    def _steps(self) -> Iterator[list[Item]]:
        """Each step's items; `sorted_steps` of them share theirs by length and come in an order of their own."""
        stream = self._stream()
        for window in count():
            items = list(islice(stream, self._plan.effective * self._sorted))
            items.sort(key=lambda item: self._lengths[item[1]])
            steps = [items[i : i + self._plan.effective] for i in range(0, len(items), self._plan.effective)]
            order = sorted(range(len(steps)), key=lambda i: _drawn(f"steps/{self._seed}/{window}/{i}"))
            yield from (steps[i] for i in order)

    def _stream(self) -> Iterator[Item]:
        for epoch in count():
            numbers = range(len(self._ids))
            order = sorted(numbers, key=lambda i: _drawn(f"epoch/{self._seed}/{epoch}/{self._ids[i]}"))
            yield from ((epoch, i) for i in order)


def _drawn(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class Samples(Dataset):  # type: ignore[misc]
    """Samples by item; what a loader reads. `decisions` are drawn anew in every epoch."""

    def __init__(self, encoder: Encoder, numbers: Sequence[int], decisions: Decisions | None = None) -> None:
        self._encoder, self._numbers, self._decisions = encoder, numbers, decisions

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, item: Item) -> tuple[int, int, Sample]:
        epoch, i = item
        number = self._numbers[i]
        sample = self._encoder.sample(number)
        if self._decisions is not None:
            sample = dataclasses.replace(sample, encoded=self._decisions.drawn(sample.encoded, epoch))
        return epoch, number, sample


class Collator:
    """Samples as the policy's inputs and what they are compared with.

    input_ids, labels, mm_token_type_ids (B, T), padded on the right: no token looks at the padding after it, so there
    is no mask, which makes attention twice as fast; seg_index (N, 2) and seg_frame (N,) as `Policy.forward` takes
    them; every distinct image once in pixel_values (P, C) and image_grid_thw (I', 3) with image_index (I,) and
    image_keys [I' keys]; the distinct decoded frames (F, 3, S, S); masks bool (N, S, S), mask_ids [(query id, turn,
    epoch)], tokens [B lengths].
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, batch: Sequence[tuple[int, int, Sample]]) -> dict[str, Any]:
        samples = [sample for _, _, sample in batch]
        encoded = [sample.encoded for sample in samples]
        places = [(row, place) for row, one in enumerate(encoded) for place in one.seg_positions.tolist()]
        return {
            "input_ids": _padded([one.input_ids for one in encoded], self._encoder.processor.pad_id),
            "labels": _padded([one.labels for one in encoded], IGNORED),
            "mm_token_type_ids": _padded([one.mm_token_type_ids for one in encoded], 0),
            "seg_index": torch.tensor(places).reshape(-1, 2),
            "tokens": [len(one) for one in encoded],
            **self._images(batch),
            **self._frames(batch),
            "masks": torch.cat([sample.masks for sample in samples]),
            "mask_ids": [
                (sample.encoded.query_id, turn, epoch)
                for epoch, _, sample in batch
                for turn in sample.encoded.seg_turns.tolist()
            ],
        }

    def _images(self, batch: Sequence[tuple[int, int, Sample]]) -> dict[str, Tensor]:
        owners, index = _distinct([(key, number) for _, number, sample in batch for key in sample.images])
        images = [self._encoder.image(key, number) for key, number in owners.items()]
        return {
            "pixel_values": torch.cat([self._encoder.pixels(image) for image in images]),
            "image_grid_thw": torch.stack([image.grid for image in images]),
            "image_index": index,
            "image_keys": list(owners),
        }

    def _frames(self, batch: Sequence[tuple[int, int, Sample]]) -> dict[str, Tensor]:
        owners, index = _distinct([(key, number) for _, number, sample in batch for key in sample.frames])
        frames = [self._encoder.frame(key, number) for key, number in owners.items()]
        return {"frames": normalised(torch.stack(frames)), "seg_frame": index}


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _distinct(keys: Sequence[tuple[ImageKey, int]]) -> tuple[dict[ImageKey, int], Tensor]:
    """Every key once, with the first record that shows it; and which of them stands at each place."""
    owners: dict[ImageKey, int] = {}
    for key, number in keys:
        owners.setdefault(key, number)
    places = {key: place for place, key in enumerate(owners)}
    return owners, torch.tensor([places[key] for key, _ in keys])
