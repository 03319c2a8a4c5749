"""Frames as SAM 2 sees them: resized to a square whatever their shape, scaled and normalised. No torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vtscot.frames import rest

if TYPE_CHECKING:
    from vtscot.frames import Frames

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
BLOCK: Final = 32  # frames of a video read at once


def sam_frame(image: Image.Image, size: int) -> Tensor:
    """One image as float32 (3, size, size): resized directly (antialiased bilinear), normalised per channel."""
    return normalised(square(image, size))


def square(image: Image.Image, size: int) -> Tensor:
    """One image resized, not yet normalised: uint8 (3, size, size), a quarter of the memory."""
    resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)))


def normalised(frames: Tensor) -> Tensor:
    """Resized frames (..., 3, S, S) uint8 as SAM 2 sees them, float32."""
    mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (MEAN, STD))
    return (frames.float() / 255 - mean) / std


def sam_frames(images: Sequence[Image.Image], size: int) -> Tensor:
    """Images of any size as float32 (F, 3, size, size)."""
    if not images:
        return torch.zeros(0, 3, size, size)
    return torch.stack([sam_frame(image, size) for image in images])


class BlockFrames:
    """The frames of a video for SAM 2, (3, size, size) each, in blocks: a clip is decoded forwards and at once."""

    def __init__(self, frames: Frames, size: int) -> None:
        self.frames = frames
        self.size = size
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Tensor:
        if index not in self._kept:
            backwards = index + 1 in self._kept
            first = max(0, index - BLOCK + 1) if backwards else index
            last = index if backwards else min(index + BLOCK, len(self)) - 1
            self._kept = {i: square(self.frames.image(i), self.size) for i in range(first, last + 1)}
            rest(self.frames)
        return normalised(self._kept[index])
