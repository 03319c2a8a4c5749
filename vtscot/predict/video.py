"""A video that somebody names: a folder of images or a clip, checked before any model is loaded for it.

A video has one size. Frames of several sizes are no video that a mask can be followed through, and a track of masks
has one size too: they are refused by the name of the first frame that differs.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

from vtscot.errors import FrameError
from vtscot.frames import SUFFIXES, FolderFrames, Frames, open_frames

_NO_NAME: Final = re.compile(r"[^\w.+-]+")


def open_video(path: Path) -> Frames:
    """The frames of a folder (in natural order of their names: 2 before 10) or of a clip; FrameError with the reason.

    All frames have one size, and there is at least one.
    """
    if not path.exists():
        raise FrameError(f"{path}: there is no such file or folder; --video takes a clip or a folder of images")
    frames = _folder(path) if path.is_dir() else open_frames(path)
    _check_sizes(path, frames)
    return frames


def video_name(path: Path) -> str:
    """The name of the video in what is written: that of the folder, or of the file without its ending."""
    path = path.resolve()
    name = path.name if path.is_dir() else path.stem
    return _NO_NAME.sub("_", name).strip(".") or "video"


def frames_per_second(frames: Frames) -> float | None:
    """What the clip says of itself; None for a folder."""
    fps = getattr(frames, "fps", None)
    return float(fps) if fps else None


def _folder(path: Path) -> Frames:
    files = [file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")]
    if not files:
        other = next((file.name for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES), None)
        hint = f"; rename {other} and the like to lower case" if other else ""
        raise FrameError(f"{path} holds no frames ({', '.join(SUFFIXES)}){hint}")
    names = sorted((file.stem for file in files), key=_natural)
    for name, following in pairwise(names):
        if name == following:
            raise FrameError(f"{path} holds two files of the frame {name!r}; remove one of them")
    return FolderFrames(path, names)


def _natural(name: str) -> list[str | int]:
    """Text and numbers by turns, text first."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def _check_sizes(path: Path, frames: Frames) -> None:
    first = frames.size(0)
    for i in range(1, len(frames)):
        size = frames.size(i)
        if size != first:
            raise FrameError(
                f"{path}: frame {frames.names[i]} is {size[0]}x{size[1]}, those before it are {first[0]}x{first[1]}; "
                "a video has one size: give every part alone, or resize the frames"
            )
