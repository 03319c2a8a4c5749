"""Paths: an object runs along a straight lane, and a profile says where on the lane it is at which frame.

Profiles are written for motion towards growing coordinates, in pixels along a lane of `length` pixels that is
entered at `-out` and left at `length + out`; `Path` mirrors them for the other direction. Corners in time are
rounded by a short smoothing window, so that objects gather and lose speed, yet truly rest where a profile rests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Knots = tuple[tuple[float, float], ...]
_EASE = np.hanning(9)[1:-1] / np.hanning(9)[1:-1].sum()
_PAD = len(_EASE) // 2


@dataclass(frozen=True)
class Span:
    """What a profile needs to know of its lane: `[0, length]` is in view, `out` beyond it nothing of the object is."""

    length: float
    out: float
    frames: int


Profile = Callable[[Span, float, float, np.random.Generator], Knots]
"""(lane, start, end of the event as shares of the video, rng) -> knots (frame, place)."""


def _line(t0: float, a: float, t1: float, b: float, upto: tuple[float, float]) -> Knots:
    """Uniform motion through (t0, a) and (t1, b), prolonged to the frames of `upto`."""
    speed = (b - a) / (t1 - t0)
    return tuple((t, a + speed * (t - t0)) for t in upto)


def still(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    return ((0, span.length * rng.uniform(0.14, 0.86)),)


def drift(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """From `start` to `end` as shares of the lane (not of time), in view for the whole video."""
    last = span.frames - 1
    return _line(0, span.length * start, last, span.length * end, (-_PAD, last + _PAD))


def cross(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Enters, runs through, leaves."""
    return ((start * span.frames, -span.out), (end * span.frames, span.length + span.out))


def arrive(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Enters and comes to rest in view."""
    return ((start * span.frames, -span.out), (end * span.frames, span.length * rng.uniform(0.35, 0.75)))


def depart(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Rests in view, then leaves; with `start` 0 it is on its way from the first frame."""
    place = span.length * rng.uniform(0.25, 0.55)
    goal = span.length + span.out
    if start > 0:
        return ((start * span.frames, place), (end * span.frames, goal))
    return (*_line(0, place, end * span.frames, goal, (-_PAD, end * span.frames)),)


def halt(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Moves from the first frame and rests from `end` on."""
    a, b = span.length * rng.uniform(0.1, 0.2), span.length * rng.uniform(0.55, 0.8)
    return _line(0, a, end * span.frames, b, (-_PAD, end * span.frames))


def pause(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Moves, rests between `start` and `end` (16 frames at the least), goes on."""
    a, b, c = (span.length * rng.uniform(lo, lo + 0.08) for lo in (0.1, 0.42, 0.78))
    stop, go = start * span.frames, max(end * span.frames, start * span.frames + 16)
    last = max(span.frames - 1.0, go + 6)
    before = _line(0, a, stop, b, (-_PAD, stop))
    return (*before, *_line(go, b, last, c, (go, last + _PAD)))


def turn(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Moves on until `start`, then all the way back."""
    a, b, c = (span.length * rng.uniform(lo, lo + 0.08) for lo in (0.14, 0.72, 0.16))
    middle, last = start * span.frames, span.frames - 1.0
    before = _line(0, a, middle, b, (-_PAD, middle))
    return (*before, *_line(middle, b, last, c, (middle, last + _PAD))[1:])


def reappear(span: Span, start: float, end: float, rng: np.random.Generator) -> Knots:
    """Leaves by `start`, comes back by the same side from `end` on."""
    a, b = span.length * rng.uniform(0.45, 0.65), span.length * rng.uniform(0.4, 0.7)
    gone, last = span.length + span.out, span.frames - 1.0
    leaving = _line(0, a, start * span.frames, gone, (-_PAD, start * span.frames))
    return (*leaving, (end * span.frames, gone), (last, b), (last + _PAD, b))


PROFILES: dict[str, Profile] = {
    "still": still,
    "drift": drift,
    "cross": cross,
    "arrive": arrive,
    "depart": depart,
    "halt": halt,
    "pause": pause,
    "turn": turn,
    "reappear": reappear,
}


@dataclass(frozen=True)
class Path:
    """Where an object's centre is: `knots` along the lane, the lane `across` the other axis, tilted by `slope`."""

    knots: Knots
    length: float
    across: float
    slope: float = 0.0
    vertical: bool = False
    backward: bool = False

    def centres(self, frames: int) -> npt.NDArray[np.float64]:
        """(frames, 2) array of x, y in pixels."""
        times = np.arange(-_PAD, frames + _PAD)
        moments, places = np.array(self.knots).T
        along = np.interp(times, moments, places)
        along = np.convolve(along, _EASE, mode="valid")
        across = self.across + self.slope * (along - self.length / 2)
        if self.backward:
            along = self.length - along
        return np.stack((across, along) if self.vertical else (along, across), axis=1)
