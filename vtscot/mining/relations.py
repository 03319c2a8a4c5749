"""Facts about the target and one other object: nearest, overlaps, passes, similar. All objects are measured at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import Field

from vtscot.masks import Bools, Floats
from vtscot.mining.scene import Scene, millionths, runs
from vtscot.records import FactKind, Frozen

KEPT = 2
"""Objects reported per kind of relation: those for which it is strongest."""


class RelationSettings(Frozen):
    """Thresholds of the relations; lengths are shares of `Scene.side`."""

    overlap: float = Field(default=0.1, gt=0, le=1, description="share of the target's box inside the other's")
    similar: float = Field(default=0.75, gt=0, le=1, description="likeness in size and shape, 1: equal")
    approach: float = Field(
        default=0.1, gt=0, description="the distance must have been larger by this much at some time"
    )
    overtake: float = Field(default=0.03, gt=0, description="way the overtaken object itself covers, and lead to gain")
    together: int = Field(default=3, ge=1, description="frames in which both must be visible")


class Draft(NamedTuple):
    """A fact with its strength in [0, 1]: how much it sets the video apart from one in which nothing happens."""

    kind: FactKind
    start: int
    end: int
    strength: float
    value: float | None = None
    other: str | None = None


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Target and each other: `both` (N, T) visible together; `offset` (N, T, 2) target's centre minus the other's.

    `first`, `last`: frames between which both are seen; `usable`: rows of objects seen together with it long enough.
    """

    both: Bools
    own: Floats
    offset: Floats
    distance: Floats
    first: list[int]
    last: list[int]
    usable: list[int]


def relation_drafts(scene: Scene, settings: RelationSettings) -> Iterator[Draft]:
    """All relations of a scene; none where there is no other object."""
    if not scene.names:
        return
    pairs = _pairs(scene, settings)
    if pairs.usable:
        yield from _nearest(scene, pairs, settings)
        yield from _overlaps(scene, pairs, settings)
        yield from _passes(scene, pairs, settings)
        yield from _similar(scene, pairs, settings)


def _pairs(scene: Scene, settings: RelationSettings) -> _Pairs:
    both = scene.seens & scene.seen
    own = scene.box[:, :2] + scene.box[:, 2:] / 2
    offset = own - (scene.boxes[:, :, :2] + scene.boxes[:, :, 2:] / 2)
    together = both.sum(axis=1).tolist()
    least = min(settings.together, int(scene.seen.sum()))
    return _Pairs(
        both=both,
        own=own,
        offset=offset,
        distance=np.hypot(offset[:, :, 0], offset[:, :, 1]),
        first=both.argmax(axis=1).tolist(),
        last=(len(scene) - 1 - both[:, ::-1].argmax(axis=1)).tolist(),
        usable=[row for row, count in enumerate(together) if count >= least],
    )


def _best(values: dict[int, float]) -> list[int]:
    """Rows with the highest values, at most KEPT; equal ones in the order of their names."""
    return sorted(values, key=lambda row: (-millionths(values[row]), row))[:KEPT]


def _nearest(scene: Scene, pairs: _Pairs, settings: RelationSettings) -> Iterator[Draft]:
    """value: distance of the centres, as a share of the frame's side, in the frame of the closest approach."""
    distances = np.where(pairs.both, pairs.distance, np.inf).round(3)
    frames = distances.argmin(axis=1).tolist()
    low = distances.min(axis=1).tolist()
    high = (pairs.distance * pairs.both).max(axis=1).tolist()
    gained = {row: (high[row] - low[row]) / scene.side for row in pairs.usable}
    for row in _best({row: -low[row] for row in pairs.usable if gained[row] >= settings.approach}):
        distance = low[row] / scene.side
        strength = 0.5 * min(1.0, gained[row]) + 0.3 * max(0.0, 1 - 2 * distance)
        yield Draft("nearest", frames[row], frames[row], strength, round(distance, 4), scene.names[row])


def _overlaps(scene: Scene, pairs: _Pairs, settings: RelationSettings) -> Iterator[Draft]:
    """From the first to the last frame of the spell around the peak; value: share of the target's box at the peak."""
    peaks = scene.covered.max(axis=1).tolist()
    for row in _best({row: peaks[row] for row in pairs.usable if peaks[row] >= settings.overlap}):
        covered = scene.covered[row]
        peak = int(covered.round(6).argmax())
        start, end = next(span for span in runs(covered >= settings.overlap) if span[0] <= peak <= span[1])
        value, lasting = min(1.0, peaks[row]), (end - start + 1) / len(scene)
        yield Draft("overlaps", start, end, 0.7 * value * (1 - 0.7 * lasting), round(value, 4), scene.names[row])


def _passes(scene: Scene, pairs: _Pairs, settings: RelationSettings) -> Iterator[Draft]:
    """Both move the same way and the target, first behind, ends ahead; from the last frame behind to the first ahead.

    Behind and ahead are judged along the target's net movement while both are visible, with a margin of a quarter of
    their mean size.
    """
    least = settings.overtake * scene.side
    for row in pairs.usable:
        first, last = pairs.first[row], pairs.last[row]
        way_x, way_y = (pairs.own[last] - pairs.own[first]).tolist()
        length = math.hypot(way_x, way_y)
        if length < least:
            continue
        (px, py), (qx, qy) = pairs.offset[row, first].tolist(), pairs.offset[row, last].tolist()
        behind, ahead = -(px * way_x + py * way_y) / length, (qx * way_x + qy * way_y) / length
        if min(behind, ahead) < least / 2 or length - behind - ahead < least:
            continue
        margin = max(least / 2, (_size(scene, row, first) + _size(scene, row, last)) / 8)
        if min(behind, ahead) < margin:
            continue
        place = np.where(pairs.both[row], pairs.offset[row] @ (way_x / length, way_y / length), 0.0)
        start = int((place <= -margin).nonzero()[0][-1])
        end = start + int((place[start:] >= margin).argmax())
        aside = float(pairs.distance[row, start : end + 1][pairs.both[row, start : end + 1]].min()) / scene.side
        yield Draft("passes", start, end, 0.9 * max(0.3, 1 - aside), None, scene.names[row])


def _size(scene: Scene, row: int, frame: int) -> float:
    """Mean over both objects of the root of the box's area."""
    _, _, width, height = scene.box[frame].tolist()
    _, _, other_width, other_height = scene.boxes[row, frame].tolist()
    return (math.sqrt(width * height) + math.sqrt(other_width * other_height)) / 2


def _similar(scene: Scene, pairs: _Pairs, settings: RelationSettings) -> Iterator[Draft]:
    """From the first to the last frame with both; value: mean likeness there (ratio of sides times that of aspects)."""
    values = likeness(scene, pairs.both)
    for row in _best({row: values[row] for row in pairs.usable if values[row] >= settings.similar}):
        yield Draft(
            "similar", pairs.first[row], pairs.last[row], 0.4 * values[row], round(values[row], 4), scene.names[row]
        )


def likeness(scene: Scene, both: Bools) -> list[float]:
    """How alike the target and each other object are while both are visible, in [0, 1]."""
    own, other = np.maximum(scene.box, 1.0), np.maximum(scene.boxes, 1.0)
    sizes = np.maximum(scene.areas, 1) / np.maximum(scene.area, 1)
    aspects = other[:, :, 2] * own[:, 3] / (other[:, :, 3] * own[:, 2])
    alike = np.sqrt(np.minimum(sizes, 1 / sizes)) * np.minimum(aspects, 1 / aspects)
    means: list[float] = ((alike * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)).tolist()
    return means
