"""Which frames are worth looking at closely: the keyframe score, and candidates spaced in time.

quality(t) = 0 where the target is not visible, else
             sqrt(area / largest area of the track) * (`border` if the box touches the border) * (1 - `overlap` * share)
where share is how much of the target's box lies in the box of the other object that covers it most. In [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from vtscot.masks import Floats
from vtscot.mining.scene import Scene
from vtscot.records import Frozen


class KeyframeSettings(Frozen):
    """Weights of the keyframe score, and how many candidates a step offers."""

    border: float = Field(default=0.6, ge=0, le=1, description="factor for a box that touches the border of the frame")
    overlap: float = Field(default=0.6, ge=0, le=1, description="penalty for a box that lies wholly in another one")
    distance: float = Field(
        default=0.3, ge=0, le=1, description="penalty at the end of the window farthest from the evidence"
    )
    candidates: int = Field(default=5, ge=1, le=20)
    fit: float = Field(default=0.6, ge=0, le=1, description="a candidate scores at least this share of the best one")


def quality(scene: Scene, settings: KeyframeSettings) -> Floats:
    """(T,) how well the target is seen in each frame; positive exactly where it is visible."""
    size = np.sqrt(scene.area / scene.area.max())
    size *= 1 - (1 - settings.border) * scene.cut
    size *= 1 - settings.overlap * np.minimum(scene.cover, 1.0)
    return np.where(scene.seen, np.maximum(size, 1e-4), 0.0)


def best_frame(score: Floats, start: int, end: int) -> int:
    """The first frame of start..end with the highest score, in millionths."""
    return start + int((score[start : end + 1] * 1e6).round().argmax())


def candidates(score: Floats, start: int, end: int, settings: KeyframeSettings) -> tuple[int, ...]:
    """Frames of the window start..end with the highest scores, best first, at least an eighth of the window apart.

    `score` (T,) is 0 for frames that may not be chosen; scores are compared in millionths, ties go to the earlier
    frame. Empty where no frame of the window may be chosen.
    """
    part = (score[start : end + 1] * 1e6).round().astype(np.int64)
    apart = max(1, (end - start + 1) // 8)
    least = max(1, int(part.max() * settings.fit))
    found: list[int] = []
    while len(found) < settings.candidates:
        best = int(part.argmax())
        if part[best] < least:
            break
        found.append(start + best)
        part[max(0, best - apart) : best + apart + 1] = 0
    return tuple(found)


def near(score: Floats, start: int, end: int, evidence: Sequence[int], settings: KeyframeSettings) -> Floats:
    """(T,) `score`, lowered with the distance from the evidence (first, last frame) within the window start..end."""
    at = np.arange(len(score))
    away = np.maximum(np.maximum(evidence[0] - at, at - evidence[1]), 0)
    farthest = max(evidence[0] - start, end - evidence[1], 1)
    lowered: Floats = score * (1 - settings.distance * np.minimum(away / farthest, 1.0))
    return lowered
