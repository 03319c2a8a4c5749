"""Masks that are PNG files, one per frame, as the tracks of an index: decoded once, for all objects of a frame.

What a pixel means: in a label image (`label` of a track) its value is the number of an object: the index of a palette
PNG (mode P), or the grey value of one saved without palette (1, L, I). Colours (RGB, RGBA) do not say which object they
mean: such a file is a fault. In a mask of one object (`label` None) whatever is not black belongs to it, in any mode.
An object without a pixel in a frame has no mask there.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vtscot.errors import MaskError
from vtscot.files import inside
from vtscot.frames import MAX_PIXELS, PIL_FAULTS
from vtscot.masks import Rle, is_empty
from vtscot.sources.base import Fault, RawEntry, RawMask

_GREY: Final = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


class PngError(MaskError):
    """A PNG that cannot be used; `kind` is that of the fault."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class PngTrack:
    """One object on its way from files to a track: `frames` are those in which it may have a mask."""

    anno_id: str
    label: int | None
    frames: range
    entries: list[RawEntry]
    fault: Fault | None = None
    absent: list[int] = field(default_factory=list)  # frames without a file, where that means without a mask

    def refuse(self, kind: str, detail: str, frame: int | None = None) -> None:
        """The first thing that is wrong with a track is what is said of it."""
        self.fault = self.fault or Fault(kind, detail, anno_id=self.anno_id, frame=frame)


def read_png_tracks(folder: Path, names: Sequence[str], tracks: Sequence[PngTrack], *, absent_ok: bool) -> None:
    """Fill in the entries of `tracks`, or their faults, from the files `<folder>/<name>.png`, one per frame.

    `absent_ok`: where a frame has no file its objects have no mask; else that is a fault. A file is opened only where
    a track asks for its frame.
    """
    there = _listing(folder, tracks)
    if there is None:
        return
    size: tuple[int, int] | None = None
    for i, name in enumerate(names):
        asking = [track for track in tracks if i in track.frames and track.fault is None]
        if asking and f"{name}.png" not in there:
            for track in asking:
                track.absent.append(i)
        elif asking:
            size = _read_frame(folder, name, i, asking, size)
    for track in tracks if not absent_ok else ():
        if track.absent and track.fault is None:
            first = track.absent[0]
            detail = (
                f"{len(track.absent)} of {len(track.frames)} masks are not on disk; the first is {names[first]}.png"
            )
            track.refuse("mask-missing", detail, first)


def _listing(folder: Path, tracks: Sequence[PngTrack]) -> set[str] | None:
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError as error:
        for track in tracks:
            track.refuse("mask-missing", f"the folder of its masks cannot be read ({error.strerror or error})")
        return None


def _read_frame(
    folder: Path, name: str, i: int, asking: Sequence[PngTrack], size: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Decode one file for the tracks that ask for it; the (height, width) that all files of the folder must have."""
    try:
        pixels = read_png(inside(folder, f"{name}.png"))
        if size is not None and pixels.shape[:2] != size:
            raise PngError("mask-size", f"{name}.png is {pixels.shape[:2]} where others are {size} (height, width)")
    except (PngError, ValueError) as error:
        for track in asking:
            track.refuse(error.kind if isinstance(error, PngError) else "bad-name", str(error), i)
        return size
    for track in asking:
        if pixels.ndim == 3 and track.label is not None:
            track.refuse("mask-mode", f"{name}.png is in colour: its pixels do not say which object they mean", i)
        else:
            track.entries[i] = _mask(pixels, track.label)
    height, width = pixels.shape[:2]
    return height, width


def _mask(pixels: npt.NDArray[Any], label: int | None) -> RawMask | None:
    """The mask of one object in the pixels of a file."""
    grey = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    rle = Rle.from_array(grey != 0 if label is None else grey == label)
    return None if is_empty(rle) else RawMask(rle.size, rle.counts.decode("ascii"))


def read_png(path: Path) -> npt.NDArray[Any]:
    """Pixels of a PNG: (H, W) indices or grey values, or (H, W, 3) colours; PngError for what is not a whole PNG."""
    from PIL import Image

    try:
        data = path.read_bytes()
        width, height = struct.unpack_from(">II", data, 16)
        if data[:8] != _SIGNATURE or width * height > MAX_PIXELS:
            raise ValueError(f"its header says {width} x {height} pixels" if data[:8] == _SIGNATURE else "no header")
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(image if image.mode in _GREY else image.convert("RGB"))
    except PIL_FAULTS as error:
        raise PngError("mask-broken", f"{path.name} is not a whole PNG ({error})") from None
