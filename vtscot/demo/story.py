"""What each actor visibly does, measured on the rasterised world: when it is in view, how it moves and rests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from .raster import MIN_PIXELS, Film
from .world import Actor

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Truth = bool | None
"""None: too near the border to say; an expression that would have to decide is not made."""

REST, MOVE = 0.12, 0.5
"""Pixels per frame: slower is at rest, faster is motion, between is neither."""


def runs(flags: Bools) -> list[tuple[int, int]]:
    """Maximal stretches of True as (first, last), inclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(stop) - 1) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True)
class Story:
    """One actor over time. Arrays are (frames,) or, for `centre`, (frames, 2) in pixels.

    `inside` says that it is in the frame, covered or not; `seen` that pixels of it are in view; `whole` is the share
    of the shape that is in the frame.
    """

    index: int
    actor: Actor
    size: tuple[int, int]
    centre: Floats
    side: Floats
    inside: Bools
    seen: Bools
    whole: Floats
    seen_px: npt.NDArray[np.int32]

    @property
    def frames(self) -> int:
        return len(self.seen)

    @cached_property
    def stays(self) -> list[tuple[int, int]]:
        """Stretches in the frame, (first, last); being hidden by something does not end a stay."""
        return runs(self.inside)

    @cached_property
    def steps(self) -> Floats:
        """(n, 2) displacements between neighbouring frames in both of which it is plainly in view."""
        plain = self.share_in_view >= 0.4
        return np.asarray(np.diff(self.centre, axis=0)[plain[1:] & plain[:-1]])

    def travel(self, axis: int, sign: int) -> float:
        """Distance gone in one direction, as a share of the frame's extent on that axis (0: x, 1: y)."""
        return float(np.clip(self.steps[:, axis] * sign, 0, None).sum()) / self.size[axis]

    @cached_property
    def distance(self) -> float:
        """Length of the way in pixels."""
        return float(np.hypot(self.steps[:, 0], self.steps[:, 1]).sum())

    @cached_property
    def pace(self) -> float:
        """Mean speed while in motion, pixels per frame."""
        speed = np.hypot(self.steps[:, 0], self.steps[:, 1])
        return float(speed[speed > MOVE].mean()) if (speed > MOVE).any() else 0.0

    @cached_property
    def phases(self) -> str | None:
        """Motion and rest in order, such as "mr" for one that stops; None where a rest is too short to be sure of."""
        speed = np.hypot(self.steps[:, 0], self.steps[:, 1])
        states = ["r" if value < REST else "m" if value > MOVE else "-" for value in speed]
        lengths = [(state, len(list(group))) for state, group in groupby(states)]
        if any(state == "r" and 3 < length < 8 for state, length in lengths):
            return None
        if sum(length for state, length in lengths if state == "-") > 12:
            return None
        clear = [state for state, length in lengths if (state == "r" and length >= 8) or (state == "m" and length >= 4)]
        return "".join(state for state, _ in groupby(clear))

    @cached_property
    def entered(self) -> int | None:
        """First frame in view, if it came in from outside after the first frame and its one arrival is clear."""
        first = int(np.argmax(self.seen))
        start = self.stays[0][0]
        return first if len(self.stays) == 1 and start > 0 and first - start <= 2 else None

    @cached_property
    def left(self) -> int | None:
        """Last frame in view, if it left for good and its one departure is clear."""
        last = self.frames - 1 - int(np.argmax(self.seen[::-1]))
        end = self.stays[-1][1]
        return last if len(self.stays) == 1 and end < self.frames - 1 and end - last <= 2 else None

    def around(self, frame: int) -> slice:
        """The three frames at one end of the video ("at the start", "at the end")."""
        return slice(0, 3) if frame == 0 else slice(self.frames - 3, self.frames)

    def plain_at(self, frame: int) -> Truth:
        """Whether it is well in view at an end of the video; False if not at all."""
        span = self.around(frame)
        if not self.inside[span].any():
            return False
        return True if self.seen[span].all() and self.share_in_view[span].min() > 0.5 else None

    @cached_property
    def share_in_view(self) -> Floats:
        """Visible pixels as a share of the whole shape's area."""
        return np.asarray(self.seen_px / self.side**2)


def tell(film: Film) -> tuple[Story, ...]:
    """The stories of all actors."""
    return tuple(_tell(film, index, actor) for index, actor in enumerate(film.world.actors))


def _tell(film: Film, index: int, actor: Actor) -> Story:
    world = film.world
    side = actor.sides(world.frames, world.shorter)
    return Story(
        index=index,
        actor=actor,
        size=(world.width, world.height),
        centre=actor.path.centres(world.frames),
        side=side,
        inside=film.inside[index] >= MIN_PIXELS,
        seen=film.seen[index] > 0,
        whole=film.inside[index] / side**2,
        seen_px=film.seen[index],
    )


def presentable(film: Film) -> bool:
    """Whether everybody can be seen, long, large and free enough, and hardly any frame is without objects."""
    inside, seen = film.inside, film.seen
    if (seen.max(axis=0) == 0).mean() > 0.1:
        return False
    for index in range(len(film.world.actors)):
        there = inside[index] >= MIN_PIXELS
        if (seen[index] > 0).sum() < 7 or seen[index].max() < 150:
            return False
        if (seen[index][there] >= 0.5 * inside[index][there]).mean() < 0.72:
            return False
    return True
