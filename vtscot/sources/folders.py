"""Frames as folders of images: what splits a tree has, and whether a video's frames are all there."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

from vtscot.errors import DataError
from vtscot.files import inside
from vtscot.records import Video
from vtscot.sources.base import Fault
from vtscot.sources.names import printable

SUFFIXES = (".jpg", ".jpeg", ".png")


def find_split(root: Path, split: str, meta_names: tuple[str, ...]) -> tuple[Path, Path]:
    """(folder of the split, its expressions file); DataError says what was looked for and which splits there are."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the splits with --root")
    known = sorted(d.name for d in root.iterdir() if any((d / name).is_file() for name in meta_names))
    if split not in known:
        wanted = " or ".join(f"{printable(split)}/{name}" for name in meta_names)
        there = f"splits here: {', '.join(known)}" if known else "no split is here; is it the right folder?"
        raise DataError(f"{root}: no {wanted}; {there}")
    folder = root / split
    return folder, next(folder / name for name in meta_names if (folder / name).is_file())


def inspect_folder(images: Path, video: Video) -> tuple[Video, list[Fault]]:
    """The video with the size of its first frame (its header only), and faults of the frames below `images`.

    The folder is listed once; no frame but the first is opened.
    """
    fault = Fault("frame-missing", "", video=video.name)
    try:
        folder = inside(images, video.name)
        with os.scandir(folder) as listing:
            found = {entry.name for entry in listing}
    except ValueError as error:
        return video, [replace(fault, kind="bad-name", detail=str(error))]
    except OSError as error:
        return video, [replace(fault, detail=f"the folder of its frames cannot be read ({error.strerror or error})")]
    stems = {name.rpartition(".")[0]: name for name in sorted(found) if name.lower().endswith(SUFFIXES)}
    missing = [i for i, name in enumerate(video.frames) if name not in stems]
    if missing:
        detail = (
            f"{len(missing)} of {len(video.frames)} frames are not on disk; the first is {video.frames[missing[0]]}"
        )
        return video, [replace(fault, detail=detail, frame=missing[0])]
    size = _size(folder / stems[video.frames[0]])
    if size is None:
        return video, [replace(fault, kind="frame-broken", detail=f"{stems[video.frames[0]]} is no image", frame=0)]
    return video.model_copy(update={"width": size[0], "height": size[1]}), []


def _size(path: Path) -> tuple[int, int] | None:
    """(width, height) from an image's header, None where it has none or claims to be a decompression bomb."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
