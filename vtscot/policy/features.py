"""Patches and features of frames, made once: the vision tower's per image, SAM 2's per frame. Memory is bounded.

A frame is known by the digest of its file, so queries about one video share its features, and so do the samples of
a query that look at the same frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from vtscot.errors import PolicyError
from vtscot.lru import Lru
from vtscot.policy.cache import Counters, ImageFeatures
from vtscot.policy.decode import DecodedMasks, FrameFeatures
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import Patches, patches_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from vtscot.frames import Frames
    from vtscot.records import Observation

KEPT_BYTES: Final = 2**28  # of each kind: some 16 frames of SAM 2 at 1024 pixels

ImageKey = tuple[str, int]  # digest of the frame, most pixels it may have


class Shown(NamedTuple):
    """The images of one observation, in order."""

    keys: tuple[ImageKey, ...]
    patches: tuple[Patches, ...]


class FeatureStore:
    """Gives patches and features of images and frames, from memory where it can."""

    def __init__(
        self, policy: Any, processor: PolicyProcessor, counters: Counters, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self.policy, self.processor, self.counters = policy, processor, counters
        self._patches: Lru[ImageKey, Patches] = Lru(kept_bytes, lambda image: _bytes((image.pixel_values, image.grid)))
        self._images: Lru[ImageKey, ImageFeatures] = Lru(kept_bytes, features_bytes)
        self._frames: Lru[str, FrameFeatures] = Lru(kept_bytes, lambda frame: _bytes(frame.levels))

    def show(self, frames: Frames, observation: Observation, query_id: str) -> Shown:
        """The images of an observation; PolicyError naming the query for one that cannot be shown."""
        keys = tuple((frames.digest(shown.index), shown.max_pixels) for shown in observation.frames)
        patches: list[Patches] = []
        for key, shown in zip(keys, observation.frames, strict=True):
            known = self._patches.get(key)
            if known is None:
                known = self._new_patches(frames.image(shown.index, shown.max_pixels), query_id)
                self._patches.put(key, known)
            patches.append(known)
        return Shown(keys, tuple(patches))

    def _new_patches(self, image: Image, query_id: str) -> Patches:
        try:
            self.processor.image_tokens(*image.size)
        except PolicyError as error:
            raise PolicyError(f"{query_id}: {error}") from error
        return patches_of(image, self.processor)

    def images(self, rows: Sequence[Shown]) -> list[tuple[ImageFeatures, ...]]:
        """The features of every observation's images, in order; all that are new go through the tower together."""
        known = {key: self._images.get(key) for row in rows for key in row.keys}
        new = {
            key: patches
            for row in rows
            for key, patches in zip(row.keys, row.patches, strict=True)
            if known[key] is None
        }
        found = {key: image for key, image in known.items() if image is not None}
        for key, image in zip(new, self._encode(list(new.values())), strict=True):
            found[key] = image
            self._images.put(key, image)
        return [tuple(found[key] for key in row.keys) for row in rows]

    def _encode(self, images: Sequence[Patches]) -> list[ImageFeatures]:
        if not images:
            return []
        device = self.policy.device
        pixels = torch.cat([image.pixel_values for image in images]).to(device)
        grids = torch.stack([image.grid for image in images]).to(device)
        self.counters.encoded_images += len(images)
        self.counters.vision_patches += len(pixels)
        return encode_images(self.policy, pixels, grids)

    def masks(self, places: Sequence[tuple[Frames, int]], seg_hidden: torch.Tensor) -> DecodedMasks:
        """The masks of hidden states (N, hidden), each on its frame (frames, index)."""
        features, index = self.frames(places)
        decoded: DecodedMasks = self.policy.decode_masks(seg_hidden, features, index)
        return decoded

    def frames(self, places: Sequence[tuple[Frames, int]]) -> tuple[FrameFeatures, torch.Tensor]:
        """SAM 2's features of the distinct frames among (frames, index), and which of them stands at each place."""
        keys = [frames.digest(index) for frames, index in places]
        order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        found = self._features(dict(zip(keys, places, strict=True)))
        levels = zip(*(found[key].levels for key in order), strict=True)
        features = FrameFeatures(tuple(torch.cat(level) for level in levels))
        return features, torch.tensor([order[key] for key in keys])

    def _features(self, wanted: dict[str, tuple[Frames, int]]) -> dict[str, FrameFeatures]:
        known = {key: self._frames.get(key) for key in wanted}
        new = [key for key, features in known.items() if features is None]
        found = {key: features for key, features in known.items() if features is not None}
        if new:
            images = [wanted[key][0].image(wanted[key][1]) for key in new]
            encoded = self.policy.frame_features(self.policy.sam_frames(images))
            self.counters.sam_frames += len(new)
            for i, key in enumerate(new):
                found[key] = FrameFeatures(tuple(level[i : i + 1].clone() for level in encoded.levels))
                self._frames.put(key, found[key])
        return found


def encode_images(policy: Any, pixels: torch.Tensor, grids: torch.Tensor) -> list[ImageFeatures]:
    """What the vision tower makes of I images with patches (P, C) and `grids` (I, 3); each has memory of its own."""
    encoded = policy.vlm.model.get_image_features(pixels, grids, return_dict=True)
    levels = getattr(encoded, "deepstack_features", None) or []  # Qwen2.5-VL has none
    return [
        ImageFeatures(pooled.clone(), tuple(level[i].clone() for level in levels))  # no view that keeps the others
        for i, pooled in enumerate(encoded.pooler_output)
    ]


def features_bytes(image: ImageFeatures) -> int:
    """The memory of an image's features."""
    return _bytes((image.pooled, *image.deep))


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
