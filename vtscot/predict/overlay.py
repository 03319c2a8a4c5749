"""The masks over the video: an mp4 (H.264 by PyAV where it is installed, else MPEG-4 by OpenCV) or a GIF.

A few frames are in memory at a time (a GIF's pictures are small and few). What was written is opened again before it
takes its place: OpenCV does not tell of a full disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vtscot.errors import DataError
from vtscot.frames import rest
from vtscot.masks import Rle, box, decode, resize
from vtscot.predict.place import whole_path
from vtscot.progress import Progress, Silent
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from vtscot.frames import Frames

Kind = Literal["mp4", "gif"]
Pixels = npt.NDArray[np.uint8]

DEFAULT_FPS: Final = 10.0  # of a folder of images, which does not say
MP4_PIXELS: Final = 1920 * 1080
GIF_PIXELS: Final = 320 * 240
GIF_FRAMES: Final = 200
COLOUR: Final = (0, 208, 132)
_OPACITY: Final = 0.45
_BLOCK: Final = 16  # frames read at once


def write_overlay(
    path: Path, frames: Frames, track: MaskTrack, kind: Kind, fps: float, progress: Progress | None = None
) -> str:
    """Write the overlay; returns a note for the user about what is not as in the video, or "".

    DataError where the file cannot be read again (a full disk).
    """
    say = progress or Silent()
    with whole_path(path) as part:
        if kind == "gif":
            return _write_gif(part, frames, track, fps, say)
        pictures = _pictures(frames, track, say)
        if find_spec("av") is not None:
            _write_av(part, pictures, fps)
            note = ""
        else:
            _write_cv2(part, pictures, fps)
            note = "the overlay is MPEG-4 video, which browsers do not play; `pip install av` makes it H.264"
        _check_clip(part, path, len(frames))
    return note


def painted(frames: Frames, track: MaskTrack, i: int, max_pixels: int) -> Pixels:
    """Frame i with its mask tinted and outlined: (H, W, 3) uint8 of at most `max_pixels` pixels."""
    pixels = frames.array(i, max_pixels)
    mask = track.rle(i)
    if mask is not None:
        _paint(pixels := np.array(pixels), resize(mask, *pixels.shape[:2]))
    return pixels


def _paint(pixels: Pixels, mask: Rle) -> None:
    """Tint and outline in place; only the mask's box is touched."""
    import cv2

    x, y, w, h = (int(value) for value in box(mask))
    if w == 0 or h == 0:
        return
    inside = decode(mask, (x, y, w, h), order="C")
    region = pixels[y : y + h, x : x + w]
    colour = np.array(COLOUR, np.float32)
    region[inside] = ((1 - _OPACITY) * region[inside] + _OPACITY * colour).astype(np.uint8)
    borders, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    cv2.drawContours(pixels, borders, -1, COLOUR, 1 + pixels.shape[1] // 640)


def _pictures(frames: Frames, track: MaskTrack, say: Progress) -> Iterator[Pixels]:
    """All frames, painted; read a few at once."""
    say.stage("overlay", len(frames))
    for first in range(0, len(frames), _BLOCK):
        block = [painted(frames, track, i, MP4_PIXELS) for i in range(first, min(first + _BLOCK, len(frames)))]
        rest(frames)
        for pixels in block:
            yield pixels
            say.advance()


def _even(pixels: Pixels) -> Pixels:
    """Without its last odd row and column, which video codecs do not take; an only one is doubled."""
    height, width = pixels.shape[:2]
    if 1 in (height, width):
        pixels = np.pad(pixels, ((0, int(height == 1)), (0, int(width == 1)), (0, 0)), "edge")
    height, width = (side - side % 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def _write_av(path: Path, pictures: Iterator[Pixels], fps: float) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for picture in pictures:
            pixels = _even(picture)
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "21", "preset": "veryfast"})
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_cv2(path: Path, pictures: Iterator[Pixels], fps: float) -> None:
    import cv2

    writer: Any = None
    for picture in pictures:
        pixels = _even(picture)
        if writer is None:
            size = (pixels.shape[1], pixels.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        writer.write(pixels[..., ::-1])
    writer.release()


def _check_clip(part: Path, path: Path, count: int) -> None:
    import cv2

    reader = cv2.VideoCapture(str(part))
    there, _ = reader.read()
    found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if there else 0
    reader.release()
    if found != count:
        raise DataError(
            f"{path}: {found} of {count} frames can be read again; is the disk full? --overlay none leaves it out"
        )


def _write_gif(path: Path, frames: Frames, track: MaskTrack, fps: float, say: Progress) -> str:
    from PIL import Image

    step = -(-len(frames) // GIF_FRAMES)
    shown = range(0, len(frames), step)
    say.stage("overlay", len(shown))
    pictures = []
    for i in shown:
        pictures.append(Image.fromarray(painted(frames, track, i, GIF_PIXELS)).quantize(128))
        say.advance()
    pause = max(20, round(1000 * step / fps))  # ms; browsers slow down what is faster
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)
    return f"the GIF shows one frame in {step}, {len(shown)} of {len(frames)}" if step > 1 else ""
