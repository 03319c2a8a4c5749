"""What happens in a video: each plot gives its leading actors roles that differ in one decisive respect.

Actors 0 and 1 are twins in looks; a plot sets them apart in what they do. Roles are data: `stage.py` turns them
into paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Role:
    """A profile of `motion.PROFILES` with its times, and how the role is tied to the stage or to another actor.

    `beside` runs in the lane next to that actor's, `through` in that actor's own lane; `behind` puts it behind or in
    front of everybody; `veiled` asks for a pillar on its way; `size` limits the sizes it may be played by. `change`
    is "colour" or a factor in size.
    """

    profile: str
    start: float = 0.0
    end: float = 0.0
    backward: bool = False
    vertical: bool = False
    beside: int | None = None
    through: int | None = None
    behind: bool | None = None
    veiled: bool = False
    size: tuple[str, ...] = ()
    change: str | float | None = None


Plot = Callable[[Rng], list[Role]]


def _flip(rng: Rng) -> bool:
    return bool(rng.random() < 0.5)


def _maybe_colour(rng: Rng) -> str | None:
    return "colour" if rng.random() < 0.4 else None


def _departures(rng: Rng) -> list[Role]:
    """Three leave one after the other, the twins first and last or next to each other."""
    ends = [rng.uniform(0.3, 0.36), rng.uniform(0.55, 0.62), rng.uniform(0.84, 0.94)]
    order = rng.permutation(3)
    starts = [0.0 if _flip(rng) else 0.12, 0.0 if _flip(rng) else 0.25, 0.45]
    return [Role("depart", starts[k], ends[k], backward=_flip(rng)) for k in order]


def _arrivals(rng: Rng) -> list[Role]:
    starts = [rng.uniform(0.03, 0.08), rng.uniform(0.34, 0.4), rng.uniform(0.6, 0.7)]
    return [Role("arrive", starts[k], starts[k] + 0.24, backward=_flip(rng)) for k in rng.permutation(3)]


def _opposite(rng: Rng) -> list[Role]:
    side = _flip(rng)
    a, b = rng.uniform(0.1, 0.2), rng.uniform(0.75, 0.88)
    return [Role("drift", a, b, backward=side), Role("drift", a, b, backward=not side), _extra(rng)]


def _halt(rng: Rng) -> list[Role]:
    side = _flip(rng)
    stopper = Role("halt", 0, rng.uniform(0.4, 0.6), backward=side)
    if _flip(rng):
        stopper = Role("pause", 0.3, 0.56, backward=side)
    return [
        stopper,
        Role("drift", 0.12, 0.85, backward=side),
        Role("turn", rng.uniform(0.45, 0.55), change=_maybe_colour(rng)),
    ]


def _overtake(rng: Rng) -> list[Role]:
    side = _flip(rng)
    fast = Role("drift", 0.1, 0.9, backward=side, beside=2, size=("small", "medium"))
    slow = Role("drift", 0.34, 0.62, backward=side, size=("small", "medium"))
    return [fast, Role("drift", 0.3, 0.68, backward=not side), slow]


def _behind(rng: Rng) -> list[Role]:
    side = _flip(rng)
    hidden = Role("drift", 0.12, 0.88, backward=side, through=2, behind=True, size=("small", "medium"))
    open_air = Role("drift", 0.12, 0.88, backward=side)
    return [hidden, open_air, Role("still", size=("medium", "large"))]


def _veil(rng: Rng) -> list[Role]:
    side = _flip(rng)
    hidden = Role("drift", 0.1, 0.9, backward=side, veiled=True, behind=True, size=("small", "medium"))
    return [hidden, Role("drift", 0.1, 0.9, backward=not side, behind=False), _extra(rng)]


def _change(rng: Rng) -> list[Role]:
    start = rng.uniform(0.3, 0.6)
    change = "colour" if _flip(rng) else float(rng.choice([1.65, 0.58]))
    size = {1.65: ("small", "medium"), 0.58: ("medium", "large")}.get(change, ()) if isinstance(change, float) else ()
    twins = [Role(str(rng.choice(["still", "drift"])), 0.15, 0.8, backward=_flip(rng), size=size) for _ in range(2)]
    twins[0] = replace(twins[0], change=change)
    return [*twins, Role("turn", start)]


def _return(rng: Rng) -> list[Role]:
    side = _flip(rng)
    back = Role("reappear", rng.uniform(0.26, 0.32), rng.uniform(0.52, 0.6), backward=side)
    return [back, Role("depart", 0.0, rng.uniform(0.4, 0.7), backward=side), Role("drift", 0.15, 0.8)]


PLOTS: tuple[Plot, ...] = (
    _departures,
    _arrivals,
    _opposite,
    _halt,
    _overtake,
    _behind,
    _veil,
    _change,
    _return,
)


def _extra(rng: Rng) -> Role:
    """Somebody who happens to be there; every other one is in view for a part of the time only."""
    kind = str(rng.choice(list(_EXTRAS), p=[share for share, _ in _EXTRAS.values()]))
    return replace(_EXTRAS[kind][1](rng), backward=_flip(rng))


def _dash(rng: Rng) -> Role:
    start = rng.uniform(0.1, 0.65)
    return Role("cross", start, start + rng.uniform(0.24, 0.3), vertical=rng.random() < 0.3)


def _stroll(rng: Rng) -> Role:
    return Role("drift", 0.15, rng.uniform(0.6, 0.85), vertical=rng.random() < 0.4, change=_maybe_colour(rng))


_EXTRAS: dict[str, tuple[float, Callable[[Rng], Role]]] = {
    "stand": (0.16, lambda rng: Role("still", change=_maybe_colour(rng))),
    "stroll": (0.1, _stroll),
    "dash": (0.32, _dash),
    "late": (0.12, lambda rng: Role("arrive", 0.66, 0.86)),
    "depart": (0.16, lambda rng: Role("depart", 0.0, rng.uniform(0.25, 0.75))),
    "turn": (0.07, lambda rng: Role("turn", rng.uniform(0.4, 0.6), change=_maybe_colour(rng))),
    "halt": (0.07, lambda rng: Role("halt", 0.0, rng.uniform(0.35, 0.6), change=_maybe_colour(rng))),
}
"""Passers-by: how often each kind occurs, and its role but for the direction."""


def cast_roles(plot: Plot, actors: int, rng: Rng) -> list[Role]:
    """Roles of all actors: the plot's three, then passers-by."""
    return plot(rng) + [_extra(rng) for _ in range(actors - 3)]
