"""What a vision tower that is not trained makes of images, kept from step to step.

It makes the same of an image in every epoch and for every expression about its video. Each image goes through alone,
so what it becomes depends neither on the batch in which it was first seen nor on what is still kept: a training that is
gone on with has the losses of one that never stopped. SAM 2's features are not kept: the last layers that make them
(`conv_s0`, `conv_s1`) are the mask decoder's, and trained with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vtscot.lru import Lru
from vtscot.policy.cache import ImageFeatures, joined_features
from vtscot.policy.features import encode_images, features_bytes

from .encoding import ImageKey


class FrozenTower:
    """Puts features in the place of a batch's images; at most `megabytes` of them are kept, on the policy's device."""

    def __init__(self, policy: Any, megabytes: int) -> None:
        self._policy = policy
        self._kept: Lru[ImageKey, ImageFeatures] = Lru(megabytes * 2**20, features_bytes)

    def seen(self, inputs: dict[str, Any], keys: Sequence[ImageKey]) -> dict[str, Any]:
        """The inputs of `Policy.forward` with features instead of pixels; `keys` name the distinct images in order."""
        grids, index = inputs["image_grid_thw"], inputs["image_index"]
        pixels = inputs["pixel_values"].split(grids.prod(-1).tolist())
        found = [
            self._kept.made(key, partial(self._encode, image, grid))
            for key, image, grid in zip(keys, pixels, grids.split(1), strict=True)
        ]
        features = joined_features([found[place] for place in index.tolist()])
        images = {"mm_encoder_outputs": features, "image_grid_thw": grids[index]}
        return {**inputs, "pixel_values": None, "image_index": None, **images}

    def _encode(self, pixels: Tensor, grid: Tensor) -> ImageFeatures:
        with torch.no_grad():
            return encode_images(self._policy, pixels, grid)[0]
