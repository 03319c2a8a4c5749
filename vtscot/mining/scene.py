"""The target and the other objects of a video as arrays: what facts, keyframes and difficulty are computed from.

T frames, N other objects (sorted by id, so that nothing depends on the order in which they were given). Boxes are
(x, y, w, h) in pixels. Tables only: no pixel and no RLE is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vtscot.errors import DataError
from vtscot.masks import Bools, Floats, Ints
from vtscot.tracks import TrackTable

Span = tuple[int, int]

_NOBODY: Final = "the target is visible in no frame; leave such a query out before mining"


@dataclass(frozen=True, slots=True)
class Scene:
    """`area`, `seen`: (T,); `box`: (T, 4); `names`: N ids; `areas`, `seens`: (N, T); `boxes`: (N, T, 4).

    `spans`: in which the target is visible, but for gaps too short to count as an absence; at least one.
    `cut` (T,): the target's box touches the border of the frame, where it may be cut.
    `covered` (N, T): share of the target's box that lies inside each other object's box, 0 where not both are visible;
    `cover` (T,): the greatest of them.
    """

    height: int
    width: int
    area: Ints
    box: Floats
    seen: Bools
    spans: tuple[Span, ...]
    cut: Bools
    names: tuple[str, ...]
    areas: Ints
    boxes: Floats
    seens: Bools
    covered: Floats
    cover: Floats

    def __len__(self) -> int:
        return len(self.area)

    @property
    def side(self) -> float:
        """Square root of the frame's area: the unit in which lengths are compared."""
        return float((self.height * self.width) ** 0.5)


def scene_of(target: TrackTable, others: Mapping[str, TrackTable], min_gap: int) -> Scene:
    """`min_gap` is the shortest absence, in frames.

    Raises DataError where the target is never visible or a table has another number of frames."""
    frames = len(target)
    seen = target.area > 0
    if not seen.any():
        raise DataError(_NOBODY)
    names = tuple(sorted(others))
    for name in names:
        if len(others[name]) != frames:
            raise DataError(
                f"object {name} has {len(others[name])} frames, the target {frames}; index the source again"
            )
    areas = np.array([others[name].area for name in names], dtype=np.int64).reshape(len(names), frames)
    boxes = np.array([others[name].box for name in names], dtype=np.float64).reshape(len(names), frames, 4)
    covered = _covered(target.box, boxes)
    return Scene(
        height=target.height,
        width=target.width,
        area=target.area,
        box=target.box,
        seen=seen,
        spans=tuple(bridged(runs(seen), min_gap)),
        cut=_cut(target),
        names=names,
        areas=areas,
        boxes=boxes,
        seens=areas > 0,
        covered=covered,
        cover=covered.max(axis=0) if names else np.zeros(frames),
    )


def _cut(target: TrackTable) -> Bools:
    x, y, w, h = target.box.T
    cut: Bools = (x < 1) | (y < 1) | (x + w > target.width - 1) | (y + h > target.height - 1)
    return cut & (target.area > 0)


def _covered(box: Floats, boxes: Floats) -> Floats:
    """Boxes of invisible objects have no size, so that they cover nothing."""
    low, high = box[:, :2], box[:, :2] + box[:, 2:]
    shared = np.minimum(boxes[:, :, :2] + boxes[:, :, 2:], high) - np.maximum(boxes[:, :, :2], low)
    np.maximum(shared, 0.0, out=shared)
    covered: Floats = shared[:, :, 0] * shared[:, :, 1] / np.maximum(box[:, 2] * box[:, 3], 1.0)
    return covered


def millionths(value: float) -> int:
    """`value` as it is compared: what differs by less counts as equal, on every machine."""
    return int(value * 1e6 + 0.5) if value >= 0 else -int(0.5 - value * 1e6)


def runs(mask: Bools) -> list[Span]:
    """Maximal runs of True in (n,) as (first, last), in order.

    >>> runs(np.array([True, True, False, True]))
    [(0, 1), (3, 3)]
    """
    flags, found = mask.tobytes(), []  # searching bytes takes a tenth of the time of differences of an array
    start = flags.find(1)
    while start >= 0:
        after = flags.find(0, start)
        end = after if after >= 0 else len(flags)
        found.append((start, end - 1))
        start = flags.find(1, end)
    return found


def bridged(spans: Iterable[Span], gap: int) -> list[Span]:
    """Spans with those joined that are fewer than `gap` frames apart.

    >>> bridged([(0, 3), (5, 6), (9, 9)], gap=2)
    [(0, 6), (9, 9)]
    """
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] - 1 < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
