"""What turns a box on a frame into a mask.

A segmenter sees one RGB image and one box (x, y, width, height, in pixels of that image). It is deterministic: the
same image and box give the same mask on any machine and in any order. Boxes that are degenerate or lie partly or
wholly outside the image give a mask all the same (empty where nothing of the box is inside).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

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


class Images(Protocol):
    """Images by index, read when they are asked for; all have one size."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image: ...


@runtime_checkable
class Tracker(Protocol):
    """A segmenter that can also follow what it found through a video."""

    def track(self, images: Images, start: int, masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
        """(index, mask (H, W)) once for every image: `start`, the later ones, then the earlier ones.

        `masks` are those of one or more targets on image `start`; what comes is their union.
        """
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
