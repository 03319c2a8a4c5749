"""Laws of misalignment: what could have happened to the masks of a track, read off where each of them fits best.

Both laws are lines over time. In space, mask i fits `a + b * i` pixels away: a constant shift, or a drift. In time,
mask i fits frame `a + b * i` instead of frame i: an offset, or another stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """`start + slope * i`, a vector (D,) per frame i."""

    start: Values
    slope: Values

    def at(self, frame: float) -> Values:
        return np.asarray(self.start + self.slope * frame)


def fit_line(frames: Sequence[int], values: Values, tolerance: float) -> Line | None:
    """The line through most of `values` (N, D), each at most `tolerance` away; None for fewer than two points.

    Every pair of points is tried, so that nothing depends on chance; the winner is refined by least squares.
    """
    times = np.asarray(frames, np.float64)
    best, best_key = None, (0, 0.0)
    for i, j in combinations(range(len(times)), 2):
        slope = (values[j] - values[i]) / (times[j] - times[i])
        away = np.abs(values[i] + (times - times[i])[:, None] * slope - values).max(axis=1)
        near = away <= tolerance
        key = (int(near.sum()), -float(away[near].sum()))
        if best is None or key > best_key:
            best, best_key = near, key
    return None if best is None else _least_squares(times[best], values[best])


def _least_squares(times: Values, values: Values) -> Line:
    middle = times.mean()
    centred = times - middle
    slope = centred @ (values - values.mean(axis=0)) / (centred @ centred)
    return Line(values.mean(axis=0) - slope * middle, slope)
