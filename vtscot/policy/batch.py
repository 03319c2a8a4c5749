"""Many encoded episodes as one batch, padded on the left; and the way back from ids to the text of the turns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED, Encoded


def collate(batch: Sequence[Encoded], pad_id: int) -> dict[str, Tensor]:
    """Tensors of B episodes, T tokens after padding, N masks in order of row, then turn.

    input_ids, attention_mask, labels, mm_token_type_ids (B, T); pixel_values (P, C) and image_grid_thw (I, 3) of all
    images in order; seg_index (N, 2) as [row, position]; seg_video_frame (N,), the index in its video of the frame
    each mask is decoded on; seg_turn (N,).
    """
    length = max(map(len, batch))
    ones = [torch.ones_like(encoded.input_ids) for encoded in batch]
    return {
        "input_ids": _padded([encoded.input_ids for encoded in batch], length, pad_id),
        "attention_mask": _padded(ones, length, 0),
        "labels": _padded([encoded.labels for encoded in batch], length, IGNORED),
        "mm_token_type_ids": _padded([encoded.mm_token_type_ids for encoded in batch], length, 0),
        "pixel_values": torch.cat([encoded.pixel_values for encoded in batch]),
        "image_grid_thw": torch.cat([encoded.image_grid_thw for encoded in batch]),
        "seg_index": torch.cat([_seg_index(row, encoded, length) for row, encoded in enumerate(batch)]),
        "seg_video_frame": torch.cat([encoded.seg_frames for encoded in batch]),
        "seg_turn": torch.cat([encoded.seg_turns for encoded in batch]),
    }


def distinct_images(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch with every image once: looks and rollouts show the same frames again.

    pixel_values (P', C) and image_grid_thw (I', 3) of the distinct images in order of their first place, and
    image_index (I,): which of them stands at each place.
    """
    grids = batch["image_grid_thw"]
    images = batch["pixel_values"].split(grids.prod(-1).tolist())
    first: dict[tuple[bytes, ...], int] = {}  # number of a distinct image, by its grid and the digest of its pixels
    kept: list[int] = []  # its place
    index: list[int] = []
    for place, (image, grid) in enumerate(zip(images, grids, strict=True)):
        key = (grid.numpy().tobytes(), hashlib.sha256(image.contiguous().numpy().data).digest())
        if key not in first:
            first[key] = len(kept)
            kept.append(place)
        index.append(first[key])
    pixels = torch.cat([images[place] for place in kept])
    return {**batch, "pixel_values": pixels, "image_grid_thw": grids[kept], "image_index": torch.tensor(index)}


def decode_turns(ids: Tensor | Sequence[int], processor: PolicyProcessor) -> list[str]:
    """The text of every reply in the ids (T,) of one episode, padded or not, without its end-of-message token.

    The last reply may lack its end; what comes after a reply's end is not part of it.
    """
    tokens = [int(i) for i in ids]
    header = processor.reply_header
    texts: list[str] = []
    position = 0
    while (start := _find(tokens, header, position)) is not None:
        end = next((i for i in range(start, len(tokens)) if tokens[i] == processor.message_end_id), len(tokens))
        texts.append(processor.tokenizer.decode(tokens[start:end], skip_special_tokens=False))
        position = end
    return texts


def _padded(rows: Sequence[Tensor], length: int, value: int) -> Tensor:
    return torch.stack([torch.cat([row.new_full((length - len(row),), value), row]) for row in rows])


def _seg_index(row: int, encoded: Encoded, length: int) -> Tensor:
    positions = encoded.seg_positions + (length - len(encoded))
    return torch.stack([torch.full_like(positions, row), positions], dim=-1)


def _find(tokens: list[int], pattern: tuple[int, ...], start: int) -> int | None:
    """Index after the first occurrence of `pattern` at or after `start`."""
    width = len(pattern)
    return next(
        (i + width for i in range(start, len(tokens) - width + 1) if tuple(tokens[i : i + width]) == pattern), None
    )
