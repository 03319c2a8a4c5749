"""Statistics over the frames of one object, as in the semi-supervised evaluation of DAVIS 2017.

That evaluation leaves out the first frame, which is given, and the last: pass `values[1:-1]`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vtscot.errors import DataError
from vtscot.masks import Floats

_BINS = 4


class Statistics(NamedTuple):
    """Mean, share of frames above 0.5, and how much the first quarter is better than the last."""

    mean: float
    recall: float
    decay: float


def statistics(values: npt.ArrayLike, *, as_released: bool = False) -> Statistics:
    """Mean, recall and decay of J or F per frame (T,); DataError for no frame. See `decay` for `as_released`."""
    array = _per_frame(values)
    return Statistics(float(array.mean()), recall(array), decay(array, as_released=as_released))


def recall(values: npt.ArrayLike, threshold: float = 0.5) -> float:
    """The share of frames whose value is above `threshold`; DataError for no frame."""
    return float((_per_frame(values) > threshold).mean())


def decay(values: npt.ArrayLike, *, as_released: bool = False) -> float:
    """Mean of the first of four bins of frames less that of the last; DataError for no frame.

    The bins are as wide as each other to the nearest frame, and neighbours share the frame between them. The released
    script keeps the frame numbers in eight bits, so from 257 frames on they wrap; `as_released` does the same, and is
    NaN where a bin has no frame then.
    """
    array = _per_frame(values)
    # Halves go up: the released script adds 1e-10 before it rounds.
    edges = np.round(np.linspace(1, len(array), _BINS + 1) + 1e-10).astype(np.int64) - 1
    if as_released:
        edges %= 256
    first, last = (array[edges[i] : edges[i + 1] + 1] for i in (0, _BINS - 1))
    return float(first.mean() - last.mean()) if len(first) and len(last) else float("nan")


def _per_frame(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise DataError(f"statistics need one value per frame and at least one frame, not an array of {array.shape}")
    return array
