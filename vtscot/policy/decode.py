"""Masks from `[SEG]`: SAM 2's image encoder and its mask decoder, with gradient, one prompt token per mask.

The encoder runs once per frame however many masks are decoded on it; its features can be kept and used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """SAM 2's maps of F frames, finest first: (F, C/8, 4h, 4w), (F, C/4, 2h, 2w), (F, C, h, w)."""

    levels: tuple[Tensor, ...]

    def __len__(self) -> int:
        return int(self.levels[-1].shape[0])

    def take(self, index: Tensor) -> FrameFeatures:
        """The maps of the frames in `index` (N,), repeated where an index is."""
        return FrameFeatures(tuple(level.index_select(0, index.to(level.device)) for level in self.levels))


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """N masks: logits (N, 4h, 4w), the IoU the decoder expects (N,), logits that the object is there at all (N,)."""

    logits: Tensor
    iou_scores: Tensor
    object_scores: Tensor


def encode_frames(sam: Any, frames: Tensor, chunk: int) -> FrameFeatures:
    """Features of `frames` (F, 3, S, S), `chunk` frames at a time."""
    parts = [_encode(sam, part) for part in frames.to(sam.device, sam.dtype).split(chunk)]
    return FrameFeatures(tuple(torch.cat(level) for level in zip(*parts, strict=True)))


def _encode(sam: Any, frames: Tensor) -> list[Tensor]:
    maps = list(sam.get_image_features(frames, return_dict=True).fpn_hidden_states)  # each (h*w, F, C)
    maps[-1] = maps[-1] + sam.no_memory_embedding
    sizes = sam.backbone_feature_sizes
    return [level.permute(1, 2, 0).unflatten(2, tuple(size)) for level, size in zip(maps, sizes, strict=True)]


def decode(sam: Any, prompts: Tensor, features: FrameFeatures, frame_index: Tensor) -> DecodedMasks:
    """Decode prompt tokens (N, C), each on the frame `frame_index` (N,) of `features`."""
    height, width = (4 * side for side in features.levels[-1].shape[-2:])
    if not len(prompts):
        none = prompts.new_zeros(0)
        return DecodedMasks(prompts.new_zeros(0, height, width), none, none)
    *fine, top = features.take(frame_index).levels
    dense = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompts), -1, *top.shape[-2:])
    masks, iou, _, objects = sam.mask_decoder(
        image_embeddings=top,
        image_positional_embeddings=sam.get_image_wide_positional_embeddings().expand(len(prompts), -1, -1, -1),
        sparse_prompt_embeddings=prompts.to(top.dtype)[:, None, None],
        dense_prompt_embeddings=dense,
        multimask_output=False,
        high_resolution_features=fine,
    )
    return DecodedMasks(masks[:, 0, 0], iou[:, 0, 0], objects[:, 0, 0])
