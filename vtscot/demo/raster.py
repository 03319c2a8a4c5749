"""Geometry of a world in pixels: who owns which pixel of which frame, and how much of everybody is covered by whom.

A pixel belongs to a shape if its centre does; the antialiased edge is drawn around exactly that border (alpha is
above one half inside and below outside).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .shapes import distance, reach
from .world import Actor, World

MIN_PIXELS = 12
"""An object with fewer pixels in view counts as not visible."""

PILLAR = 255
"""Owner label of pillar pixels; actors own their index + 1, the ground 0."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Stamp:
    """The part of a shape that falls into the frame: coverage 0..255 of a box with this top left corner.

    `core` is the coverage of the shape without its rim: textures stay within, so that outlines remain legible.
    """

    top: int
    left: int
    alpha: Bytes
    core: Bytes

    @property
    def box(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True)
class Film:
    """The rasterised world. Arrays over (actor, frame), pixel counts of int32.

    `inside` counts the pixels in the frame whether covered or not, `seen` those in view, and `hidden[a, b]` those of
    a that b covers; the last b stands for the pillars. Counts under `MIN_PIXELS` in `seen` are 0.
    """

    world: World
    stamps: tuple[tuple[Stamp | None, ...], ...]
    owners: Bytes
    inside: npt.NDArray[np.int32]
    seen: npt.NDArray[np.int32]
    hidden: npt.NDArray[np.int32]

    def mask(self, actor: int, frame: int) -> npt.NDArray[np.bool_]:
        """(height, width) visible pixels of an actor."""
        return np.asarray(self.owners[frame] == actor + 1)


def local_grid(
    top: int, left: int, shape: tuple[int, int], centre: npt.NDArray[np.float64], angle: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Coordinates of a box's pixels in an object's own, rotated frame: pixels from its centre."""
    x = (np.arange(left, left + shape[1]) - centre[0]).astype(np.float32)[None, :]
    y = (np.arange(top, top + shape[0]) - centre[1]).astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _stamp(actor: Actor, side: float, centre: npt.NDArray[np.float64], angle: float, world: World) -> Stamp | None:
    radius = reach(actor.look.shape, side) + 1
    left, top = (max(0, int(np.floor(value - radius))) for value in centre)
    right = min(world.width, int(np.ceil(centre[0] + radius)) + 1)
    bottom = min(world.height, int(np.ceil(centre[1] + radius)) + 1)
    if right <= left or bottom <= top:
        return None
    x, y = local_grid(top, left, (bottom - top, right - left), centre, angle)
    depth = 0.5 - distance(actor.look.shape, side, x, y)
    alpha, core = (np.clip(depth - rim, 0.0, 1.0) * 255 for rim in (0.0, max(1.5, 0.045 * side)))
    return Stamp(top, left, alpha.astype(np.uint8), core.astype(np.uint8))


def solid(stamp: Stamp) -> npt.NDArray[np.bool_]:
    """The pixels of a stamp whose centres are within the shape."""
    return np.asarray(stamp.alpha >= 128)


def _stamps(world: World, actor: Actor) -> list[Stamp | None]:
    """One stamp per frame; frames in which nothing changes share one."""
    sides, angles = actor.sides(world.frames, world.shorter), actor.angles(world.frames)
    centres = actor.path.centres(world.frames)
    stamps: list[Stamp | None] = []
    for t in range(world.frames):
        same = t > 0 and sides[t] == sides[t - 1] and np.array_equal(centres[t], centres[t - 1])
        stamps.append(stamps[-1] if same else _stamp(actor, sides[t], centres[t], angles[t], world))
    return stamps


def rasterise(world: World) -> Film:
    """Draws the owner of every pixel, far to near, and counts."""
    count, frames = len(world.actors), world.frames
    stamps = [_stamps(world, actor) for actor in world.actors]
    owners = np.zeros((frames, world.height, world.width), np.uint8)
    inside, seen = (np.zeros((count, frames), np.int32) for _ in range(2))
    hidden = np.zeros((count, count + 1, frames), np.int32)
    for t in range(frames):
        row = [stamps[actor][t] for actor in range(count)]
        _own(world, row, owners[t])
        for actor, stamp in enumerate(row):
            if stamp is not None:
                found = np.bincount(owners[t][stamp.box][solid(stamp)], minlength=256)
                inside[actor, t], seen[actor, t] = found.sum(), found[actor + 1]
                hidden[actor, :count, t], hidden[actor, count, t] = found[1 : count + 1], found[PILLAR]
                hidden[actor, actor, t] = 0
    seen[seen < MIN_PIXELS] = 0
    return Film(world, tuple(zip(*stamps, strict=True)), owners, inside, seen, hidden)


def far_to_near(world: World) -> list[int]:
    """Actor indices, and -1 - index for pillars, in the order of painting."""
    things = [(actor.depth, index) for index, actor in enumerate(world.actors)]
    things += [(pillar.depth, -1 - index) for index, pillar in enumerate(world.pillars)]
    return [index for _, index in sorted(things)]


def _own(world: World, stamps: list[Stamp | None], owner: Bytes) -> None:
    for index in far_to_near(world):
        if index < 0:
            pillar = world.pillars[-1 - index]
            owner[:, pillar.left : pillar.right] = PILLAR
        elif (stamp := stamps[index]) is not None:
            owner[stamp.box][solid(stamp)] = index + 1
