"""Frames as folders of images: what splits a tree has, and whether a video's frames are all there."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vtscot.errors import DataError, SplitError
from vtscot.files import inside
from vtscot.records import Video
from vtscot.sources.base import Fault
from vtscot.sources.names import printable

SUFFIXES = (".jpg", ".jpeg", ".png")


def find_meta(root: Path, split: str, *patterns: str) -> Path:
    """The expressions file of a split; DataError says what was looked for and which splits there are.

    Patterns are paths below `root` with `{split}` in it, once or more; where two files fit, the first pattern counts.
    """
    _check_root(root)
    known: dict[str, Path] = {}
    for pattern in patterns:
        for name, path in _matches(root, pattern):
            known.setdefault(name, path)
    if split not in known:
        wanted = " or ".join(pattern.replace("{split}", printable(split)) for pattern in patterns)
        there = f"splits here: {', '.join(sorted(known))}" if known else "no split is here; is it the right folder?"
        raise SplitError(f"{root}: no {wanted}; {there}", tuple(sorted(known)))
    return known[split]


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the dataset with --root")


def _matches(root: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """(split, file) of all files below `root` that fit."""
    slot = re.escape("{split}")
    shape = re.escape(pattern).replace(slot, "(?P<split>[^/]+)", 1).replace(slot, "(?P=split)")
    for path in sorted(root.glob(pattern.replace("{split}", "*"))):
        found = re.fullmatch(shape, path.relative_to(root).as_posix())
        if found and path.is_file():
            yield found["split"], path


def find_fixed(root: Path, split: str, only: str, name: str) -> Path:
    """The expressions file of a dataset that has one split, called `only`."""
    _check_root(root)
    if (root / name).is_file() and split == only:
        return root / name
    if not (root / name).is_file():
        raise SplitError(f"{root}: no {name} is here; is it the right folder?", ())
    raise SplitError(f"{root}: no split {printable(split)!r}; splits here: {only}", (only,))


def first_folder(parent: Path, *names: str) -> Path:
    """The first of these folders below `parent` that is there, else the first: what is missing is told later."""
    return next((parent / name for name in names if (parent / name).is_dir()), parent / names[0])


def inspect_folder(images: Path, video: Video, name: str | None = None) -> tuple[Video, list[Fault]]:
    """The video with the size of its first frame (its header only), and faults of the frames below `images`.

    `name` is the folder of the frames, by default the video's name. It is listed once; only the first frame is opened.
    """
    fault = Fault("frame-missing", "", video=video.name)
    try:
        folder = inside(images, name or video.name)
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
    return video.model_copy(update={"width": size[0], "height": size[1]}), _other_size(video, size)


def _other_size(video: Video, size: tuple[int, int]) -> list[Fault]:
    """A note where the annotations state another size than the frames (width, height) have: the frames count."""
    if video.width is None or (video.width, video.height) == size:
        return []
    detail = f"stated as {video.width} x {video.height}, the frames are {size[0]} x {size[1]} (width x height)"
    return [Fault("stated-size", detail, video=video.name, fatal=False)]


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
