"""Signed distances of the shapes, scaled so that every shape of one `side` covers `side` squared pixels.

Coordinates: x to the right, y down, origin at the shape's centre. Distances are negative inside; they are exact
near the edge, which is all that antialiasing and masks look at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def _circle(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 1.0


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 1.0


def _triangle(x: Floats, y: Floats) -> Floats:
    slant = np.float32(np.sqrt(0.75)) * np.abs(x) - 0.5 * y - 0.5
    return np.asarray(np.maximum(y - 0.5, slant))


def _star(x: Floats, y: Floats, points: int = 5, waist: float = 0.48) -> Floats:
    sector = 2 * np.pi / points
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y)
    inner = waist * np.array([np.cos(sector / 2), np.sin(sector / 2)])
    normal = np.array([inner[1], 1.0 - inner[0]]) / np.hypot(inner[1], 1.0 - inner[0])
    return np.asarray((radius * np.cos(angle) - 1.0) * normal[0] + radius * np.sin(angle) * normal[1])


def _ring(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.abs(np.hypot(x, y) - 0.74) - 0.26)


def _cross(x: Floats, y: Floats) -> Floats:
    ax, ay = np.abs(x), np.abs(y)
    return np.asarray(np.minimum(np.maximum(ax - 0.36, ay - 1.0), np.maximum(ax - 1.0, ay - 0.36)))


def _heart(x: Floats, y: Floats) -> Floats:
    # Inigo Quilez, "2D distance functions": https://iquilezles.org/articles/distfunctions2d/ (y up, tip at the origin)
    px, py = np.abs(x), 0.55 - y
    lobe = np.hypot(px - 0.25, py - 0.75) - np.float32(np.sqrt(2) / 4)
    diagonal = 0.5 * np.maximum(px + py, 0)
    below = np.minimum(np.hypot(px, py - 1.0), np.hypot(px - diagonal, py - diagonal)) * np.sign(px - py)
    return np.asarray(np.where(px + py > 1.0, lobe, below))


def _crescent(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.maximum(np.hypot(x, y) - 1.0, 0.78 - np.hypot(x - 0.52, y)))


_DISTANCES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
}
SHAPES = tuple(_DISTANCES)


@cache
def _measure(shape: str) -> tuple[float, float]:
    """Square root of the area, and the farthest point from the centre, of the unscaled shape."""
    axis = np.linspace(-1.5, 1.5, 601, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = _DISTANCES[shape](x, y) <= 0
    area = float(inside.sum()) * float(axis[1] - axis[0]) ** 2
    return area**0.5, float(np.hypot(x, y)[inside].max())


def reach(shape: str, side: float) -> float:
    """Radius in pixels of the disk around the centre that holds the shape, whatever its angle."""
    root, far = _measure(shape)
    return side / root * far + 1.0


def distance(shape: str, side: float, x: Floats, y: Floats) -> Floats:
    """Signed distance in pixels at pixel offsets (x, y) from the shape's centre."""
    scale = np.float32(side / _measure(shape)[0])
    return np.asarray(_DISTANCES[shape](x / scale, y / scale) * scale, dtype=np.float32)
