"""Windows and keyframes moved to frames that have been shown by then, for policies that can only name what they saw.

A mined window ends where the annotation says so, which a look at every seventh frame cannot tell: what is learned from
such numbers is to guess. Here every window runs from the first to the last skimmed frame that shows the target, which
is what a table of these frames tells. What a skim of the whole video has told is what is looked at more closely, and is
said again by the answer: an episode has one window, so there is no other that could be copied by mistake.

The first keyframe is the second of the skimmed frames that show the target, or the only one: it stands right behind the
start of the window, so that it can be copied as well, and the target is no longer just coming in. Which frame shows it
best cannot be told from when it was seen: who learns that from a skim holds all of them for nearly as likely, and
numbers that nothing speaks for hardly less. The keyframe of a later look goes to the nearest shown frame that shows the
target, that of the answer stays where the last look was, on which its mask is decoded. Where no shown frame has the
target, all stays as it was mined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.masks import Floats
from vtscot.records import Selection, Step

Ints = npt.NDArray[np.int64]


def on_shown(steps: Sequence[Step], score: Floats, fit: float, budget: Budget) -> tuple[Step, ...]:
    """`steps` of a plan on shown frames; `score` (T,) is positive where the target is visible.

    Candidate keyframes of a second look score at least `fit` of the best one that was shown in the window; the first
    turn and the answer have one.
    """
    moved: list[Step] = []
    first = first_observation(len(score), budget)
    skimmed = _visible(score, (frame.index for frame in first.frames if frame.role == "temporal"))
    frames = set(first.indices)
    for number, step in enumerate(steps):
        shown = _visible(score, frames)
        seen = skimmed if len(skimmed) else shown
        if not len(seen):
            moved.append(step)
        elif not moved:
            moved.append(_put(step, seen, seen[:2][-1:]))
        elif number < len(steps) - 1:
            inside = shown[(shown >= seen[0]) & (shown <= seen[-1])]
            moved.append(_put(step, seen, _near(step.selection.keyframe, inside, score, fit)))
        else:
            kept = moved[-1].selection.keyframe
            moved.append(_put(step, np.union1d(seen, [kept]), np.array([kept])))
        frames.update(look_observation(moved[-1].selection, len(score), budget).indices)
    return tuple(moved)


def _visible(score: Floats, frames: Iterable[int]) -> Ints:
    """Those of `frames` that show the target, in order."""
    distinct = np.array(sorted(set(frames)), dtype=np.int64)
    return distinct[score[distinct] > 0]


def _near(wanted: int, frames: Ints, score: Floats, fit: float) -> Ints:
    """Those of `frames` that show the target well, the one nearest to the wanted frame first."""
    well = frames[score[frames] >= fit * score[frames].max()]
    nearest: Ints = well[np.abs(well - wanted).argsort(kind="stable")]
    return nearest


def _put(step: Step, seen: Ints, keyframes: Ints) -> Step:
    """`step` from the first to the last of the frames that were seen to show the target."""
    chosen = tuple(keyframes[: len(step.keyframes)].tolist())
    selection = Selection(start=int(seen[0]), end=int(seen[-1]), keyframe=chosen[0])
    return step.model_copy(update={"selection": selection, "keyframes": chosen})
