"""What the tests of segmenters share: a small picture of noise, a box in it, and masks of its size."""

from __future__ import annotations

import numpy as np

from vtscot.records import Box
from vtscot.segmenter.base import Image, Mask

SIZE = (48, 80)  # height, width
BOX: Box = (20.0, 10.0, 30.0, 24.0)


def picture(number: int = 0) -> Image:
    """(48, 80, 3) noise, another for each number."""
    return np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def block(x: int) -> Mask:
    """A mask of 18 x 16 pixels whose left border is `x`."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[12:30, x : x + 16] = True
    return mask
