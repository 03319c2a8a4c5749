"""Are the frames of a video whole? All headers are read, and a sample is decoded, or all of them.

A JPEG that was cut off has no end marker, and the parts of a PNG carry check sums: that is seen in every file without
decoding it. Damage in the middle of a JPEG is only seen by decoding, and only where the decoder does not paint over it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from vtscot.doctor.findings import Finding
from vtscot.errors import FrameError
from vtscot.frames import FolderFrames, Frames, VideoFrames

SAMPLE: Final = 8  # frames per video that are decoded
_SMALL: Final = 96_000  # pixels: decoding to less than the full size reads the whole file all the same
_END: Final = b"\xff\xd9"


def frame_findings(frames: Frames, video: str, *, deep: bool) -> Iterator[Finding]:
    """Frames that cannot be read or are of another size than the first, and clips shorter than they announce."""
    if isinstance(frames, VideoFrames):
        yield from _clip(frames, video)
        return
    first = None
    sample = set(range(len(frames))) if deep else _sample(len(frames))
    for i in range(len(frames)):
        try:
            size = frames.size(i)
            if i in sample or not _whole(frames, i):
                frames.array(i, _SMALL)
        except FrameError as error:
            yield Finding("frame-broken", _line(error), video, frame=i, fatal=True)
            continue
        first = first or size
        if size != first:
            detail = f"{frames.names[i]} is {size[0]} x {size[1]}, the first frame {first[0]} x {first[1]}"
            yield Finding("frame-size", f"{detail} (width x height)", video, frame=i, fatal=True)


def cannot_open(error: FrameError, video: str) -> Finding:
    """The finding for frames that cannot even be opened."""
    kind = "container-length" if "announces" in str(error) else "frame-broken"
    return Finding(kind, _line(error), video, fatal=True)


def _clip(frames: VideoFrames, video: str) -> Iterator[Finding]:
    """Opening a clip has decoded all of it already."""
    if frames.announced != len(frames):
        detail = f"{frames.path.name} announces {frames.announced} frames, {len(frames)} decode"
        yield Finding("container-length", detail, video)


def _sample(total: int) -> set[int]:
    return {int(i) for i in np.linspace(0, total - 1, min(total, SAMPLE)).round()} if total else set()


def _whole(frames: Frames, i: int) -> bool:
    """False where a file looks damaged without being decoded."""
    return not isinstance(frames, FolderFrames) or _looks_whole(frames.path(i))


def _looks_whole(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.format == "JPEG":
                return path.read_bytes().rstrip(b"\0\r\n ").endswith(_END)
            image.verify()
            return True
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error):  # decoding tells for certain
        return False


def _line(error: FrameError) -> str:
    return " ".join(str(error).split())
