"""Curves as SVG: one figure over the steps of a training, raw and smoothed. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 340.0
HEIGHT: Final = 150.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 8.0, 8.0, 20.0
POINTS: Final = 600  # of a drawn line at most: more are not seen
SMOOTHED: Final = 0.03  # share of all points in the mean that smooths


@dataclass(frozen=True)
class Curve:
    """What a template draws: polylines, ticks (place, text) and the last smoothed value; of one step, a `lone` dot."""

    name: str
    meaning: str
    raw: str
    smooth: str
    ticks_y: tuple[tuple[float, str], ...]
    ticks_x: tuple[tuple[float, str], ...]
    last: str
    lone: bool


def curve(name: str, meaning: str, steps: Sequence[float], values: Sequence[float]) -> Curve:
    """The curve of `values` at `steps`, which are in order; ValueError where there is none."""
    smooth = smoothed(values)
    low, high = _span([value for value in values if math.isfinite(value)])
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = steps[0], max(steps[-1], steps[0] + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return x, y

    return Curve(
        name,
        meaning,
        raw=_line([place(*point) for point in zip(steps, values, strict=True)]),
        smooth=_line([place(*point) for point in zip(steps, smooth, strict=True)]),
        ticks_y=tuple((place(first, tick)[1], brief(tick)) for tick in ticks),
        ticks_x=tuple((place(step, low)[0], brief(step)) for step in dict.fromkeys((first, steps[-1]))),
        last=brief(smooth[-1]),
        lone=len(values) == 1,
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of every value and those right before it: about 3% of all."""
    width = max(1, round(SMOOTHED * len(values)))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [(sums[i + 1] - sums[max(0, i + 1 - width)]) / min(i + 1, width) for i in range(len(values))]


def nice_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that hold `low` and `high` between them.

    >>> nice_ticks(0.13, 0.92)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def brief(value: float) -> str:
    """A number in few digits: 0.00004 as 4e-05, 12000 as 12k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value, apart from each other."""
    low, high = min(values), max(values)
    if high > low:
        return low, high
    return (low, low + 1) if low == 0 else (low - abs(low) / 2, low + abs(low) / 2)


def _line(points: Sequence[tuple[float, float]]) -> str:
    """The points of a polyline; of very many only some."""
    every = max(1, math.ceil(len(points) / POINTS))
    shown = [*points[::every], points[-1]]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in shown if math.isfinite(y))
