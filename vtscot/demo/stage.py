"""Sampling of a world: sizes, looks with twins, lanes, depths and pillars, from a plot and a named generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .motion import PROFILES, Path, Span
from .palette import COLOURS, FADES, SIZES, TEXTURES, Look
from .plots import PLOTS, Plot, Role, cast_roles
from .seeds import rng_for
from .shapes import SHAPES, reach
from .world import Actor, Change, Pillar, World

Rng = np.random.Generator

FORMATS = ((320, 240), (384, 216), (240, 320), (288, 288), (352, 264), (400, 240))
"""Width and height in pixels."""


def sample_world(seed: int, number: int, attempt: int) -> World:
    """The world of one attempt. A caller draws again where a world does not show what its plot intends."""
    rng = rng_for(seed, number, f"world/{attempt}")
    width, height = FORMATS[rng.integers(len(FORMATS))]
    frames = int(rng.integers(40, 121))
    count = int(rng.choice([3, 4, 5, 6], p=[0.15, 0.35, 0.35, 0.15]))
    roles = cast_roles(_plot(seed, number), count, rng)
    looks = _cast_looks(roles, rng)
    pillars = _pillars(roles, width, rng)
    paths = _paths(roles, looks, (width, height, frames), rng)
    depths = _depths(roles, pillars, rng)
    actors = tuple(
        _actor(role, look, path, depth, looks, frames, rng)
        for role, look, path, depth in zip(roles, looks, paths, depths, strict=True)
    )
    columns = tuple(replace(pillar, depth=count) for pillar in pillars)
    return World(seed, number, width, height, frames, actors, columns)


def _plot(seed: int, number: int) -> Plot:
    """Every plot once in each run of `len(PLOTS)` videos, in an order of its own per run."""
    run, place = divmod(number, len(PLOTS))
    order = rng_for(seed, run, "plots").permutation(len(PLOTS))
    return PLOTS[int(order[place])]


def _cast_looks(roles: list[Role], rng: Rng) -> list[Look]:
    """Twins first; the others have a shape and colour of their own and often share one of the two with somebody."""
    first = Look(_pick(SHAPES, rng), _pick(tuple(COLOURS), rng), _pick(TEXTURES, rng), _size(roles[:2], rng))
    twin = first if rng.random() < 0.6 else replace(first, texture=_pick(TEXTURES, rng), size=_size(roles[1:2], rng))
    looks = [first, twin]
    while len(looks) < len(roles):
        shape, colour = _pick(SHAPES, rng), _pick(tuple(COLOURS), rng)
        shared, model = rng.random(), looks[rng.integers(len(looks))]
        if shared < 0.3:
            shape = model.shape
        elif shared < 0.6:
            colour = model.colour
        if all((look.shape, look.colour) != (shape, colour) for look in looks):
            role = roles[len(looks)]
            looks.append(Look(shape, colour, _pick(TEXTURES, rng), _size([role], rng)))
    return looks


def _pick(names: tuple[str, ...], rng: Rng) -> str:
    return names[rng.integers(len(names))]


def _size(roles: list[Role], rng: Rng) -> str:
    """A size that all the roles may be played by."""
    allowed = [size for size in SIZES if all(not role.size or size in role.size for role in roles)]
    return _pick(tuple(allowed), rng)


def _pillars(roles: list[Role], width: int, rng: Rng) -> list[Pillar]:
    """A pillar where a role needs one, and now and then one more for the view."""
    needed = any(role.veiled for role in roles)
    pillars = []
    for share, place in ((1.0 if needed else 0.2, rng.uniform(0.36, 0.64)), (0.12, rng.choice([0.1, 0.9]))):
        if rng.random() < share:
            half = rng.uniform(0.055, 0.075) * width
            pillars.append(Pillar(int(place * width - half), int(place * width + half), 0))
    return pillars


def _depths(roles: list[Role], pillars: list[Pillar], rng: Rng) -> list[int]:
    """Distinct depths below and above `len(roles)`, the pillars' own; roles that pass behind or in front keep to it."""
    depths = [int(depth) for depth in rng.permutation(len(roles))]
    for actor, role in enumerate(roles):
        if role.behind:
            depths[actor] -= 2 * len(roles)
        if role.behind is False or (pillars and role.behind is None and rng.random() < 0.35):
            depths[actor] += 2 * len(roles)
    return depths


def _paths(roles: list[Role], looks: list[Look], form: tuple[int, int, int], rng: Rng) -> list[Path]:
    """One lane per actor, spread over the frame and shuffled; tied roles follow the actor they are tied to."""
    width, height, frames = form
    slots = [(slot + rng.uniform(0.35, 0.65)) / len(roles) for slot in rng.permutation(len(roles))]
    paths = []
    for role, look, slot in zip(roles, looks, slots, strict=True):
        length, breadth = (height, width) if role.vertical else (width, height)
        radius = reach(look.shape, _widest(role, look) * min(width, height))
        knots = PROFILES[role.profile](Span(length, radius + 2, frames), role.start, role.end, rng)
        across = float(np.clip(slot * breadth, radius + 2, breadth - radius - 2))
        slope = 0.0 if role.profile == "still" else float(rng.uniform(-0.045, 0.045))
        paths.append(Path(knots, length, across, slope, role.vertical, role.backward))
    tied = zip(paths, roles, looks, strict=True)
    return [_tied(path, role, look, looks, paths, (width, height)) for path, role, look in tied]


def _widest(role: Role, look: Look) -> float:
    """Greatest side of the role, as a share of the shorter side of the frame."""
    return SIZES[look.size] * (max(1.0, role.change) if isinstance(role.change, float) else 1.0)


def _tied(path: Path, role: Role, look: Look, looks: list[Look], paths: list[Path], form: tuple[int, int]) -> Path:
    """Moves a lane to, or next to, the lane of another actor."""
    if role.through is not None:
        return replace(path, across=paths[role.through].across, slope=0.0)
    if role.beside is None:
        return path
    other = paths[role.beside]
    gap = 0.55 * (SIZES[look.size] + SIZES[looks[role.beside].size]) * min(form)
    sign = 1 if other.across < form[1] / 2 else -1
    return replace(path, across=other.across + sign * gap, slope=other.slope)


def _actor(role: Role, look: Look, path: Path, depth: int, looks: list[Look], frames: int, rng: Rng) -> Actor:
    tilt = float(rng.uniform(-0.2, 0.2))
    roll = float(rng.choice([0.0, 0.0, 0.012, 0.02])) * (-1 if role.backward else 1)
    return Actor(look, path, depth, tilt, roll, _changed(role, look, looks, frames, rng))


def _changed(role: Role, look: Look, looks: list[Look], frames: int, rng: Rng) -> Change | None:
    if role.change is None:
        return None
    start = int(frames * rng.uniform(0.35, 0.55))
    if isinstance(role.change, float):
        return Change(start, start + 12, factor=role.change)
    used = {other.colour for other in looks}
    fresh = [colour for colour in FADES[look.colour] if colour not in used] or list(FADES[look.colour])
    return Change(start, start + 8, colour=_pick(tuple(fresh), rng))
