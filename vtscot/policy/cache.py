"""What a batch of rows has read so far, so that nothing is read twice: keys, values, and which of them count.

Shapes: B rows, K slots of the cache. Rows read slices of different lengths together, padded on the left, and some
rows wait while others write: such slots are never attended to. Positions are counted per row without them, so a row
has the positions and (up to rounding) the hidden states of one forward pass over its tokens alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM: Final = 256  # slots added at a time: writing into a free slot is cheaper than joining tensors at every token


@dataclass
class Counters:
    """What rollouts cost. Padding is not counted, nor a token or image that was at hand already."""

    prefilled_tokens: int = 0  # of prompts and observations
    generated_tokens: int = 0
    encoded_images: int = 0  # through the vision tower
    vision_patches: int = 0  # of these images
    sam_frames: int = 0  # through SAM 2's image encoder
    too_long: int = 0  # rollouts that ended because the window was full


@dataclass(frozen=True, eq=False, slots=True)
class ImageFeatures:
    """What the vision tower makes of one image of t tokens: (t, hidden), and the same per level of DeepStack."""

    pooled: Tensor
    deep: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """What one row reads next."""

    input_ids: Tensor  # (T,) int64
    mm_token_type_ids: Tensor  # (T,) int64, 1 at image tokens
    image_grid_thw: Tensor  # (I, 3) int64
    images: tuple[ImageFeatures, ...]


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer of the cache that writes into room kept free behind its keys and values. Not for training."""

    room: Tensor | None = None  # (2, B, heads, slots, width): keys and values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new keys and values; returns all of them."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.room is None or end > self.room.shape[-2]:
            self._move(key_states, start, end)
        assert self.room is not None
        self.room[0, ..., start:end, :] = key_states
        self.room[1, ..., start:end, :] = value_states
        self.keys, self.values = self.room[0, ..., :end, :], self.room[1, ..., :end, :]
        return self.keys, self.values

    def _move(self, like: Tensor, start: int, end: int) -> None:
        room = like.new_zeros(2, *like.shape[:-2], end + ROOM, like.shape[-1])
        if start:
            room[0, ..., :start, :], room[1, ..., :start, :] = self.keys, self.values
        self.room = room

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times, in room of its own."""
        super().batch_repeat_interleave(repeats)
        self.room = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Only these rows."""
        super().batch_select_indices(indices)
        self.room = None


class Context:
    """The rows of a batch and what they have read. Methods that read give the hidden states (B, hidden) at the end."""

    def __init__(self, policy: Any, pad_id: int, rows: int, counters: Counters) -> None:
        self.policy, self.pad_id, self.counters = policy, pad_id, counters
        self.device = policy.device
        self.cache = Cache(layer_class_to_replicate=RoomyLayer)
        self.keep = torch.zeros(rows, 0, dtype=torch.bool, device=self.device)  # (B, K) slots that count
        self.position = torch.zeros(rows, dtype=torch.int64, device=self.device)  # (B,) of the next text token
        self.full = True  # every slot counts: no mask is needed

    def __len__(self) -> int:
        return len(self.keep)

    def repeat(self, times: int) -> Context:
        """A context with every row `times` times, side by side; this one can go on to be repeated."""
        wider = copy.copy(self)
        wider.cache = Cache(layer_class_to_replicate=RoomyLayer)
        wider.cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        wider.cache.batch_repeat_interleave(times)
        wider.keep = self.keep.repeat_interleave(times, 0)
        wider.position = self.position.repeat_interleave(times, 0)
        return wider

    def select(self, rows: Sequence[int]) -> None:
        """Only these rows go on; the others leave the cache."""
        if list(rows) == list(range(len(self))):
            return
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        self.cache.batch_select_indices(index)
        self.keep, self.position = self.keep[index], self.position[index]

    def extend(self, slices: Sequence[Slice]) -> Tensor:
        """Every row reads its slice; only the last hidden states are given, so no logits of a prompt are built."""
        length = max(len(part.input_ids) for part in slices)
        ids = torch.full((len(slices), length), self.pad_id)
        new = torch.zeros(len(slices), length, dtype=torch.bool)
        positions = torch.zeros(3, len(slices), length, dtype=torch.int64)
        for row, part in enumerate(slices):
            start = length - len(part.input_ids)
            ids[row, start:], new[row, start:] = part.input_ids, True
            positions[:, row, start:] = self._positions(part)
        self.counters.prefilled_tokens += int(new.sum())
        after = positions.amax(dim=(0, 2)).to(self.device) + 1
        positions = positions.to(self.device) + self.position[:, None]
        self.position = self.position + after
        hidden: Tensor = self.policy.vlm.model(
            input_ids=ids.to(self.device),
            attention_mask=self._mask(new.to(self.device), full=bool(new.all())),
            position_ids=positions,
            past_key_values=self.cache,
            mm_encoder_outputs=joined_features([image for part in slices for image in part.images]),
        )[0]
        return hidden[:, -1]

    def step(self, tokens: Tensor, reads: Sequence[bool]) -> Tensor:
        """Rows that `reads` is true of read one token each of `tokens` (B,); the others wait."""
        everyone = all(reads)
        active = torch.tensor(reads, device=self.device)
        tokens = tokens if everyone else tokens.where(active, self.pad_id)
        mask = self._mask(active[:, None], full=everyone)
        hidden: Tensor = self.policy.vlm.model.language_model(
            inputs_embeds=self.policy.get_input_embeddings()(tokens[:, None]),
            attention_mask=mask,
            position_ids=self.position.expand(3, -1)[..., None],
            past_key_values=self.cache,
        )[0]
        self.position = self.position + active
        return hidden[:, -1]

    def _positions(self, part: Slice) -> Tensor:
        """(3, T) positions (time, height, width) in a slice that begins at 0."""
        positions: Tensor = self.policy.vlm.model.get_rope_index(
            part.input_ids[None], mm_token_type_ids=part.mm_token_type_ids[None], image_grid_thw=part.image_grid_thw
        )[0]
        return positions[:, 0]

    def _mask(self, new: Tensor, *, full: bool) -> Tensor | None:
        """What the new slots (B, n), those that count among them, may look at: themselves and what counts before.

        A slot that does not count looks at itself alone, or there would be nothing to weigh. None where plain causal
        attention is meant. SDPA takes booleans, eager attention numbers to add, other kinds of attention (B, K).
        """
        length = new.shape[1]
        seen = self.keep.shape[1]
        self.keep = torch.cat([self.keep, new], dim=1)
        self.full = self.full and full
        if self.full and (length == 1 or not seen):
            return None
        kind = self.policy.vlm.config.get_text_config()._attn_implementation
        if kind not in ("sdpa", "eager"):
            return self.keep
        allowed = self.keep[:, None].expand(-1, length, -1)
        if length > 1:
            allowed = allowed.tril(seen)
        allowed = allowed | torch.ones(length, seen + length, dtype=torch.bool, device=new.device).tril(seen).triu(seen)
        if kind == "sdpa":
            return allowed[:, None]
        least = torch.finfo(self.policy.dtype).min
        return torch.zeros_like(allowed, dtype=self.policy.dtype).masked_fill(~allowed, least)[:, None]


def joined_features(images: Sequence[ImageFeatures]) -> dict[str, SimpleNamespace]:
    """The features of many images as the model's own encoder would give them."""
    if not images:
        return {}
    levels = zip(*(image.deep for image in images), strict=True)
    features = SimpleNamespace(pooler_output=[image.pooled for image in images], deepstack_features=list(levels))
    return {"image": features}
