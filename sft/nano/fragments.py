"""Fragments of a reply's markup, in no order: what stands between the parts of an answer while nano reads and writes.

A base model has read tags, JSON and headings before it is taught a task. nano gets the same from these fragments: each
is drawn on its own, with numbers of the frames that are shown, so that it learns how one goes on and that its numbers
are copied, and nothing about which comes when: that is what the cold start teaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vtscot.grammar import TITLES

MOST: Final = 3  # fragments at one joint
_KINDS: Final = ("colour", "size", "number", "place", "time", "shape")
Rng = np.random.Generator


def draw_fragments(rng: Rng, frames: Sequence[int]) -> list[str]:
    """One to `MOST` fragments; their numbers are among `frames`."""
    return [_fragment(rng, frames) for _ in range(int(rng.integers(1, MOST + 1)))]


def _fragment(rng: Rng, frames: Sequence[int]) -> str:
    start, key, end = sorted(int(frame) for frame in rng.choice(np.asarray(frames), 3))
    action = ("select", "answer")[int(rng.integers(2))]
    titles = tuple(TITLES.values())
    count = int(rng.integers(1, 3))
    kinds = " and ".join(f"the {kind}" for kind in rng.choice(_KINDS, count, replace=False))
    options = (
        f"<think>{titles[0]}",
        *(f" {title}" for title in titles[1:]),
        f" What counts is {kinds}.",
        f" I look from {start} to {end}.",
        f" I look closer near frame {key}.",
        f" I am sure near frame {key}.",
        " I look again to be sure.",
        " I am sure that it is not here.",
        f'</think><{action}><VTG>{{"start": {start}, "end": {end}, "keyframe": {key}}}</VTG><RefSeg>',
        f'</think><{action}><VTG>{{"start": {start}, "end": {end}, "keyframe": {key}}}</VTG><RefSeg>',
        f"</RefSeg></{action}>",
    )
    return options[int(rng.integers(len(options)))]
