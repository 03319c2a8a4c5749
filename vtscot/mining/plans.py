"""From tables to a Plan: how many looks a query deserves, which windows, which keyframes. Pure, no pixels.

What the steps of a plan mean:
* a first of two looks is coarse: the evidence and its context (`coarse` of the video to each side). Its keyframe shows
  the target together with as many of the other objects as possible, to compare them;
* the last look is fine: tight around the evidence (`fine` to each side), stretched to the nearest frame of the same
  visible span that shows the target well. Its keyframe is the best frame in it, near the evidence: the answer's mask is
  decoded there;
* the answer is the run of visible spans around that keyframe whose temporal IoU with all visible frames is highest. Its
  keyframe is the last look's; where there was no look, the best frame of the window.
The evidence is the fact with the highest sum of strength and votes among those of a kind that the words of the
expression name (cues.py), else the strongest event if the words need time at all, else the best frame. Evidence that
lasts longer than `evidence` of the video is cut to that, around its best frame.
A query that means nothing in the video (target None) gets the whole video as window; one look, at the frame with most
objects, if its words need time, else an answer at once on the frame it is decoded on.

The same input gives the same plan, in whatever order the other objects come: they are sorted by id, scores are compared
in millionths, and ties go to the earlier frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from pydantic import Field

from vtscot.budget import Budget
from vtscot.episode import first_observation
from vtscot.errors import DataError
from vtscot.masks import Floats
from vtscot.mining.difficulty import DifficultySettings, difficulty, looks_for, without_target
from vtscot.mining.facts import FactSettings, facts_in
from vtscot.mining.keyframes import KeyframeSettings, best_frame, candidates, near, quality
from vtscot.mining.scene import Scene, Span, millionths, scene_of
from vtscot.mining.shown import on_shown
from vtscot.records import Fact, FactKind, Frozen, Plan, Query, Selection, Step
from vtscot.tracks import TrackTable
from vtscot.words.cues import Cues, cues_of

_STATES: Final[frozenset[FactKind]] = frozenset(("visible", "absent", "similar", "largest"))
_SAID: Final = 4
"""Facts that a look states beside its evidence, at most."""
COLD_START: Final = Budget()


class MiningSettings(Frozen):
    """Windows as shares of the video, and the settings of the parts."""

    coarse: float = Field(default=0.2, ge=0, le=1, description="context to each side of the evidence in a coarse look")
    fine: float = Field(default=0.06, ge=0, le=1, description="the same in a fine look")
    evidence: float = Field(
        default=0.25, gt=0, le=1, description="longer evidence is cut to this, around its best frame"
    )
    on_shown: bool = Field(default=False, description="windows and keyframes only at frames that were shown by then")
    glance: float = Field(default=0.6, ge=0, le=1, description="an answer at once needs this share of the best score")
    facts: FactSettings = FactSettings()
    keyframes: KeyframeSettings = KeyframeSettings()
    difficulty: DifficultySettings = DifficultySettings()


def mine(
    query: Query,
    num_frames: int,
    target: TrackTable | None,
    others: Mapping[str, TrackTable],
    settings: MiningSettings,
    budget: Budget = COLD_START,
) -> Plan:
    """The plan of one query; `target` is None where it means nothing in the video, `others` are the further objects.

    `budget` says which frame an answer at once is decoded on, and how many turns there may be at most.
    Raises DataError where the target is visible in no frame or a table is not `num_frames` long.
    """
    try:
        for table in (target,) if target is not None else tuple(others.values()):
            if len(table) != num_frames:
                raise DataError(f"a mask table has {len(table)} frames, the video {num_frames}; index the source again")
        if target is None:
            return _nothing(query, num_frames, others, settings, budget)
        return _something(query, scene_of(target, others, settings.facts.min_gap), settings, budget)
    except DataError as error:
        raise DataError(f"query {query.id}: {error}") from error


@lru_cache(maxsize=4096)
def _decoded(num_frames: int, budget: Budget) -> int:
    return first_observation(num_frames, budget).decoded


def _something(query: Query, scene: Scene, settings: MiningSettings, budget: Budget) -> Plan:
    score = quality(scene, settings.keyframes)
    facts, strengths = facts_in(scene, score, settings.facts)
    cues = cues_of(query.expression)
    well_seen = bool(score[_decoded(len(scene), budget)] >= settings.glance * score.max())
    value = difficulty(scene, facts, cues, well_seen, settings.difficulty)
    looks = looks_for(value, settings.difficulty, budget.max_turns)
    steps = _looks(scene, score, facts, _evidence(facts, strengths, cues), looks, settings)
    steps = (*steps, _answer(scene, score, facts, steps[-1] if steps else None, settings))
    if settings.on_shown:
        steps = on_shown(steps, score, settings.keyframes.fit, budget)
    return Plan(query_id=query.id, num_frames=len(scene), difficulty=value, steps=steps, facts=facts)


def _evidence(facts: tuple[Fact, ...], strengths: tuple[float, ...], cues: Cues) -> Fact:
    """The fact to look at; the first of equally strong ones."""
    named = [i for i, fact in enumerate(facts) if fact.kind in cues.votes]
    if not named and cues.weight:
        named = [i for i, fact in enumerate(facts) if fact.kind not in _STATES]
    if not named:
        return facts[-1]  # `largest`, the last of the kinds
    return facts[max(named, key=lambda i: (millionths(strengths[i] + cues.votes.get(facts[i].kind, 0.0)), -i))]


def _looks(
    scene: Scene, score: Floats, facts: tuple[Fact, ...], evidence: Fact, looks: int, settings: MiningSettings
) -> tuple[Step, ...]:
    if not looks:
        return ()
    focus = _focus(scene, score, evidence, settings)
    fine = _fine(scene, score, focus, settings)
    last = _step(scene, fine, near(score, *fine, focus, settings.keyframes), facts, evidence, settings)
    if looks == 1:
        return (last,)
    wide = _widened(min(focus[0], fine[0]), max(focus[1], fine[1]), settings.coarse, len(scene))
    company = (1 + scene.seens.mean(axis=0)) / 2 if scene.names else 1.0
    context = score * company
    apart = max(1, (wide[1] - wide[0] + 1) // 8)  # a second look at the same moment would show nothing new
    context[max(0, last.selection.keyframe - apart) : last.selection.keyframe + apart + 1] *= settings.keyframes.fit
    return _step(scene, wide, context, facts, evidence, settings), last


def _focus(scene: Scene, score: Floats, evidence: Fact, settings: MiningSettings) -> Span:
    """The frames of the evidence, at most `evidence` of the video around the best of them."""
    start, end = evidence.start, evidence.end
    most = max(1, math.ceil(settings.evidence * len(scene)))
    if end - start + 1 <= most:
        return start, end
    best = best_frame(score, start, end)
    first = min(max(start, best - most // 2), end - most + 1)
    return first, first + most - 1


def _widened(start: int, end: int, share: float, frames: int) -> Span:
    """A span with `share` of the video more on each side, at least 4 frames, cut to the video."""
    more = max(4, round(share * frames))
    return max(0, start - more), min(frames - 1, end + more)


def _fine(scene: Scene, score: Floats, focus: Span, settings: MiningSettings) -> Span:
    """Tight around the focus, and on to the nearest well seen frame of the visible span it lies in."""
    start, end = _widened(*focus, settings.fine, len(scene))
    first, last = next((s for s in scene.spans if s[0] <= focus[1] and focus[0] <= s[1]), (start, end))
    good = first + np.flatnonzero(score[first : last + 1] >= settings.keyframes.fit * score[first : last + 1].max())
    away = np.maximum(np.maximum(start - good, good - end), 0)
    frame = int(good[away.argmin()])
    return min(start, frame), max(end, frame)


def _step(
    scene: Scene, window: Span, score: Floats, facts: tuple[Fact, ...], evidence: Fact, settings: MiningSettings
) -> Step:
    frames = candidates(score, *window, settings.keyframes)
    said = [evidence]
    for fact in facts:
        inside = fact.start <= window[1] and window[0] <= fact.end
        if inside and fact is not evidence and fact.kind not in ("absent", "largest") and len(said) <= _SAID:
            said.append(fact)
    return Step(
        selection=Selection(start=window[0], end=window[1], keyframe=frames[0]), facts=tuple(said), keyframes=frames
    )


def _answer(scene: Scene, score: Floats, facts: tuple[Fact, ...], look: Step | None, settings: MiningSettings) -> Step:
    """`look` is the last look, or None where the query is answered at once."""
    best = look.selection.keyframe if look else best_frame(score, 0, len(scene) - 1)
    start, end = _answer_span(scene, best)
    frames = look.keyframes if look else candidates(score, start, end, settings.keyframes)
    said = [fact for fact in facts if fact.kind in ("visible", "largest") and fact.start <= end and start <= fact.end]
    if not any(fact.kind == "visible" and fact.start <= best <= fact.end for fact in said):
        first, last = next(span for span in scene.spans if span[0] <= best <= span[1])
        said.insert(0, Fact(kind="visible", start=first, end=last))  # too brief to be among the facts of the video
    return Step(
        selection=Selection(start=start, end=end, keyframe=best),
        facts=tuple(said),
        keyframes=tuple(frame for frame in frames if start <= frame <= end),
    )


def _answer_span(scene: Scene, frame: int) -> Span:
    """Neighbouring spans around `frame`, as many as give the highest temporal IoU with the visible frames."""
    if len(scene.spans) == 1:
        return scene.spans[0]
    here = next(i for i, (start, end) in enumerate(scene.spans) if start <= frame <= end)
    seen = [0, *scene.seen.cumsum().tolist()]
    best, found = -1, scene.spans[here]
    for start, _ in scene.spans[: here + 1]:
        for _, end in scene.spans[here:]:
            inside = seen[end + 1] - seen[start]
            iou = millionths(inside / (end - start + 1 + seen[-1] - inside))
            if iou > best:
                best, found = iou, (start, end)
    return found


def _nothing(
    query: Query, num_frames: int, others: Mapping[str, TrackTable], settings: MiningSettings, budget: Budget
) -> Plan:
    """No target: nothing to point at, so the whole video is what matters, and the frame to look at has most objects."""
    objects = np.zeros(num_frames, dtype=np.int64)
    for name in sorted(others):
        objects += others[name].area > 0
    middle = _decoded(num_frames, budget)
    away = np.abs(np.arange(num_frames) - middle)
    busiest = int((objects * num_frames * 2 - away).argmax())
    cues = cues_of(query.expression)
    value = without_target(cues, len(others), settings.difficulty)
    looks = min(1, looks_for(value, settings.difficulty, budget.max_turns))
    frame = busiest if looks else middle
    if settings.on_shown:
        frame = min(first_observation(num_frames, budget).indices, key=lambda shown: (abs(shown - frame), shown))
    step = Step(selection=Selection(start=0, end=num_frames - 1, keyframe=frame), keyframes=(frame,))
    return Plan(query_id=query.id, num_frames=num_frames, difficulty=value, steps=(step,) * (looks + 1))
