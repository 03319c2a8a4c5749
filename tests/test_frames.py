"""Frames of folders: what is stored comes out, and what is broken is named."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import picture
from vtscot.errors import FrameError
from vtscot.frames import FolderFrames, encode_jpeg, open_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        Image.fromarray(picture(seed=i)).save(tmp_path / f"{i:05d}.png")
    return tmp_path


def test_a_folder_gives_its_frames_in_order(folder: Path) -> None:
    frames = open_frames(folder)
    assert frames.names == ("00000", "00001", "00002")
    assert len(frames) == 3
    assert frames.size(1) == (64, 48)
    for i in (2, 0, 1):
        assert np.array_equal(frames.array(i), picture(seed=i))
    assert frames.digest(1) == hashlib.sha256((folder / "00001.png").read_bytes()).hexdigest()


def test_names_choose_and_order_the_frames(folder: Path) -> None:
    frames = open_frames(folder, ["00002", "00000"])
    assert np.array_equal(frames.array(0), picture(seed=2))
    assert np.array_equal(frames.array(1), picture(seed=0))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png"])
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(picture()).save(tmp_path / f"a.b 0{suffix}", quality=95)
    shown = FolderFrames(tmp_path, ["a.b 0"]).array(0)
    assert np.abs(shown.astype(int) - picture()).mean() < 3


def test_names_may_hold_folders_and_unicode(tmp_path: Path) -> None:
    (tmp_path / "日本").mkdir()
    Image.fromarray(picture()).save(tmp_path / "日本" / "é.png")
    assert FolderFrames(tmp_path, ["日本/é"]).size(0) == (64, 48)


@pytest.mark.parametrize("max_pixels", [1, 100, 64 * 48 - 1, 64 * 48, 10**9])
def test_the_budget_holds_and_never_enlarges(folder: Path, max_pixels: int) -> None:
    image = open_frames(folder).image(0, max_pixels)
    assert image.width * image.height <= max_pixels
    assert (image.size == (64, 48)) == (max_pixels >= 64 * 48)
    assert open_frames(folder).array(0, max_pixels).shape == (image.height, image.width, 3)


def test_a_jpeg_decoded_small_looks_like_one_shrunk(tmp_path: Path) -> None:
    Image.fromarray(picture(800, 600)).save(tmp_path / "0.jpg", quality=95)
    frames = FolderFrames(tmp_path, ["0"])
    small = frames.image(0, 10_000)
    assert small.size == (115, 86)
    shrunk = frames.image(0).resize(small.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(small, int) - np.asarray(shrunk, int)).max() <= 8
    assert small.tobytes() == frames.image(0, 10_000).tobytes()


def grey16() -> Image.Image:
    return Image.fromarray((picture()[..., 0].astype(np.uint16) << 8) + 37)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        pytest.param("0.png", Image.fromarray(picture()[..., 0]), id="grey"),
        pytest.param("0.jpg", Image.fromarray(picture()[..., 0]), id="grey JPEG"),
        pytest.param("0.png", grey16(), id="grey of 16 bits"),
    ],
)
def test_grey_becomes_rgb(tmp_path: Path, name: str, image: Image.Image) -> None:
    image.save(tmp_path / name)
    shown = FolderFrames(tmp_path, ["0"]).array(0)
    assert np.ptp(shown, axis=2).max() == 0
    assert np.abs(shown[..., 0].astype(int) - picture()[..., 0]).max() <= 4


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("0.png", "P", id="palette"),
        pytest.param("0.png", "RGBA", id="transparent"),
        pytest.param("0.jpg", "CMYK", id="CMYK"),
        pytest.param("0.png", "1", id="one bit"),
    ],
)
def test_modes_become_rgb(tmp_path: Path, name: str, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    if mode == "RGBA":
        image.putalpha(0)
    image.save(tmp_path / name, quality=95)
    shown = FolderFrames(tmp_path, ["0"]).image(0)
    assert shown.mode == "RGB"
    reference = image.convert("RGB")
    assert np.abs(np.asarray(shown, int) - np.asarray(reference, int)).mean() < 4


def test_pixels_come_as_stored_whatever_the_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    Image.fromarray(picture()).save(tmp_path / "0.jpg", exif=exif)
    assert FolderFrames(tmp_path, ["0"]).size(0) == FolderFrames(tmp_path, ["0"]).image(0).size == (64, 48)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "a\0b", "C:\\x"])
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "secret.png")
    inner = tmp_path / "video"
    inner.mkdir()
    with pytest.raises(FrameError, match="is not a name inside"):
        FolderFrames(inner, [name]).image(0)


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "secret.png")
    inner = tmp_path / "video"
    inner.mkdir()
    (inner / "0.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(FrameError, match="leads out"):
        FolderFrames(inner, ["0"]).image(0)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cut(name: str, image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        pytest.param("0.jpg", cut("JPEG", Image.fromarray(picture())), "not a whole", id="cut JPEG"),
        pytest.param("0.png", cut("PNG", Image.fromarray(picture())), "not a whole", id="cut PNG"),
        pytest.param("0.jpg", b"", "not a whole", id="no bytes"),
        pytest.param("0.jpg", b"<html>not found</html>", "not a whole", id="HTML"),
        pytest.param("0.png", b"GIF89a" + b"\0" * 50, "not a whole", id="another format"),
        pytest.param("0.png", bomb(9000, 8000), "bomb", id="above our limit"),
        pytest.param("0.png", bomb(10_000, 10_000), "bomb", id="where PIL warns"),
        pytest.param("0.png", bomb(60_000, 60_000), "bomb", id="where PIL refuses"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with warnings.catch_warnings(), pytest.raises(FrameError, match=message) as caught:
        warnings.simplefilter("error")
        FolderFrames(tmp_path, ["0"]).image(0, 1000)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_frame_is_named(folder: Path) -> None:
    frames = FolderFrames(folder, ["00000", "00007"])
    for ask in (frames.size, frames.image, frames.array, frames.digest):
        with pytest.raises(FrameError, match="has no frame '00007'"):
            ask(1)


def test_a_directory_named_like_a_frame_is_no_frame(tmp_path: Path) -> None:
    (tmp_path / "0.png").mkdir()
    with pytest.raises(FrameError, match="has no frame"):
        FolderFrames(tmp_path, ["0"]).image(0)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="neither a directory of frames nor a video"):
        open_frames(tmp_path / "nothing")


def test_encoded_jpegs_are_the_same_bytes_and_hold_no_metadata() -> None:
    image = Image.fromarray(picture())
    marked = Image.open(io.BytesIO(encode_jpeg(image)))
    again = image.copy()
    again.info.update(comment=b"secret", dpi=(300, 300), exif=b"Exif\0\0secret", icc_profile=b"secret")
    assert encode_jpeg(image) == encode_jpeg(again)
    assert again.info["comment"] == b"secret"
    assert encode_jpeg(image, quality=30) != encode_jpeg(image)
    assert marked.size == (64, 48)
    assert np.abs(np.asarray(marked, int) - picture()).mean() < 6
    assert Image.open(io.BytesIO(encode_jpeg(image.convert("RGBA")))).mode == "RGB"


def test_real_frames(shared_data: Path) -> None:
    frames = open_frames(shared_data / "mevis" / "train" / "JPEGImages" / "dog")
    assert (len(frames), frames.size(0)) == (60, (854, 480))
    assert frames.array(59).shape == (480, 854, 3)
    small = frames.image(59, 32 * 784)
    assert small.width * small.height <= 32 * 784
    shrunk = frames.image(59).resize(small.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(small, int) - np.asarray(shrunk, int)).mean() < 2
