"""Windows and keyframes moved to frames that have been shown by then, for policies that can only name what they saw.

A mined window ends where the annotation says so, which a look at every seventh frame cannot tell: what is learned from
such numbers is to guess. A look's window is widened to the next frames that were shown; the answer's ends go to the
nearest ones; a keyframe goes to the nearest one that shows the target, or stays where it is if there is none. The
answer keeps the keyframe of the last look, on which its mask is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.masks import Floats
from vtscot.records import Selection, Step

Ints = npt.NDArray[np.int64]


def on_shown(steps: Sequence[Step], score: Floats, fit: float, budget: Budget) -> tuple[Step, ...]:
    """`steps` of a plan on shown frames; `score` (T,) is positive where the target is visible.

    Candidate keyframes score at least `fit` of the best one that was shown in the window.
    """
    moved: list[Step] = []
    frames = set(first_observation(len(score), budget).indices)
    for number, step in enumerate(steps):
        answers = number == len(steps) - 1
        wanted = moved[-1].selection.keyframe if moved and answers else step.selection.keyframe
        moved.append(_moved(step, wanted, np.array(sorted(frames)), score, fit, answers=answers))
        frames.update(look_observation(moved[-1].selection, len(score), budget).indices)
    return tuple(moved)


def _moved(step: Step, wanted: int, shown: Ints, score: Floats, fit: float, *, answers: bool) -> Step:
    start, end = step.selection.start, step.selection.end
    if not answers:
        start, end = int(shown[shown <= start][-1]), int(shown[shown >= end][0])
    inside = shown[(shown >= start) & (shown <= end) & (score[shown] > 0)]
    if not len(inside):
        return step
    if answers:
        start, end = int(inside[0]), int(inside[-1])
    inside = inside[(score[inside] >= fit * score[inside].max()) | (inside == wanted)]
    nearest = inside[np.abs(inside - wanted).argsort(kind="stable")]
    keyframes = tuple(int(frame) for frame in nearest[: max(1, len(step.keyframes))])
    return step.model_copy(
        update={"selection": Selection(start=start, end=end, keyframe=keyframes[0]), "keyframes": keyframes}
    )
