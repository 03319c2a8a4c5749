"""JPEGs of the frames of one video: each made once, several at a time.

Pillow decodes, shrinks and encodes without holding Python up, so threads share that work out over the cores.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtscot.frames import JPEG_QUALITY, Frames, encode_jpeg
from vtscot.processes import cores

MOST_THREADS: Final = 16  # each holds a whole frame while it shrinks it

Key = tuple[int, int]  # frame, most pixels


class Jpegs:
    """Makes the JPEGs of `frames` and keeps them."""

    def __init__(self, frames: Frames, quality: int = JPEG_QUALITY) -> None:
        self._frames, self._quality = frames, quality
        self._kept: dict[Key, bytes] = {}

    def made(self, keys: Sequence[Key]) -> list[bytes]:
        """Those of `keys`, in order; FrameError for a frame that cannot be read any more."""
        new = [key for key in dict.fromkeys(keys) if key not in self._kept]
        if new:
            self._kept.update(zip(new, _threads().map(self._make, new), strict=True))
        return [self._kept[key] for key in keys]

    def _make(self, key: Key) -> bytes:
        return encode_jpeg(self._frames.image(*key), self._quality)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(cores(), MOST_THREADS), thread_name_prefix="jpeg")
