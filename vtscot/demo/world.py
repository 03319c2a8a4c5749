"""A world: actors on paths, pillars they may pass behind, and the order in depth. Pure data; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .motion import Path
from .palette import COLOURS, SIZES, Look

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A smooth change between two frames: to a colour, or by a factor in size."""

    start: int
    end: int
    colour: str | None = None
    factor: float = 1.0

    def progress(self, frames: int) -> Floats:
        """0 before, 1 after, a smooth step between; one value per frame."""
        t = np.clip((np.arange(frames) - self.start) / (self.end - self.start), 0.0, 1.0)
        return np.asarray(t * t * (3 - 2 * t))


@dataclass(frozen=True)
class Actor:
    """One object. `depth` orders it against the others and the pillars: greater is nearer to the viewer."""

    look: Look
    path: Path
    depth: int
    tilt: float = 0.0
    roll: float = 0.0
    change: Change | None = None

    def sides(self, frames: int, shorter: int) -> Floats:
        """(frames,) side in pixels: the square root of the whole shape's area."""
        side = np.full(frames, SIZES[self.look.size] * shorter)
        if self.change is None:
            return side
        return side * (1 + (self.change.factor - 1) * self.change.progress(frames))

    def paint(self, frames: int) -> Floats:
        """(frames, 3) base colour, RGB 0..255."""
        first = np.array(COLOURS[self.look.colour], dtype=np.float64)
        if self.change is None or self.change.colour is None:
            return np.tile(first, (frames, 1))
        last = np.array(COLOURS[self.change.colour], dtype=np.float64)
        return first + self.change.progress(frames)[:, None] * (last - first)

    def angles(self, frames: int) -> Floats:
        """(frames,) rotation in radians; an object rolls as it travels, so what rests does not spin."""
        steps = np.diff(self.path.centres(frames), axis=0, prepend=self.path.centres(1))
        travelled = np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))
        return np.asarray(self.tilt + self.roll * travelled)


@dataclass(frozen=True)
class Pillar:
    """A column of the scenery, over the full height, columns `left` to `right` (exclusive). Not an object."""

    left: int
    right: int
    depth: int


@dataclass(frozen=True)
class World:
    """Everything that decides the pixels and the expressions of one video."""

    seed: int
    number: int
    width: int
    height: int
    frames: int
    actors: tuple[Actor, ...]
    pillars: tuple[Pillar, ...]

    @property
    def name(self) -> str:
        return f"demo-{self.seed}-{self.number:04d}"

    @property
    def shorter(self) -> int:
        return min(self.width, self.height)
