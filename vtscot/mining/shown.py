"""Windows and keyframes moved to frames that have been shown by then, for policies that can only name what they saw.

A mined window ends where the annotation says so, which a look at every seventh frame cannot tell: what is learned from
such numbers is to guess. Here every window runs from the first to the last frame of the first observation that shows
the target. What a look at the whole video has told is what is looked at more closely, and is said again by the answer:
an episode has one window, so there is no other that could be copied by mistake. A keyframe goes to the nearest shown
frame that shows the target, or stays where it is if there is none. The answer keeps the keyframe of the last look, on
which its mask is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.masks import Floats
from vtscot.mining.scene import Span
from vtscot.records import Selection, Step

Ints = npt.NDArray[np.int64]


def on_shown(steps: Sequence[Step], score: Floats, fit: float, budget: Budget) -> tuple[Step, ...]:
    """`steps` of a plan on shown frames; `score` (T,) is positive where the target is visible.

    Candidate keyframes score at least `fit` of the best one that was shown in the window.
    """
    moved: list[Step] = []
    skimmed = np.array(sorted(first_observation(len(score), budget).indices))
    frames = set(skimmed.tolist())
    for number, step in enumerate(steps):
        shown = np.array(sorted(frames))
        wanted = step.selection.keyframe
        window = _visible(score, skimmed) or _visible(score, shown)
        if window and moved and number == len(steps) - 1:
            wanted = moved[-1].selection.keyframe
            window = min(window[0], wanted), max(window[1], wanted)
        moved.append(_moved(step, window, wanted, shown, score, fit))
        frames.update(look_observation(moved[-1].selection, len(score), budget).indices)
    return tuple(moved)


def _visible(score: Floats, frames: Ints) -> Span | None:
    """The first and the last of the frames that show the target."""
    seen = frames[score[frames] > 0]
    return (int(seen[0]), int(seen[-1])) if len(seen) else None


def _moved(step: Step, window: Span | None, wanted: int, shown: Ints, score: Floats, fit: float) -> Step:
    """`step` in `window`, its keyframe near the `wanted` one; as it is where no shown frame in there has the target."""
    if window is None:
        return step
    inside = shown[(shown >= window[0]) & (shown <= window[1]) & (score[shown] > 0)]
    if not len(inside):
        return step
    inside = inside[(score[inside] >= fit * score[inside].max()) | (inside == wanted)]
    nearest = inside[np.abs(inside - wanted).argsort(kind="stable")]
    keyframes = tuple(int(frame) for frame in nearest[: max(1, len(step.keyframes))])
    selection = Selection(start=window[0], end=window[1], keyframe=keyframes[0])
    return step.model_copy(update={"selection": selection, "keyframes": keyframes})
