"""How a target moves over one visible span: a smoothed path, and what it shows of rest, motion and turns.

The centre of the box is smoothed before anything is judged, so that camera shake and ragged masks are not taken for
stops and turns. Lengths are relative to `Scene.side`, times in frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydantic import Field

from vtscot.masks import Bools, Floats, Ints
from vtscot.mining.scene import Scene, Span, bridged, runs
from vtscot.records import Frozen


class MotionSettings(Frozen):
    """When a target counts as moving or turning. Speeds and steps are shares of `Scene.side` (per frame)."""

    smooth: int = Field(default=2, ge=0, description="frames to each side that a point of the path is averaged over")
    lag: int = Field(default=3, ge=1, description="frames to each side that a speed is measured over")
    still: float = Field(default=0.001, gt=0, description="slower than this is rest; twice as fast is surely motion")
    still_own: float = Field(default=0.005, ge=0, description="and so is slower than this share of the target's size")
    min_run: int = Field(default=5, ge=2, description="shorter spells of motion or rest are ignored")
    turn_frames: int = Field(default=6, ge=2, description="frames before and after a turn that are compared")
    turn_step: float = Field(default=0.025, gt=0, description="way to be covered in each of the two")
    turn_own: float = Field(default=0.1, ge=0, description="and at least this share of the target's size")
    turn_cosine: float = Field(default=0.5, ge=-1, le=1, description="turned where the directions' cosine is below")
    min_move: float = Field(default=0.03, gt=0, description="a shorter net way is not reported")


@dataclass(frozen=True, slots=True)
class Course:
    """One visible span: `path` n smoothed centres (x, y), `moving` spells and `turns` as frame numbers of the video."""

    start: int
    path: list[list[float]]
    moving: tuple[Span, ...]
    turns: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.path) - 1

    def way(self, start: int, end: int) -> tuple[float, float]:
        """Net movement (x, y) in pixels between two frames of the span."""
        (x, y), (before_x, before_y) = self.path[end - self.start], self.path[start - self.start]
        return x - before_x, y - before_y


@lru_cache(maxsize=512)
def _around(count: int, radius: int, symmetric: bool) -> tuple[Ints, Ints, Floats]:
    """First position, and the one after the last, of the neighbourhood of each of `count` positions; its length.

    It is cut at the ends, a symmetric one on both sides, which keeps a straight path straight.
    """
    at = np.arange(count)
    half = np.full(count, radius)
    if symmetric:
        half = np.minimum(half, np.minimum(at, at[::-1]))
    low, after = np.maximum(at - half, 0), np.minimum(at + half, count - 1) + 1
    return low, after, (after - low).astype(np.float64)[:, None]


def smooth(points: Floats, radius: int) -> Floats:
    """Mean of each row of (n, k) and its neighbours, as many on both sides."""
    low, after, length = _around(len(points), radius, True)
    sums = np.zeros((len(points) + 1, points.shape[1]))
    points.cumsum(axis=0, out=sums[1:])
    means: Floats = (sums.take(after, 0) - sums.take(low, 0)) / length
    return means


def centres(scene: Scene, span: Span) -> Floats:
    """(n, 2) centres of the target's box over a span; short gaps in it are filled in on a straight line."""
    part = slice(span[0], span[1] + 1)
    points = scene.box[part, :2] + scene.box[part, 2:] / 2
    seen = scene.seen[part]
    if not seen.all():
        at, known = np.arange(len(points)), seen.nonzero()[0]
        points = np.stack([np.interp(at, known, points[known, axis]) for axis in (0, 1)], axis=1)
    return points


def course(scene: Scene, span: Span, settings: MotionSettings) -> Course:
    """The motion of the target over a span that begins and ends visible.

    What a large target does with its limbs moves its box too: speeds and steps must also be large
    for its size, the root of its largest area in the span.
    """
    path = smooth(centres(scene, span), settings.smooth)
    low, after, length = _around(len(path), settings.lag, False)
    steps = (path.take(after - 1, 0) - path.take(low, 0)) / np.maximum(length - 1, 1)
    speed = np.hypot(steps[:, 0], steps[:, 1])
    own = math.sqrt(scene.area[span[0] : span[1] + 1].max())
    moving = _spells(speed, max(settings.still * scene.side, settings.still_own * own), settings.min_run)
    turns = _turns(path, settings, max(settings.turn_step * scene.side, settings.turn_own * own)) if moving else ()
    start = span[0]
    return Course(
        start, path.tolist(), tuple((start + a, start + b) for a, b in moving), tuple(start + t for t in turns)
    )


def _spells(speed: Floats, still: float, min_run: int) -> tuple[Span, ...]:
    """Spells of motion: above `still`, reaching twice that, each at least `min_run` long and `min_run` apart.

    Their ends lie where the speed passes half of the spell's median: smoothing smears a sudden stop over some frames.
    """
    found = []
    for start, end in bridged(runs(speed > still), min_run):
        part = speed[start : end + 1]
        fast = (part >= np.partition(part, len(part) // 2)[len(part) // 2] / 2).nonzero()[0]
        first = start + int(fast[0]) if start else 0
        last = start + int(fast[-1]) if end < len(speed) - 1 else end
        if last - first + 1 >= min_run and part.max() >= 2 * still:
            found.append((first, last))
    return tuple(found)


def _turns(path: Floats, settings: MotionSettings, step: float) -> tuple[int, ...]:
    """Frames at which the direction changes most, one per bend."""
    reach = min(settings.turn_frames, len(path) // 3)
    if reach < 2:
        return ()
    before, after = path[reach:-reach] - path[: -2 * reach], path[2 * reach :] - path[reach:-reach]
    came, goes = np.hypot(before[:, 0], before[:, 1]), np.hypot(after[:, 0], after[:, 1])
    shorter = np.minimum(came, goes)
    products = before * after
    cosine = (products[:, 0] + products[:, 1]) / np.maximum(came * goes, 1e-9)
    bends: Bools = (cosine < settings.turn_cosine) & (shorter >= step)
    if not bends.any():
        return ()
    sharpness = (shorter * (1 - cosine)).round(6)
    return tuple(a + int(sharpness[a : b + 1].argmax()) + reach for a, b in bridged(runs(bends), reach))
