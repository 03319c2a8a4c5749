"""How hard a query is, in [0, 1], and how many looks that deserves.

difficulty = sum of weight * term, each term in [0, 1]:
  words     what the expression says about time, motion, order, relation (cues.py)
  rivals    1 - 2^-n, n = other objects of nearly the same size and shape that are seen together with the target
  brief     share of the video in which the target is not visible
  small     1 - sqrt(largest area / `large` of the frame), not below 0
  covered   mean share of the target's box inside another object's box
Below `one_look` a query is answered at once, from `two_looks` on it deserves two looks. A query whose words need time,
or whose target is not well seen in the frame that an answer at once is decoded on, counts as `one_look` at the least.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field, model_validator

from vtscot.mining.scene import Scene
from vtscot.records import Fact, Frozen
from vtscot.words.cues import Cues

Share = Field(ge=0, le=1)


class DifficultySettings(Frozen):
    """Weights of the terms and the two thresholds."""

    words: float = Field(default=0.4, ge=0, le=1)
    rivals: float = Field(default=0.25, ge=0, le=1)
    brief: float = Field(default=0.25, ge=0, le=1)
    small: float = Field(default=0.15, ge=0, le=1)
    covered: float = Field(default=0.15, ge=0, le=1)
    large: float = Field(default=0.08, gt=0, le=1, description="share of the frame from which a target counts as large")
    one_look: float = Field(default=0.25, gt=0, le=1)
    two_looks: float = Field(default=0.55, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> DifficultySettings:
        if self.two_looks < self.one_look:
            raise ValueError(f"two_looks ({self.two_looks}) is below one_look ({self.one_look})")
        return self


def difficulty(
    scene: Scene, facts: tuple[Fact, ...], cues: Cues, well_seen: bool, settings: DifficultySettings
) -> float:
    """`well_seen`: the target can be told in the frame that an answer at once is decoded on."""
    rivals = sum(fact.kind == "similar" for fact in facts)
    largest = float(scene.area.max()) / (scene.height * scene.width)
    seen = int(np.count_nonzero(scene.seen))
    covered = float(scene.cover.sum()) / seen
    value = (
        settings.words * cues.weight
        + settings.rivals * (1 - math.exp2(-rivals))
        + settings.brief * (1 - seen / len(scene))
        + settings.small * max(0.0, 1 - math.sqrt(largest / settings.large))
        + settings.covered * min(1.0, covered)
    )
    if cues.weight or not well_seen:
        value = max(value, settings.one_look)
    return round(min(1.0, value), 4)


def without_target(cues: Cues, objects: int, settings: DifficultySettings) -> float:
    """For a query that means nothing in the video: its words, and how many objects must be ruled out.

    It counts as `one_look` or harder exactly where its words need time.
    """
    value = settings.words * cues.weight + settings.rivals * (1 - math.exp2(-objects / 4))
    value = max(value, settings.one_look) if cues.weight else min(value, settings.one_look / 2)
    return round(min(1.0, value), 4)


def looks_for(value: float, settings: DifficultySettings, max_turns: int) -> int:
    """0, 1 or 2, and always a turn left for the answer."""
    looks = int(value >= settings.one_look) + int(value >= settings.two_looks)
    return min(looks, max_turns - 1)
