"""Frames of a video: folders of JPEG or PNG files, and mp4 clips, behind one protocol.

Images are RGB. Pixels come as they are stored: an EXIF orientation is ignored, because annotations are drawn on the
stored pixels; transparency is dropped. Files are untrusted: a frame that is missing, cut off, not what its name says
or absurdly large raises FrameError naming it, and no name leads out of the video's directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from vtscot.budget import fit
from vtscot.errors import FrameError
from vtscot.files import inside

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS: Final = 2**26  # 67 million pixels: twice an 8k frame; more is a decompression bomb
SUFFIXES: Final = (".jpg", ".jpeg", ".png")
PIL_FAULTS: Final = (  # what Pillow raises, one time or another, for a broken file
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)
_ATOMS: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # what an mp4 or mov may begin with
_DRAIN: Final = 64  # frames read before decord's queue is emptied at the next key frame
_DRAIN_ANYWHERE: Final = 8 * _DRAIN  # or, where key frames are rare, at any frame
_NO_COPIES: Final = 1e-9  # decord takes a share of the frames; zero would mean any number
JPEG_QUALITY: Final = 85  # of frames in a dataset
_pil_warnings = threading.Lock()  # the filters of `warnings` belong to the whole process


class Frames(Protocol):
    """The frames of one video, in order, by index."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]:
        """One name per frame."""

    def size(self, i: int) -> tuple[int, int]:
        """(width, height) of frame i as stored."""

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        """Frame i as an RGB image, shrunk to at most `max_pixels`; never enlarged."""

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        """The same as (H, W, 3) uint8."""

    def digest(self, i: int) -> str:
        """SHA-256 (hex) that tells this frame from any other: of the file, or of the decoded pixels and their size."""


class FolderFrames:
    """Frames that are files `<name>.jpg`, `.jpeg` or `.png` in one directory; opened when they are asked for."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.directory = directory
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, i: int) -> Path:
        """The file of frame i; FrameError where there is none."""
        name = self.names[i]
        for suffix in SUFFIXES:
            try:
                path = inside(self.directory, name + suffix)
            except ValueError as error:
                raise FrameError(f"frame {i} of {self.directory}: {error}") from error
            if path.is_file():
                return path
        raise FrameError(f"{self.directory} has no frame {name!r} ({', '.join(SUFFIXES)}); is the video complete?")

    def size(self, i: int) -> tuple[int, int]:
        with _opened(self.path(i)) as image:
            return image.size

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        with _opened(self.path(i)) as image:
            size = image.size if max_pixels is None else fit(*image.size, max_pixels)
            # A JPEG decodes at 1/2, 1/4 or 1/8 of its size for less; twice the size aimed at leaves no visible trace.
            image.draft("RGB", (2 * size[0], 2 * size[1]))
            image.load()
            return _shrink(_rgb(image), size)

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        return np.array(self.image(i, max_pixels))

    def digest(self, i: int) -> str:
        path = self.path(i)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise FrameError(f"{path} cannot be read: {error.strerror}") from error


class VideoFrames:
    """Frames of a clip, decoded by decord; `names` are 00000, 00001, ... in order of display unless they are given.

    Opening decodes the clip once, in order. That tells how many frames there really are: a container may announce
    more (`announced`) than it holds, and decord then repeats the last one, or shifts frames when it seeks. So the
    digest of every frame is kept, and a frame reached by seeking is given out only if it is the one seen in order.

    Between two reads decord goes on decoding, up to the end of the clip, and keeps what it decodes; seeking empties
    its queue. That is done now and then while frames are read in order, after every frame that is not the next one,
    and by `rest`. In the pass that takes the digests it is done only where two different frames in a row are the same
    again after the seek, so that nothing can shift; a clip that fails this is read without.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()  # a reader has one position
        self._reader = _open_video(path)
        self.announced = len(self._reader)
        self.fps = float(self._reader.get_avg_fps())
        self._size = (0, 0)
        self._keys = frozenset(int(key) for key in self._reader.get_key_indices())
        self._undrained = 0  # frames read since the queue was empty
        self._last = -1  # the last frame given out
        self._digests = tuple(self._digests_in_order())
        self._drain()
        self.names = tuple(f"{i:05d}" for i in range(len(self._digests))) if names is None else tuple(names)
        if not len(self.names) == len(self._digests) > 0:
            raise FrameError(
                f"{path} holds {len(self._digests)} frames (it announces {self.announced}), but {len(self.names)} are "
                "named: is it the clip that was annotated?"
            )

    def __len__(self) -> int:
        return len(self.names)

    def size(self, i: int) -> tuple[int, int]:
        _ = self.names[i]
        return self._size

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        from PIL import Image

        image = Image.fromarray(self._decode(i))
        return image if max_pixels is None else _shrink(image, fit(*image.size, max_pixels))

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        return self._decode(i) if max_pixels is None else np.array(self.image(i, max_pixels))

    def digest(self, i: int) -> str:
        return self._digests[i]

    def rest(self) -> None:
        """Stop decoding ahead, until the next frame is asked for."""
        with self._lock:
            self._drain()

    def _digests_in_order(self) -> Iterator[str]:
        import decord

        before, drains = "", True
        for i in range(self.announced):
            try:
                pixels = self._read(i)
            except decord.DECORDLimitReachedError:  # decord has nothing but a copy of an earlier frame: the end
                return
            except decord.DECORDError as error:
                raise FrameError(f"{self.path} is damaged; re-encode it: {_reencode(self.path)}") from error
            self._size = (pixels.shape[1], pixels.shape[0])
            digest = _pixel_digest(pixels)
            if drains and before not in ("", digest) and self._is_full(i - 1):
                drains = self._drain_in_order(i, (before, digest))
            before = digest
            yield digest

    def _is_full(self, i: int) -> bool:
        """True where the queue should be emptied by seeking to frame i."""
        return self._undrained >= (_DRAIN if i in self._keys else _DRAIN_ANYWHERE)

    def _drain_in_order(self, i: int, digests: tuple[str, str]) -> bool:
        """Empty the queue and go on after frame i; False where frames i - 1 and i are not the same after seeking."""
        import decord

        self._drain()
        with contextlib.suppress(decord.DECORDError, decord.DECORDLimitReachedError):
            if digests == (_pixel_digest(self._read(i - 1)), _pixel_digest(self._read(i))):
                return True
        self._read_in_order(i)
        return False

    def _drain(self) -> None:
        self._reader.seek(0)
        self._undrained = 0

    def _decode(self, i: int) -> Pixels:
        import decord

        i = range(len(self))[i]
        with self._lock:
            if self._is_full(i):
                self._drain()
            for read in (self._read, self._read_in_order):
                try:
                    pixels = read(i)
                except (decord.DECORDError, decord.DECORDLimitReachedError):
                    continue
                if _pixel_digest(pixels) == self._digests[i]:
                    if i != self._last + 1:
                        self._drain()
                    self._last = i
                    return pixels
        raise FrameError(f"{self.path}: frame {i} does not decode alike twice; re-encode it: {_reencode(self.path)}")

    def _read_in_order(self, i: int) -> Pixels:
        self._reader = _open_video(self.path)
        for k in range(i):
            self._read(k)
        return self._read(i)

    def _read(self, i: int) -> Pixels:
        self._undrained += 1
        pixels: Pixels = self._reader[i].asnumpy()
        return pixels


def rest(frames: Frames) -> None:
    """Tell the frames that none is asked for in the next milliseconds: a clip stops decoding ahead."""
    if isinstance(frames, VideoFrames):
        frames.rest()


def open_frames(path: Path, names: Sequence[str] | None = None) -> Frames:
    """The frames of a directory (all its images, by name, where `names` is None) or of a clip."""
    if path.is_dir():
        found = sorted(file.stem for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        return FolderFrames(path, found if names is None else names)
    if path.is_file():
        return VideoFrames(path, names)
    raise FrameError(f"{path} is neither a directory of frames nor a video file")


def encode_jpeg(image: Image, quality: int = JPEG_QUALITY) -> bytes:
    """The image as JPEG bytes, without metadata of its source: the same pixels and quality give the same bytes."""
    buffer = io.BytesIO()
    clean = image.convert("RGB") if image.mode != "RGB" else image.copy()
    clean.info = {}
    clean.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """An image file opened lazily; whatever goes wrong with it inside the block becomes a FrameError."""
    from PIL import Image

    try:
        with _open_quietly(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise FrameError(
                    f"{path} claims {image.width} x {image.height} pixels: refused as a decompression bomb"
                )
            yield image
    except Image.DecompressionBombError as error:
        raise FrameError(f"{path} claims too many pixels: refused as a decompression bomb") from error
    except PIL_FAULTS as error:
        raise FrameError(f"{path} is not a whole JPEG or PNG image: {error}") from error


def _open_quietly(path: Path) -> Image:
    from PIL import Image

    with _pil_warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=("JPEG", "PNG"))


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey: the high byte, where PIL would clip
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _shrink(image: Image, size: tuple[int, int]) -> Image:
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _open_video(path: Path) -> Any:
    if not _is_container(path):
        raise FrameError(f"{path} is not a video file (mp4, mov, mkv, webm, avi); is it whole?")
    try:
        import decord
    except ImportError as error:
        raise FrameError(f"{path}: reading video files needs decord: pip install decord2") from error
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # Any frame that decord would make up from its neighbours is an error.
        return decord.VideoReader(str(path), num_threads=1, fault_tol=_NO_COPIES)
    except (RuntimeError, AssertionError, decord.DECORDError) as error:
        raise FrameError(f"{path} cannot be opened as a video; re-encode it: {_reencode(path)}") from error


def _is_container(path: Path) -> bool:
    """True by the file's first bytes. FFmpeg would also follow a play list to other files and to the network."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror}") from error
    return head[4:8] in _ATOMS or head.startswith(b"\x1aE\xdf\xa3") or (head[:4] == b"RIFF" and head[8:] == b"AVI ")


def _pixel_digest(pixels: Pixels) -> str:
    digest = hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[0]}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _reencode(path: Path) -> str:
    return f"ffmpeg -i {path.name} -c:v libx264 -pix_fmt yuv420p {path.stem}-fixed.mp4"
