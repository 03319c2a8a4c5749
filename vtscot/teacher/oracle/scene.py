"""What somebody who sees the frames shown so far can tell of them: who is where, how large, of what colour.

The tracks say where things are, but only frames that have been shown are ever asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vtscot.pieces import box_of, fitted, gap, split
from vtscot.records import Box, Fact
from vtscot.teacher.base import TraceTask
from vtscot.tracks import MaskTrack
from vtscot.words.colours import dominant

MIN_AREA = 2e-4
"""Share of the frame below which nobody would notice a thing."""

NEXT_TO = 0.06
"""Gap between two things, as a share of the frame's longer side, that still counts as next to each other."""

COLOUR_PIXELS = 1 << 18
"""Area of the image in which colours are looked at."""


@dataclass(frozen=True)
class Thing:
    """One thing seen on one frame: its box in pixels of the frame, its share of the frame, its colours."""

    box: Box
    share: float
    colours: tuple[str, ...]

    @property
    def centre(self) -> tuple[float, float]:
        """In pixels."""
        return self.box[0] + self.box[2] / 2, self.box[1] + self.box[3] / 2


@dataclass(frozen=True)
class Trail:
    """The target on the shown frames: their indices; where it is seen, its centre and area as shares of the frame."""

    frames: tuple[int, ...]
    seen: tuple[int, ...]
    centres: dict[int, tuple[float, float]]
    areas: dict[int, float]

    @property
    def gone_before(self) -> tuple[int, int] | None:
        """The last shown frame before the target comes into view, and the first that shows it."""
        if not self.seen or self.seen[0] == self.frames[0]:
            return None
        return self.frames[self.frames.index(self.seen[0]) - 1], self.seen[0]

    @property
    def gone_after(self) -> tuple[int, int] | None:
        """The last shown frame with the target, and the next one, which lacks it."""
        if not self.seen or self.seen[-1] == self.frames[-1]:
            return None
        return self.seen[-1], self.frames[self.frames.index(self.seen[-1]) + 1]

    @property
    def gap(self) -> tuple[int, int] | None:
        """Shown frames around the longest stretch in which the target is out of view between two sightings."""
        pairs = [
            pair
            for pair in zip(self.seen, self.seen[1:], strict=False)
            if any(pair[0] < i < pair[1] for i in self.frames)
        ]
        return max(pairs, key=lambda pair: pair[1] - pair[0], default=None)


class Scene:
    """A task's video as it may be spoken of."""

    def __init__(self, task: TraceTask) -> None:
        self.task = task
        self.targets_meant = max(1, len(task.query.anno_ids)) if task.target is not None else 0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        track = self.task.target or next(iter(self.task.objects.values()), None)
        return (track.width, track.height) if track is not None else self.task.frames.size(0)

    @cached_property
    def _others(self) -> list[MaskTrack]:
        return [self.task.objects[name] for name in sorted(self.task.objects)]

    def trail(self, frames: Sequence[int]) -> Trail:
        """The target (all of it together) on these shown frames."""
        shown = tuple(sorted(set(frames)))
        target = self.task.target
        if target is None:
            return Trail(shown, (), {}, {})
        width, height = self.size
        seen = tuple(i for i in shown if target.areas[i] >= MIN_AREA * width * height)
        boxes = {i: target.boxes[i] for i in seen}
        centres = {i: (float(b[0] + b[2] / 2) / width, float(b[1] + b[3] / 2) / height) for i, b in boxes.items()}
        return Trail(shown, seen, centres, {i: float(target.areas[i]) / (width * height) for i in seen})

    def targets(self, frame: int) -> list[Thing]:
        """The targets that can be seen on a frame, from left to right."""
        target = self.task.target
        if target is None or target.rle(frame) is None:
            return []
        parts = split(target.decode(frame), self.targets_meant)
        return sorted(self._things(frame, parts), key=lambda thing: thing.box)

    def others(self, frame: int) -> list[Thing]:
        """The other objects on a frame, largest first."""
        parts = [track.decode(frame) for track in self._others if track.areas[frame] > 0]
        return sorted(self._things(frame, parts), key=lambda thing: (-thing.share, thing.box))

    def encounter(self, fact: Fact, seen: Sequence[int]) -> int | None:
        """The sighting in the fact's span on which target and other object are next to each other, if there is one."""
        target, other = self.task.target, self.task.objects.get(fact.other or "")
        if target is None or other is None:
            return None
        both = [i for i in seen if fact.start <= i <= fact.end and other.areas[i] > 0]
        spaces = [(gap(_box(target.boxes[i]), _box(other.boxes[i])), i) for i in both]
        space, frame = min(spaces, default=(np.inf, -1))
        return frame if space < NEXT_TO * max(self.size) else None

    def _things(self, frame: int, parts: Sequence[NDArray[np.bool_]]) -> list[Thing]:
        parts = [part for part in parts if part.mean() >= MIN_AREA]
        if not parts:
            return []
        image = self.task.frames.array(frame, COLOUR_PIXELS)
        return [
            Thing(box_of(part), float(part.mean()), dominant(image, fitted(part, *image.shape[:2]))) for part in parts
        ]


def _box(row: NDArray[np.float64]) -> Box:
    x, y, w, h = row.tolist()
    return (x, y, w, h)
