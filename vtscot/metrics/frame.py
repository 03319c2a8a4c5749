"""J and F of one frame together: the masks are read once."""

from __future__ import annotations

from typing import NamedTuple

from rlemasklib import RLEMask

from vtscot.metrics.backend import Backend
from vtscot.metrics.boundary import contour_match
from vtscot.metrics.inputs import Mask, load_same
from vtscot.metrics.region import overlap


class FrameScores(NamedTuple):
    """Region similarity and boundary F of one frame, both 0 .. 1."""

    J: float
    F: float


def j_and_f(ground_truth: Mask, prediction: Mask, *, backend: Backend | None = None) -> FrameScores:
    """(J, F) of one frame, each mask a COCO RLE dict, an `Rle`, a boolean (H, W) array, or None for an empty one.

    Raises MaskError for masks of different sizes, for two None, and for what is not a mask.

    >>> j_and_f({"size": [2, 2], "counts": [1, 2, 1]}, {"size": [2, 2], "counts": [1, 1, 2]})
    FrameScores(J=0.5, F=1.0)
    """
    return score(*load_same(ground_truth=ground_truth, prediction=prediction), backend=backend)


def score(ground_truth: RLEMask, prediction: RLEMask, *, backend: Backend | None) -> FrameScores:
    """(J, F) of two masks of one size."""
    areas = overlap(ground_truth, prediction)
    return FrameScores(areas.jaccard, contour_match(ground_truth, prediction, areas=areas, backend=backend))
