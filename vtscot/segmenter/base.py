"""What turns a box on a frame into a mask.

A segmenter sees one RGB image and one box (x, y, width, height, in pixels of that image). It is deterministic: the
same image and box give the same mask on any machine and in any order. Boxes that are degenerate or lie partly or
wholly outside the image give a mask all the same (empty where nothing of the box is inside).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtscot.records import Box

Image = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""

Mask = NDArray[np.bool_]
"""Shape (H, W)."""


class Segmenter(Protocol):
    """A back end; `name` is what recipes and verdicts call it."""

    @property
    def name(self) -> str: ...

    def segment(self, image: Image, box: Box) -> Mask:
        """The mask (H, W) of the object that `box` surrounds on `image` (H, W, 3)."""
        ...


def clip_box(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels that `box` touches, as (x0, y0, x1, y1) half-open and inside the image; empty boxes keep one pixel.

    A box that lies wholly outside gives x0 == x1 or y0 == y1.

    >>> clip_box((-2.0, 1.5, 5.0, 2.0), 10, 10)
    (0, 1, 3, 4)
    """
    x, y, w, h = box
    x0, x1 = _span(x, w, width)
    y0, y1 = _span(y, h, height)
    return x0, y0, x1, y1


def _span(start: float, length: float, limit: int) -> tuple[int, int]:
    first = int(np.floor(np.clip(start, -1, limit + 1)))
    last = int(np.ceil(np.clip(start + max(length, 0.0), -1, limit + 1)))
    last = max(last, first + 1)
    return min(max(first, 0), limit), max(min(last, limit), 0)
