"""Fragments of a reply's markup, in no order: what stands between the parts of an answer while nano reads and writes.

A base model has read tags, JSON and headings before it is taught a task, and can say again what was said. nano gets the
same from these fragments. Which comes when is left to chance: that is what the cold start teaches. Those of one reply
agree (`Said`): a window, a frame of it that shows the target, and whether it is looked at again or answered, in words
and tags alike; so all but the first of them can be told from what stands before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vtscot.grammar import TITLES

MOST: Final = 3  # fragments at one joint
ELSEWHERE: Final = 0.6  # share of the windows that end anywhere around the keyframe, not where the target is seen
_KINDS: Final = ("colour", "size", "number", "place", "time", "shape")
Rng = np.random.Generator


@dataclass(frozen=True)
class Said:
    """What the fragments of one reply agree on."""

    start: int
    end: int
    key: int
    action: str
    kinds: str


def draw_said(rng: Rng, frames: Sequence[int], seen: Sequence[bool]) -> Said:
    """A window of shown `frames` around one of those that are `seen` to hold the target, or any where none is."""
    shown = np.array([frame for frame, there in zip(frames, seen, strict=True) if there] or frames)
    key = int(rng.choice(shown))
    start, end = shown[0], shown[-1]
    if rng.random() < ELSEWHERE:
        start = rng.choice([frame for frame in frames if frame <= key])
        end = rng.choice([frame for frame in frames if frame >= key])
    kinds = rng.choice(_KINDS, int(rng.integers(1, 3)), replace=False)
    action = ("select", "answer")[int(rng.integers(2))]
    return Said(int(start), int(end), key, action, " and ".join(f"the {kind}" for kind in kinds))


def draw_fragments(rng: Rng, said: Said | None) -> list[str]:
    """One to `MOST` fragments; None: before the table, to which their numbers would tell the answer, so without any."""
    options = _plain() if said is None else (*_plain(), *_agreed(said))
    return [options[int(rng.integers(len(options)))] for _ in range(int(rng.integers(1, MOST + 1)))]


def _plain() -> tuple[str, ...]:
    first, *titles = TITLES.values()
    return (
        f"<think>{first}",
        *(f" {title}" for title in titles),
    )


def _agreed(said: Said) -> tuple[str, ...]:
    window = f'{{"start": {said.start}, "end": {said.end}, "keyframe": {said.key}}}'
    again = said.action == "select"
    return (
        f" What counts is {said.kinds}.",
        f" {'I look' if again else 'It is there'} from {said.start} to {said.end}.",
        f" {'I look closer' if again else 'I am sure'} near frame {said.key}.",
        " I look again to be sure." if again else " I am sure that it is not here.",
        *(f"</think><{said.action}><VTG>{window}</VTG><RefSeg>",) * 4,
        f"</RefSeg></{said.action}>",
    )
