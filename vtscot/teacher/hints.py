"""Mined facts in words, for a teacher's eyes only, in terms of frames that have been shown.

A fact's frames are moved to the nearest shown ones: the exact numbers are annotation, and a thought that repeated
them would know more than the policy can see.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from vtscot.records import Fact, FactKind

_PHRASES: Final[dict[FactKind, str]] = {
    "visible": "the target is in view",
    "absent": "the target is out of view",
    "enters": "the target enters",
    "leaves": "the target leaves",
    "reappears": "the target comes back into view",
    "starts": "the target begins to move",
    "stops": "the target stops",
    "turns": "the target changes direction",
    "moves": "the target moves",
    "grows": "the target gets larger",
    "shrinks": "the target gets smaller",
    "nearest": "the target comes closest to another object",
    "overlaps": "the target and another object overlap",
    "passes": "the target passes another object",
    "similar": "another object looks much like the target",
    "largest": "the target is seen best",
}
_DIRECTIONS: Final = ("right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right")


def hints(facts: Sequence[Fact], shown: Collection[int]) -> tuple[str, ...]:
    """One phrase per fact, without repetitions; empty where nothing has been shown."""
    if not shown:
        return ()
    return tuple(dict.fromkeys(_hint(fact, sorted(shown)) for fact in facts))


def direction(radians: float) -> str:
    """The nearest of eight directions in the picture; 0 is right, pi/2 is down."""
    return _DIRECTIONS[round(radians / (math.pi / 4)) % 8]


def _hint(fact: Fact, shown: Sequence[int]) -> str:
    start, end = nearest(fact.start, shown), nearest(fact.end, shown)
    when = f"around frame {start}" if start == end else f"from around frame {start} to {end}"
    where = f" {direction(fact.value)}" if fact.kind == "moves" and fact.value is not None else ""
    return f"{_PHRASES[fact.kind]}{where} {when}"


def nearest(frame: int, shown: Collection[int]) -> int:
    """The shown frame nearest to `frame`; the earlier of two."""
    return min(sorted(shown), key=lambda index: (abs(index - frame), index))
