"""The pictures of a report: small JPEGs in base64, in an album each (video, frame, size) once, however often shown."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vtscot.publish.jpegs import Jpegs
from vtscot.records import Episode

if TYPE_CHECKING:
    from vtscot.frames import Frames

QUALITY: Final = 70
BYTES_PER_PIXEL: Final = 0.2  # of a JPEG at that quality in base64, measured on textured frames


@dataclass(frozen=True)
class Sizes:
    """Area in pixels of a picture of the strip, of the sharp frame beside it, and of a thumbnail in the list."""

    small: int
    large: int
    thumb: int = 112 * 63


SIZES: Final = (Sizes(176 * 99, 512 * 288), Sizes(144 * 81, 416 * 234), Sizes(112 * 63, 352 * 198))
AIMS: Final = (100_000_000, 300_000_000)
"""Bytes of all pictures of a run up to which they have the first and the second size; beyond, they have the last."""


def choose_sizes(episodes: Iterable[tuple[str, Episode]]) -> Sizes:
    """The sizes of the pictures of these (video id, episode), by how many there are: a large run has smaller ones."""
    small: set[tuple[str, int]] = set()
    large: set[tuple[str, int]] = set()
    for video, episode in episodes:
        for observation in episode.observations:
            small.update((video, index) for index in observation.indices)
            large.add((video, observation.decoded))
    for sizes, aim in zip(SIZES, AIMS, strict=False):
        if (len(small) * sizes.small + len(large) * sizes.large) * BYTES_PER_PIXEL <= aim:
            return sizes
    return SIZES[-1]


class Album:
    """Collects pictures; `pictures` are base64 JPEGs, in the order in which they were first asked for."""

    def __init__(self, frames: Callable[[str], Frames]) -> None:
        self.pictures: list[str] = []
        self.size = 0  # characters of all pictures
        self._frames = frames
        self._opened: tuple[str, Frames, Jpegs] | None = None
        self._places: dict[tuple[str, int, int], int] = {}

    def frames(self, video: str) -> Frames:
        """The frames of a video; the last one stays open, since its episodes come one after the other."""
        return self._open(video)[0]

    def ahead(self, video: str, wanted: Sequence[tuple[int, int]]) -> None:
        """Make the pictures (frame, most pixels) of that video together: faster than each when it is asked for."""
        self._open(video)[1].made(wanted)

    def put(self, video: str, index: int, max_pixels: int) -> int:
        """The place of that picture in `pictures`."""
        key = video, index, max_pixels
        if key not in self._places:
            self._places[key] = len(self.pictures)
            self.pictures.append(self.picture(video, index, max_pixels))
            self.size += len(self.pictures[-1])
        return self._places[key]

    def picture(self, video: str, index: int, max_pixels: int) -> str:
        """A frame of at most so many pixels as JPEG in base64, which does not become part of the album."""
        (jpeg,) = self._open(video)[1].made([(index, max_pixels)])
        return base64.b64encode(jpeg).decode("ascii")

    def _open(self, video: str) -> tuple[Frames, Jpegs]:
        if self._opened is None or self._opened[0] != video:
            frames = self._frames(video)
            self._opened = video, frames, Jpegs(frames, QUALITY)
        return self._opened[1:]
