"""Decoded masks taken apart: the box of one, and its groups of connected pieces."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vtscot.records import Box

Mask = NDArray[np.bool_]


def box_of(mask: Mask) -> Box:
    """The box (x, y, w, h) around the true pixels of a mask that has some."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1))


def pieces(mask: Mask) -> list[Mask]:
    """The connected pieces of a mask, largest first."""
    import cv2

    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return sorted((np.asarray(labels == i) for i in range(1, count)), key=_size)


def split(mask: Mask, count: int) -> list[Mask]:
    """The mask as at most `count` groups of connected pieces, each piece with the nearest larger one."""
    if count <= 1:
        return [mask] if mask.any() else []
    groups = pieces(mask)
    while len(groups) > count:
        stray = groups.pop()
        home = min(range(len(groups)), key=lambda i: gap(box_of(groups[i]), box_of(stray)))
        groups[home] = groups[home] | stray
        groups.sort(key=_size)
    return groups


def _size(mask: Mask) -> int:
    return -int(mask.sum())


def gap(a: Box, b: Box) -> float:
    """Distance between two boxes in pixels, 0 where they touch."""
    dx = max(a[0] - b[0] - b[2], b[0] - a[0] - a[2], 0.0)
    dy = max(a[1] - b[1] - b[3], b[1] - a[1] - a[3], 0.0)
    return math.hypot(dx, dy)


def fitted(mask: Mask, height: int, width: int) -> Mask:
    """The mask at another size, nearest pixel."""
    if mask.shape == (height, width):
        return mask
    rows = (np.arange(height) + 0.5) * mask.shape[0] / height
    columns = (np.arange(width) + 0.5) * mask.shape[1] / width
    return np.asarray(mask[np.ix_(rows.astype(np.intp), columns.astype(np.intp))])
