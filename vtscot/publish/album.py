"""The pictures of a report: small JPEGs, each distinct (video, frame, size) once, however many episodes show it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vtscot.records import Episode

if TYPE_CHECKING:
    from vtscot.frames import Frames

QUALITY: Final = 70
BYTES_PER_PIXEL: Final = 0.2  # of a JPEG at that quality in base64, measured on textured frames
AIM: Final = 13_000_000


@dataclass(frozen=True)
class Sizes:
    """Area in pixels of a thumbnail of the strip, and of the sharp frame beside it."""

    small: int
    large: int


SIZES: Final = (Sizes(176 * 99, 512 * 288), Sizes(144 * 81, 416 * 234), Sizes(112 * 63, 352 * 198))


def choose_sizes(episodes: Iterable[tuple[str, Episode]]) -> Sizes:
    """The largest sizes at which the pictures of these (video id, episode) should stay near `AIM` bytes in all."""
    small: set[tuple[str, int]] = set()
    large: set[tuple[str, int]] = set()
    for video, episode in episodes:
        for observation in episode.observations:
            small.update((video, index) for index in observation.indices)
            large.add((video, observation.decoded))
    for sizes in SIZES:
        if (len(small) * sizes.small + len(large) * sizes.large) * BYTES_PER_PIXEL <= AIM:
            return sizes
    return SIZES[-1]


class Album:
    """Collects pictures; `pictures` are base64 JPEGs, in the order in which they were first asked for."""

    def __init__(self, frames: Callable[[str], Frames]) -> None:
        self.pictures: list[str] = []
        self._frames = frames
        self._opened: tuple[str, Frames] | None = None
        self._places: dict[tuple[str, int, int], int] = {}

    def frames(self, video: str) -> Frames:
        """The frames of a video; the last one stays open, since its episodes come one after the other."""
        if self._opened is None or self._opened[0] != video:
            self._opened = video, self._frames(video)
        return self._opened[1]

    def put(self, video: str, index: int, max_pixels: int) -> int:
        """The place of that picture in `pictures`."""
        from vtscot.frames import encode_jpeg

        key = video, index, max_pixels
        if key not in self._places:
            jpeg = encode_jpeg(self.frames(video).image(index, max_pixels), QUALITY)
            self._places[key] = len(self.pictures)
            self.pictures.append(base64.b64encode(jpeg).decode("ascii"))
        return self._places[key]
