"""Pixels: a slowly panning, muted ground, pillars, and the actors with texture, soft light and antialiased edges.

Frames are BGR uint8, as OpenCV wants them.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from .palette import second_tone
from .raster import Bytes, Film, Stamp, far_to_near, local_grid
from .seeds import rng_for
from .world import Actor, Pillar, World

Pixels = npt.NDArray[np.floating]

GROUNDS = (
    ((92, 104, 112), (134, 142, 142), (166, 166, 156)),
    ((104, 98, 88), (144, 136, 122), (174, 168, 152)),
    ((86, 100, 92), (126, 138, 124), (162, 168, 150)),
    ((98, 92, 104), (136, 130, 142), (170, 164, 168)),
    ((84, 96, 104), (128, 128, 124), (172, 160, 146)),
)
"""Dark, middle and light tone (RGB) of a ground: greyish, of middle lightness, unlike any object."""


def frames(film: Film) -> Iterator[Bytes]:
    """The frames of a film, in order."""
    world = film.world
    ground = _Ground(world)
    brushes = [_Brush(actor, world) for actor in world.actors]
    pillars = [(pillar, _pillar(pillar, world)) for pillar in world.pillars]
    order = far_to_near(world)
    for t in range(world.frames):
        image = ground.at(t)
        for index in order:
            if index < 0:
                pillar, strip = pillars[-1 - index]
                image[:, pillar.left : pillar.right] = strip
            elif (stamp := film.stamps[t][index]) is not None:
                brushes[index].paint(image, stamp, t)
        yield image


class _Ground:
    """Value noise on a canvas larger than the frame, of which each frame is a crop that drifts along a gentle curve."""

    def __init__(self, world: World) -> None:
        rng = rng_for(world.seed, world.number, "ground")
        self._size = (world.width, world.height)
        self._heading = rng.uniform(0, 2 * np.pi)
        self._bend = rng.uniform(-0.012, 0.012)
        self._margin = 48
        shape = (world.height + 2 * self._margin, world.width + 2 * self._margin)
        tones = np.array(GROUNDS[rng.integers(len(GROUNDS))], dtype=np.float32)
        self._canvas = _tint(_noise(shape, rng), tones[:, ::-1], rng)
        # Starts off centre, against the heading, so that the whole drift stays on the canvas.
        steps = self._heading + self._bend * np.arange(world.frames)
        track = np.cumsum(np.stack((np.cos(steps), np.sin(steps)), axis=1), axis=0)
        reach = np.abs(track - track.mean(axis=0)).max()
        self._track = (track - track.mean(axis=0)) * min(0.45, (self._margin - 2) / reach)

    def at(self, t: int) -> Bytes:
        """A fresh array with the ground of frame t; shifts of fractions of a pixel are interpolated."""
        x, y = self._track[t] + np.array(self._canvas.shape[1::-1]) / 2 - 0.5
        return np.asarray(cv2.getRectSubPix(self._canvas, self._size, (float(x), float(y))), dtype=np.uint8)


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Octaves of smoothly interpolated random grids, scaled to 0..1."""
    total = np.zeros(shape, np.float32)
    for octave, cell in enumerate((96, 44, 20, 9, 4)):
        grid = rng.random((shape[0] // cell + 3, shape[1] // cell + 3), dtype=np.float32)
        total += 0.58**octave * cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    low, high = np.quantile(total, (0.02, 0.98))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), dtype=np.float32)


def _tint(noise: Pixels, tones: Pixels, rng: np.random.Generator) -> Bytes:
    """Dark to light tones along the noise, with a fine grain."""
    stops = np.linspace(0, 1, len(tones))
    image = np.stack([np.interp(noise, stops, tones[:, channel]) for channel in range(3)], axis=2)
    grain = rng.normal(0, 2.2, noise.shape)[..., None]
    return np.asarray(np.clip(image + grain, 0, 255), dtype=np.uint8)


def _pillar(pillar: Pillar, world: World) -> Bytes:
    """A round stone column: dark edges, a highlight left of the middle, horizontal joints."""
    rng = rng_for(world.seed, world.number, f"pillar/{pillar.left}")
    width = pillar.right - pillar.left
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light = 0.45 + 0.55 * np.sqrt(np.clip(1 - (across * 0.92 + 0.18) ** 2, 0.02, 1))
    rough = 0.88 + 0.24 * _noise((world.height, width), rng)
    rows = (np.arange(world.height) + rng.integers(60)) % 64
    joints = np.where(rows < 2, 0.8, 1.0)[:, None]
    stone = np.array((108, 120, 126), np.float32) * (light * rough * joints)[..., None]
    return np.asarray(np.clip(stone, 0, 255), dtype=np.uint8)


class _Brush:
    """Paints one actor. Texture and light live in the object's own coordinates and move with it."""

    def __init__(self, actor: Actor, world: World) -> None:
        self._actor = actor
        self._sides = actor.sides(world.frames, world.shorter)
        self._centres = actor.path.centres(world.frames)
        self._angles = actor.angles(world.frames)
        self._colours = actor.paint(world.frames)

    def paint(self, image: Bytes, stamp: Stamp, t: int) -> None:
        side = self._sides[t]
        x, y = local_grid(stamp.top, stamp.left, stamp.alpha.shape, self._centres[t], self._angles[t])
        base = tuple(float(value) for value in self._colours[t])
        first = np.array(base[::-1], np.float32)
        second = np.array(second_tone((base[0], base[1], base[2]))[::-1], np.float32)
        mix = (_texture(self._actor.look.texture, x / side, y / side) * (stamp.core / np.float32(255)))[..., None]
        colour = (first + mix * (second - first)) * _light(stamp, side, self._centres[t])[..., None]
        alpha = stamp.alpha[..., None].astype(np.float32) / 255
        under = image[stamp.box]
        image[stamp.box] = np.clip(under + alpha * (colour - under) + 0.5, 0, 255).astype(np.uint8)


def _light(stamp: Stamp, side: float, centre: npt.NDArray[np.float64]) -> Pixels:
    """A gentle shade from the upper left to the lower right, fixed to the frame as light is."""
    x, y = local_grid(stamp.top, stamp.left, stamp.alpha.shape, centre, 0.0)
    return np.asarray(np.clip(1.0 - 0.11 * (x + y) / side, 0.84, 1.1))


def _texture(name: str, u: Pixels, v: Pixels) -> Pixels:
    """Share of the second tone, 0..1, at coordinates in units of the side; steps are softened for small objects."""
    if name == "striped":
        return _step(np.sin(2 * np.pi * (u + v) * 2.6))
    if name == "checked":
        return _step(3 * np.sin(2 * np.pi * u * 1.9) * np.sin(2 * np.pi * v * 1.9))
    if name == "dotted":
        p, q = (u + v) * 2.6, (u - v) * 2.6
        return _step(6 * (0.3 - np.hypot(p - np.round(p), q - np.round(q))))
    return np.zeros(np.broadcast_shapes(u.shape, v.shape), np.float32)


def _step(wave: Pixels) -> Pixels:
    return np.asarray(np.clip(0.5 + 2.0 * wave, 0, 1))
