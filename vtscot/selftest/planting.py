"""Errors that a verifier has to notice, planted into good episodes one kind at a time.

Every planting changes one thing and leaves the rest consistent: a shifted window or a wrong keyframe is planted into
the plan as well, so that only looking at the frames can tell; the thought of a distractor quotes the right expression.
A kind is planted only where it is decidable from what the verifier is given: a window cannot be shifted off a target
that is always in view.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vtscot import masks
from vtscot.records import Episode, Plan, Selection, ShownFrame, Thought
from vtscot.teacher.base import TraceTask
from vtscot.teacher.oracle import OracleTeacher
from vtscot.tracks import MaskTrack
from vtscot.verify.reading import about_target, sentences


@dataclass(frozen=True)
class Case:
    """An episode with all that it was made of and is judged by."""

    task: TraceTask
    plan: Plan
    episode: Episode

    @property
    def last(self) -> int:
        return len(self.episode.turns) - 1

    def with_thought(self, turn: int, **parts: str) -> Case:
        """The same, with parts of one thought replaced."""
        turns = list(self.episode.turns)
        thought = turns[turn].thought.model_copy(update=parts)
        turns[turn] = turns[turn].model_copy(update={"thought": thought})
        return replace(self, episode=self.episode.model_copy(update={"turns": tuple(turns)}))

    def with_thoughts(self, thoughts: Sequence[Thought]) -> Case:
        """The same, with other thoughts, one per turn."""
        pairs = zip(self.episode.turns, thoughts, strict=True)
        turns = tuple(turn.model_copy(update={"thought": thought}) for turn, thought in pairs)
        return replace(self, episode=self.episode.model_copy(update={"turns": turns}))

    def with_selection(self, turn: int, selection: Selection) -> Case:
        """The same, with another selection of one turn, in plan and episode."""
        steps, turns = list(self.plan.steps), list(self.episode.turns)
        steps[turn] = steps[turn].model_copy(update={"selection": selection, "keyframes": (selection.keyframe,)})
        turns[turn] = turns[turn].model_copy(update={"selection": selection})
        return replace(
            self,
            plan=self.plan.model_copy(update={"steps": tuple(steps)}),
            episode=self.episode.model_copy(update={"turns": tuple(turns)}),
        )


Rng = np.random.Generator
Planter = Callable[[Case, Sequence[Case], Rng], Case | None]


def _other_targets(case: Case, pool: Sequence[Case]) -> list[Case]:
    """Cases with as many turns that mean something else, those of the same video first."""
    own = case.task.query
    fit = [
        one
        for one in pool
        if len(one.episode.turns) == len(case.episode.turns)
        and one.task.query.anno_ids != own.anno_ids
        and one.episode.expression != own.expression
    ]
    near = [one for one in fit if one.task.query.video == own.video]
    return near or fit


def swap(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """The thoughts of another query with another target."""
    fit = _other_targets(case, pool)
    if not fit:
        return None
    return case.with_thoughts([turn.thought for turn in fit[int(rng.integers(len(fit)))].episode.turns])


def distract(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """Thoughts about another object of the video, with the right words about the expression."""
    target = case.task.target
    frame = case.episode.observations[-1].decoded
    seen = [name for name in sorted(case.task.objects) if _plain(case.task.objects[name], frame)]
    if target is not None:
        seen = [name for name in seen if _apart(target, case.task.objects[name], frame)]
    if not seen:
        return None
    name = seen[int(rng.integers(len(seen)))]
    objects = {other: track for other, track in case.task.objects.items() if other != name}
    return _thought_of(case, case.task.objects[name], objects, anno_ids=(name,))


def _thought_of(case: Case, meant: MaskTrack, others: Mapping[str, MaskTrack], **query: object) -> Case:
    """The case with the thoughts of one to whom `meant` is the target of this very expression."""
    asked = case.task.query.model_copy(update=query)
    task = replace(case.task, target=meant, objects=others, query=asked, plan=case.plan)
    _, thoughts = asyncio.run(OracleTeacher().trace(task))
    return case.with_thoughts(thoughts)


def _plain(track: MaskTrack, frame: int) -> bool:
    return bool(track.areas[frame] >= 0.001 * track.height * track.width)


def _apart(target: MaskTrack, other: MaskTrack, frame: int) -> bool:
    a, b = target.rle(frame), other.rle(frame)
    return a is None or b is None or masks.iou(a, b) < 0.1


def point_elsewhere(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """Thoughts about another place: the target's outline mirrored, and what the frames hold there.

    It needs no second annotated object, so it can be planted into videos that have one.
    """
    target, frame = case.task.target, case.episode.observations[-1].decoded
    if target is None or not _plain(target, frame):
        return None
    mirrored = (_mirrored(target, flip) for flip in (np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]))
    fit = [track for track in mirrored if _apart(target, track, frame)]
    return _thought_of(case, fit[0], case.task.objects) if fit else None


def _mirrored(track: MaskTrack, flip: tuple[slice, ...] | slice) -> MaskTrack:
    seen = enumerate(track.visible)
    counts = (masks.Rle.from_array(track.decode(i)[flip]).counts if visible else None for i, visible in seen)
    return MaskTrack(track.height, track.width, tuple(counts))


def lose_keyframe(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """The last look's keyframe becomes a frame without the target."""
    target = case.task.target
    if target is None or case.last == 0:
        return None
    window = case.plan.steps[case.last - 1].selection
    hidden = np.flatnonzero(~target.visible)
    if not len(hidden):
        return None
    frame = int(hidden[rng.integers(len(hidden))])
    start, end = min(window.start, frame), max(window.end, frame)
    moved = case.with_selection(case.last - 1, Selection(start=start, end=end, keyframe=frame))
    seen = list(moved.episode.observations)
    shown = [one for one in seen[-1].frames if one.role != "keyframe"]
    shown.append(ShownFrame(index=frame, role="keyframe", max_pixels=seen[-1].frames[-1].max_pixels))
    seen[-1] = seen[-1].model_copy(update={"frames": tuple(shown)})
    return replace(moved, episode=moved.episode.model_copy(update={"observations": tuple(seen)}))


def shift_window(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """The answer's window moves to where the target is hardly seen."""
    target = case.task.target
    if target is None:
        return None
    own, frames = case.plan.answer.selection, len(target)
    length = min(own.end - own.start + 1, max(1, frames // 3))
    sums = np.concatenate([[0], np.cumsum(target.visible)])
    shares = (sums[length:] - sums[:-length]) / length
    starts = np.flatnonzero(shares < 0.25)
    if not len(starts):
        return None
    start = int(starts[rng.integers(len(starts))])
    end = start + length - 1
    inside = min(max(own.keyframe, start), end)
    if not target.visible[inside] and target.visible[start : end + 1].any():
        inside = start + int(np.argmax(target.visible[start : end + 1]))
    return case.with_selection(case.last, Selection(start=start, end=end, keyframe=inside))


LEAKS: Final = (
    "The ground truth confirms it.",
    "That is the object inside the red outline.",
    "Its bounding box is given as (120, 45, 60, 30).",
    "The annotation marks exactly this one.",
    "The segmentation mask covers it completely.",
    "It fills 14.2 percent of the picture.",
    "It comes into view exactly in frame {future}.",
)


def leak(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """A sentence that betrays what only the teacher saw, or a frame that was not shown."""
    turn = int(rng.integers(len(case.episode.turns)))
    unseen = sorted(set(range(11, case.episode.num_frames)) - case.episode.shown_until(turn))
    sentence = LEAKS[int(rng.integers(len(LEAKS) if unseen else len(LEAKS) - 1))]
    name = ("temporal", "spatial", "linguistic")[int(rng.integers(3))]
    future = str(unseen[int(rng.integers(len(unseen)))]) if unseen else ""
    text = getattr(case.episode.turns[turn].thought, name)
    return case.with_thought(turn, **{name: f"{text} {sentence.format(future=future)}"})


def empty_part(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """One part of one thought is missing."""
    turn = int(rng.integers(len(case.episode.turns)))
    return case.with_thought(turn, **{_part(rng): ""})


def _part(rng: Rng) -> str:
    return ("temporal", "spatial", "linguistic", "action")[int(rng.integers(4))]


def truncate(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """One part breaks off in the middle of a sentence."""
    turn, name = int(rng.integers(len(case.episode.turns))), _part(rng)
    words = getattr(case.episode.turns[turn].thought, name).split()
    cut = int(rng.integers(1, len(words)))
    return case.with_thought(turn, **{name: " ".join(words[:cut]).rstrip(".!?,;:\"')")})


FOREIGN: Final = (
    "Das gesuchte Objekt befindet sich links unten im Bild und bewegt sich langsam nach rechts.",
    "L'objet recherché se trouve près du bord gauche et se déplace lentement vers la droite.",
    "目标物体位于画面左下方，正在缓慢地向右移动。",
    "Искомый объект находится слева внизу и медленно движется вправо.",
)


def translate(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """One part is in another language."""
    turn = int(rng.integers(len(case.episode.turns)))
    return case.with_thought(turn, **{_part(rng): FOREIGN[int(rng.integers(len(FOREIGN)))]})


def repeat(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """The last turn thinks what the turn before it thought."""
    if case.last == 0:
        return None
    thoughts = [turn.thought for turn in case.episode.turns]
    return case.with_thoughts([*thoughts[:-1], thoughts[-2]])


def deny(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """The last thought says that a plainly visible target is not here."""
    frame = case.episode.observations[-1].decoded
    if case.task.target is None or not _plain(case.task.target, frame):
        return None
    others = [text for text in sentences(case.episode.turns[-1].thought.spatial) if not about_target(text)]
    return case.with_thought(case.last, spatial=" ".join([f"Frame {frame} does not show the target.", *others]))


def affirm(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """For a no-target query: thoughts that point at an object."""
    return distract(case, pool, rng) if case.task.target is None else None


def miscount(case: Case, pool: Sequence[Case], rng: Rng) -> Case | None:
    """One target too few where there are several, one too many where there is another object."""
    if case.task.target is None:
        return None
    spatial = case.episode.turns[-1].thought.spatial
    claims = [text for text in sentences(spatial) if re.search(r"\bthe (?:first|second|third) target\b", text, re.I)]
    if len(claims) > 1:
        dropped = claims[int(rng.integers(len(claims)))]
        return case.with_thought(case.last, spatial=" ".join(text for text in sentences(spatial) if text != dropped))
    wrong = distract(case, pool, rng) or point_elsewhere(case, pool, rng)
    if wrong is None:
        return None
    extra = " ".join(about_target(wrong.episode.turns[-1].thought.spatial)[:1])
    return case.with_thought(case.last, spatial=f"{spatial} {extra}")


PLANTERS: Final[dict[str, Planter]] = {
    "swapped-thought": swap,
    "distractor": lambda case, pool, rng: distract(case, pool, rng) if case.task.target is not None else None,
    "pointed-elsewhere": point_elsewhere,
    "keyframe-without-target": lose_keyframe,
    "window-shifted": shift_window,
    "leaked": leak,
    "empty-part": empty_part,
    "truncated": truncate,
    "other-language": translate,
    "repeated-thought": repeat,
    "not-here-claimed": deny,
    "here-claimed": affirm,
    "wrong-number": miscount,
}
"""Kinds of errors; a planter returns None where its kind is not decidable."""

UNDECIDABLE: Final = {
    "swapped-thought": "no two queries with as many turns mean different things",
    "distractor": "no other annotated object is in view beside a target",
    "pointed-elsewhere": "no target leaves room for its mirror image",
    "keyframe-without-target": "every target is in view on every frame, or is answered at first sight",
    "window-shifted": "every target is in view nearly all the time",
    "leaked": "no episode was kept",
    "empty-part": "no episode was kept",
    "truncated": "no episode was kept",
    "other-language": "no episode was kept",
    "repeated-thought": "every query is answered at first sight",
    "not-here-claimed": "no target is plainly visible on the answer's frame",
    "here-claimed": "there is no query without target beside which something else is in view",
    "wrong-number": "no query has several targets, or room beside its one",
}
"""Why a kind could be planted nowhere: what the source would have to hold."""
