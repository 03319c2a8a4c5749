"""Features of frames, computed once: the vision tower's per image, SAM 2's per frame. Memory is bounded.

A frame is known by the digest of its file, so queries about one video share its features, and so do the samples of
a query that look at the same frames.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import torch

from vtscot.policy.cache import Counters, ImageFeatures
from vtscot.policy.decode import DecodedMasks, FrameFeatures

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.policy.tokens import Piece
    from vtscot.records import Observation

KEPT_BYTES: Final = 2**29  # of either kind: some 30 frames of SAM 2 at 1024 pixels

ImageKey = tuple[str, int]  # digest of the frame, most pixels it may have
K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A dict of at most `limit` bytes: what has not been asked for the longest goes first. `size` tells bytes."""

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit, self.size = limit, size
        self.bytes = 0
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the youngest."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, which is not kept already, and drop what has no place any more."""
        self._items[key] = value
        self.bytes += self.size(value)
        while self.bytes > self.limit:
            _, old = self._items.popitem(last=False)
            self.bytes -= self.size(old)


class FeatureStore:
    """Gives features of images and frames, from memory where it can."""

    def __init__(self, policy: Any, counters: Counters, kept_bytes: int = KEPT_BYTES) -> None:
        self.policy, self.counters = policy, counters
        self._images: Lru[ImageKey, ImageFeatures] = Lru(kept_bytes, lambda image: _bytes((image.pooled, *image.deep)))
        self._frames: Lru[str, FrameFeatures] = Lru(kept_bytes, lambda frame: _bytes(frame.levels))

    def images(self, shown: Sequence[tuple[Frames, Observation, Piece]]) -> list[tuple[ImageFeatures, ...]]:
        """The features of every observation's images, in order; all that are new go through the tower together."""
        keys = [[(frames.digest(f.index), f.max_pixels) for f in seen.frames] for frames, seen, _ in shown]
        found: dict[ImageKey, ImageFeatures] = {}
        new: dict[ImageKey, tuple[torch.Tensor, torch.Tensor]] = {}
        for row, (_, _, piece) in zip(keys, shown, strict=True):
            pixels = piece.pixel_values.split(piece.image_grid_thw.prod(-1).tolist())
            for key, values, grid in zip(row, pixels, piece.image_grid_thw, strict=True):
                known = self._images.get(key)
                if known is None:
                    new[key] = (values, grid)
                else:
                    found[key] = known
        for key, image in zip(new, self._encode(list(new.values())), strict=True):
            found[key] = image
            self._images.put(key, image)
        return [tuple(found[key] for key in row) for row in keys]

    def _encode(self, images: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[ImageFeatures]:
        if not images:
            return []
        device = self.policy.device
        pixels = torch.cat([values for values, _ in images]).to(device)
        grids = torch.stack([grid for _, grid in images]).to(device)
        self.counters.encoded_images += len(images)
        self.counters.vision_patches += len(pixels)
        encoded = self.policy.vlm.model.get_image_features(pixels, grids, return_dict=True)
        levels = getattr(encoded, "deepstack_features", None) or []  # Qwen2.5-VL has none
        return [
            ImageFeatures(pooled.clone(), tuple(level[i].clone() for level in levels))  # no view that keeps the others
            for i, pooled in enumerate(encoded.pooler_output)
        ]

    def masks(self, places: Sequence[tuple[Frames, int]], seg_hidden: torch.Tensor) -> DecodedMasks:
        """The masks of hidden states (N, hidden), each on its frame (frames, index)."""
        keys = [frames.digest(index) for frames, index in places]
        order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        found = self._features(dict(zip(keys, places, strict=True)))
        levels = zip(*(found[key].levels for key in order), strict=True)
        features = FrameFeatures(tuple(torch.cat(level) for level in levels))
        decoded: DecodedMasks = self.policy.decode_masks(
            seg_hidden, features, torch.tensor([order[key] for key in keys])
        )
        return decoded

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


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
