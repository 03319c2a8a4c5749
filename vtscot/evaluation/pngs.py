"""Predictions as PNG files, in a folder or in a zip: `[Annotations/]<video>/<expression>/<frame>.png`.

Files are untrusted: the size is compared before anything is decoded, names of zip members may not lead anywhere else,
and members that unpack to more than any mask needs are refused unread.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from vtscot.errors import DataError, MaskError
from vtscot.evaluation.predictions import Asked, Place, Prediction, Size, frames_to_read, refusal
from vtscot.files import inside
from vtscot.frames import MAX_PIXELS
from vtscot.masks import Bools, Rle
from vtscot.sources.names import bad_name, printable
from vtscot.tracks import MaskTrack

ROOT: Final = "Annotations"
MAX_FILE: Final = 1 << 26  # bytes of one PNG; a noisy 8k mask has 4 million
MAX_MEMBERS: Final = 1 << 22
_FAULTS: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


class _PngPredictions:
    """What folder and zip share: folders that hold PNGs, by their path below the root."""

    path: Path
    _folders: frozenset[str]

    def find(self, video: str, exp_id: str) -> Place | None:
        folder = f"{video}/{exp_id}"
        return folder if folder in self._folders else None

    def find_video(self, video: str) -> Place | None:
        return video if video in self._folders else None

    def others(self, asked: Collection[tuple[str, str]], videos: Collection[str]) -> Iterator[str]:
        known = {f"{video}/{exp_id}" for video, exp_id in asked} | set(videos)
        yield from map(printable, sorted(self._folders - known))

    def read(self, place: Place, asked: Asked) -> Prediction:
        try:
            return self._read(str(place), asked)
        except MaskError as error:
            raise refusal(self.path, asked, error) from None

    def _read(self, folder: str, asked: Asked) -> Prediction:
        names = frames_there(self._names(folder), asked)
        size, counts, values = asked.size, [], set()
        for name in names:
            try:
                mask, value = decode_png(self._bytes(folder, name), size, asked.numbers)
            except MaskError as error:
                raise MaskError(f"frame {printable(name)}: {error}") from None
            size = mask.shape[0], mask.shape[1]
            values.add(value)
            counts.append(Rle.from_array(mask).counts)
        values.discard(0)
        if len(values) > 1 and not asked.numbers:
            raise MaskError(f"foreground is {_listed(values)} in different frames; one value is needed")
        return Prediction(MaskTrack(*(size or (1, 1)), tuple(counts)), max(values, default=1))

    def _names(self, folder: str) -> set[str]:
        raise NotImplementedError

    def _bytes(self, folder: str, name: str) -> bytes:
        raise NotImplementedError


class FolderPredictions(_PngPredictions):
    """A folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / ROOT if (path / ROOT).is_dir() else path
        found = set()
        for directory, _, names in os.walk(self.root, onerror=self._refuse):
            if any(_is_png(name) for name in names):
                found.add(Path(directory).relative_to(self.root).as_posix())
        self._folders = frozenset(found)

    def _names(self, folder: str) -> set[str]:
        with os.scandir(self._inside(folder)) as listing:
            return {entry.name[:-4] for entry in listing if _is_png(entry.name)}

    def _bytes(self, folder: str, name: str) -> bytes:
        path = self._inside(folder, name + ".png")
        try:
            if path.stat().st_size > MAX_FILE:
                raise MaskError("a file of more than 64 MiB is no mask")
            return path.read_bytes()
        except OSError as error:
            raise MaskError(f"cannot be read ({error.strerror or error})") from None

    def _inside(self, *parts: str) -> Path:
        try:
            return inside(self.root, *parts)
        except ValueError as error:
            raise MaskError(str(error)) from None

    def _refuse(self, error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror or error})")


class ZipPredictions(_PngPredictions):
    """A zip of such a folder; nothing is unpacked to disk."""

    kept: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folders = frozenset(self._members)

    def _names(self, folder: str) -> set[str]:
        return set(self._members[folder])

    def _bytes(self, folder: str, name: str) -> bytes:
        member = self._members[folder][name]
        if member.file_size > MAX_FILE:
            raise MaskError(f"unpacks to {member.file_size:,} bytes, more than any mask; refused as a zip bomb")
        try:
            return self._file.read(member)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, *_FAULTS) as error:
            raise MaskError(f"cannot be unpacked ({error})") from None

    @cached_property
    def _file(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, *_FAULTS) as error:
            raise DataError(f"{self.path}: no whole zip ({error}); is the file complete?") from None

    @cached_property
    def _members(self) -> dict[str, dict[str, zipfile.ZipInfo]]:
        """Members by folder below the root and name without .png."""
        members = self._file.infolist()
        if len(members) > MAX_MEMBERS:
            raise DataError(f"{self.path}: {len(members):,} files are more than any set of predictions has")
        for member in members:
            self._check_name(member.filename)
        prefix = f"{ROOT}/"
        cut = len(prefix) if any(member.filename.startswith(prefix) for member in members) else 0
        folders: dict[str, dict[str, zipfile.ZipInfo]] = {}
        for member in members:
            folder, _, name = member.filename[cut:].rpartition("/")
            if member.is_dir() or not _is_png(name) or member.filename.startswith("__MACOSX/"):
                continue
            if name[:-4] in folders.setdefault(folder, {}):
                raise DataError(f"{self.path}: {printable(member.filename)} comes twice; which one is meant?")
            folders[folder][name[:-4]] = member
        return folders

    def _check_name(self, name: str) -> None:
        if bad_name(name.removesuffix("/"), slashes=True):
            raise DataError(f"{self.path}: {printable(name)!r} leads out of the zip or is no name; nothing was read")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # the directory is read again where the zip is used


def frames_there(there: set[str], asked: Asked) -> list[str]:
    """Names of the frames to read, in order; MaskError where frames are missing or are not of the video."""
    counted = [asked.frames[i] for i in asked.counted or ()]
    if asked.counted is not None and there == set(counted):
        return counted
    missing = [name for name in asked.frames if name not in there]
    more = sorted(there - set(asked.frames))
    if missing or more:
        what = f"{len(missing)} of {len(asked.frames)} frames are missing, the first is {missing[0]}" if missing else ""
        odd = f"{len(more)} files are of no frame of the video, the first is {printable(more[0])}.png" if more else ""
        raise MaskError("; ".join(part for part in (what, odd) if part))
    return [asked.frames[i] for i in frames_to_read(len(there), asked)]


def decode_png(data: bytes, size: Size | None, numbers: Collection[int] = ()) -> tuple[Bools, int]:
    """(mask (H, W), value of its foreground or 0); MaskError for what is no mask of `size` (height, width).

    With `numbers` the foreground is every pixel that has one of these values, and any other values may occur.
    """
    array = _pixels(data, size)
    if numbers:
        return np.isin(array, np.array(sorted(numbers))), 0
    mask = array != 0
    value = int(array.max(initial=0))
    if np.any(mask & (array != value)):
        found = np.unique(array[mask]).tolist()
        raise MaskError(f"foreground has the values {_listed(found)}; a mask has 0 and one other value")
    return mask, value


def _pixels(data: bytes, size: Size | None) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            found = image.height, image.width
            if size is not None and found != size:
                raise MaskError(f"a mask of {found} in a frame of {size} (height, width); predictions are not resized")
            if found[0] * found[1] > MAX_PIXELS:
                raise MaskError(f"{found[0]} x {found[1]} pixels are more than any frame has")
            if image.mode not in ("1", "L", "P"):
                raise MaskError(f"a PNG of mode {image.mode}; masks have one channel of at most 8 bits (1, L or P)")
            return np.asarray(image).astype(np.uint8, copy=False)
    except MaskError:
        raise
    except (Image.DecompressionBombError, *_FAULTS) as error:
        raise MaskError(f"no whole PNG ({error})") from None


def _is_png(name: str) -> bool:
    return name.endswith(".png") and not name.startswith("._")


def _listed(values: Collection[int]) -> str:
    shown = [str(value) for value in sorted(values)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
