"""The disk of boundary matching: {(x, y): x^2 + y^2 <= radius^2} on whole pixels, and its radius for a frame."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

TOLERANCE: Final = 0.008  # of the frame's diagonal, the tolerance of every published F


def bound_pix(height: int, width: int) -> int:
    """How far apart, in pixels, boundary pixels of a (height, width) frame may lie and still match."""
    return math.ceil(TOLERANCE * math.sqrt(height * height + width * width))


@lru_cache(maxsize=64)
def half_widths(radius: int) -> tuple[int, ...]:
    """(radius + 1,) the largest y with x^2 + y^2 <= radius^2, for x = 0 .. radius; never rising."""
    return tuple(math.isqrt(radius * radius - x * x) for x in range(radius + 1))
