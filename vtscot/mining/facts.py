"""Facts about a target, from its table and those of the other objects of the video: pure functions, no pixels.

Moments have start == end: `enters` and `reappears` the first visible frame after an absence (of the first span, of
a later one), `leaves` the last visible one, `starts` the first frame in motion, `stops` the last one, `turns` the frame
of the bend, `nearest` the closest approach, `largest` the frame with the highest keyframe score. All others are
intervals.

value, where there is one: `enters`, `leaves`, `reappears`: direction from the frame's centre to the border that the box
touches (None: it touches none, so it came out of, or went behind, something); `turns`: direction afterwards; `moves`:
direction of the net movement, between stops and turns; `grows`, `shrinks`: area after / area before; `largest`: share
of the frame; relations: see relations.py. Directions are in radians, 0 = right, pi/2 = down. Gaps shorter than
`min_gap` are no absence.

At most 3 facts of a kind (2 of a relation) and about 12 in all: the strongest of each kind stays, the others stay in
the order of their strength while there is room. Facts come in the order of FactKind, then by start, end and other
object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, get_args

import numpy as np
from pydantic import Field

from vtscot.masks import Floats
from vtscot.mining.keyframes import KeyframeSettings, best_frame, quality
from vtscot.mining.motion import Course, MotionSettings, course, smooth
from vtscot.mining.relations import Draft, RelationSettings, relation_drafts
from vtscot.mining.scene import Scene, millionths, scene_of
from vtscot.records import Fact, FactKind, Frozen
from vtscot.tracks import TrackTable

_ORDER: Final = {kind: place for place, kind in enumerate(get_args(FactKind))}
_PER_KIND: Final = 3


class FactSettings(Frozen):
    """What counts as an absence, a change of size, a motion, a relation."""

    min_gap: int = Field(default=3, ge=1, description="frames; a shorter gap in a mask is no absence")
    growth: float = Field(default=1.6, gt=1, description="area grows by this factor or shrinks by its inverse")
    covered: float = Field(default=0.3, gt=0, le=1, description="size is unsure from this share of its box in another")
    most: int = Field(default=12, ge=1, description="facts beyond the strongest of each kind are kept up to this many")
    motion: MotionSettings = MotionSettings()
    relations: RelationSettings = RelationSettings()


DEFAULT_FACTS: Final = FactSettings()
DEFAULT_KEYFRAMES: Final = KeyframeSettings()


def facts_of(
    target: TrackTable, others: Mapping[str, TrackTable], settings: FactSettings = DEFAULT_FACTS
) -> tuple[Fact, ...]:
    """What the tables say about the target; `others` by anno_id. Raises DataError where the target is never visible."""
    scene = scene_of(target, others, settings.min_gap)
    return facts_in(scene, quality(scene, DEFAULT_KEYFRAMES), settings)[0]


def facts_in(scene: Scene, score: Floats, settings: FactSettings) -> tuple[tuple[Fact, ...], tuple[float, ...]]:
    """The facts and their strengths in [0, 1]; `score` (T,) is the keyframe score."""
    kept = _strongest(_drafts(scene, score, settings), settings.most)
    facts = tuple(Fact(kind=d.kind, start=d.start, end=d.end, value=d.value, other=d.other) for d in kept)
    return facts, tuple(draft.strength for draft in kept)


def _drafts(scene: Scene, score: Floats, settings: FactSettings) -> Iterator[Draft]:
    yield from _presence(scene)
    for span in scene.spans:
        if span[1] - span[0] + 1 >= 2 * settings.motion.min_run:
            yield from _motion(scene, course(scene, span, settings.motion), settings.motion)
    yield from _growth(scene, settings)
    yield from relation_drafts(scene, settings.relations)
    best = best_frame(score, 0, len(scene) - 1)
    yield Draft("largest", best, best, 0.1, round(float(scene.area[best]) / (scene.height * scene.width), 4))


def _strongest(drafts: Iterable[Draft], most: int) -> list[Draft]:
    ranked = sorted(drafts, key=lambda d: (-millionths(d.strength), _ORDER[d.kind], d.start, d.end, d.other or ""))
    seen: dict[FactKind, int] = {}
    first: list[Draft] = []
    further: list[Draft] = []
    for draft in ranked:
        seen[draft.kind] = seen.get(draft.kind, 0) + 1
        if seen[draft.kind] <= _PER_KIND:
            (first if seen[draft.kind] == 1 else further).append(draft)
    kept = first + further[: max(0, most - len(first))]
    return sorted(kept, key=lambda d: (_ORDER[d.kind], d.start, d.end, d.other or ""))


def _presence(scene: Scene) -> Iterator[Draft]:
    last = len(scene) - 1
    before = -1
    for number, (start, end) in enumerate(scene.spans):
        yield Draft("visible", start, end, (end - start + 1) / len(scene))
        if start - before > 1:
            yield Draft("absent", before + 1, start - 1, (start - before - 1) / len(scene))
            kind: FactKind = "enters" if number == 0 else "reappears"
            yield Draft(kind, start, start, 0.8 if number == 0 else 0.9, _side(scene, start))
        if end < last:
            yield Draft("leaves", end, end, 0.8, _side(scene, end))
        before = end
    if before < last:
        yield Draft("absent", before + 1, last, (last - before) / len(scene))


def _side(scene: Scene, frame: int) -> float | None:
    """Direction of the border of the frame that the box touches; the nearest one where there are several."""
    x, y, w, h = (float(v) for v in scene.box[frame])
    gaps = {0.0: scene.width - x - w, math.pi / 2: scene.height - y - h, math.pi: x, -math.pi / 2: y}
    gap, angle = min((gap, angle) for angle, gap in gaps.items())
    return round(angle, 4) if gap < 1 else None


def _direction(way: tuple[float, float]) -> float:
    return round(math.atan2(way[1], way[0]), 4) + 0.0


def _motion(scene: Scene, course: Course, settings: MotionSettings) -> Iterator[Draft]:
    """starts, stops, turns, moves of one visible span."""
    for start, end in course.moving:
        if start - course.start >= settings.min_run:
            yield Draft("starts", start, start, 0.75)
        if course.end - end >= settings.min_run:
            yield Draft("stops", end, end, 0.8)
        bends = [turn for turn in course.turns if start < turn < end]
        for a, b in zip([start, *bends], [*bends, end], strict=True):
            way = course.way(a, b)
            share = math.hypot(*way) / scene.side
            if share >= settings.min_move:
                yield Draft("moves", a, b, min(0.5, share), _direction(way))
    for turn in course.turns:
        after = course.way(turn, min(turn + settings.turn_frames, course.end))
        yield Draft("turns", turn, turn, 0.6 + min(0.3, 2 * math.hypot(*after) / scene.side), _direction(after))


def _growth(scene: Scene, settings: FactSettings) -> Iterator[Draft]:
    """The greatest rise and fall of the area in a span, over frames in which the box is whole and for itself.

    Both sides of the box must follow, so that a target that goes behind something does not count as shrinking;
    nor does one that is soon as large again, for the same reason.
    """
    whole = scene.seen & ~scene.cut & (scene.cover < settings.covered)
    rises: list[tuple[float, int, int]] = []
    falls: list[tuple[float, int, int]] = []
    for start, end in scene.spans:
        at = start + whole[start : end + 1].nonzero()[0]
        areas = scene.area[at]
        if len(at) > 1 and areas.max() >= settings.growth * areas.min():
            area = smooth(areas[:, None].astype(np.float64), settings.motion.smooth)[:, 0]
            for found, size in ((rises, area), (falls, 1 / area)):
                ratio, low, high = _rise(size)
                found.append((ratio, int(at[low]), int(at[high])))
    if rises:
        rise, fall = max(rises, key=lambda change: change[0]), max(falls, key=lambda change: change[0])
        recovers = max(rise[0], fall[0]) < settings.growth * min(rise[0], fall[0])
        if not (recovers and fall[2] <= rise[1] <= fall[2] + 2 * settings.motion.min_run):
            yield from _change(scene, "grows", rise, settings)
            yield from _change(scene, "shrinks", fall, settings)


def _change(
    scene: Scene, kind: Literal["grows", "shrinks"], change: tuple[float, int, int], settings: FactSettings
) -> Iterator[Draft]:
    ratio, start, end = change
    sides = scene.box[end, 2:] / scene.box[start, 2:]
    followed = float(sides.min()) if kind == "grows" else 1 / float(sides.max())
    if ratio >= settings.growth and followed >= ratio**0.4:
        area = float(scene.area[end] / scene.area[start])
        yield Draft(kind, start, end, min(0.7, 0.2 * ratio), round(area, 4))


def _rise(size: Floats) -> tuple[float, int, int]:
    """Greatest ratio of a value to an earlier one, and the positions between which most of the rise takes place."""
    lowest = np.minimum.accumulate(size)
    ratios = (size / lowest).round(6)
    high = int(ratios.argmax())
    low = int((size[: high + 1] <= lowest[high] * 1.05).nonzero()[0][-1])
    high = low + int((size[low : high + 1] >= size[high] * 0.95).argmax())
    return float(ratios.max()), low, high
