"""Frames of folders and clips: what is stored comes out, and what is broken is named."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from vtscot import frames as frames_module
from vtscot.errors import FrameError
from vtscot.frames import FolderFrames, Frames, VideoFrames, encode_jpeg, open_frames, rest

Pixels = npt.NDArray[np.uint8]


NOT_CODED = bytes.fromhex("000001b6 5a4f")  # MPEG-4: a picture of type P, time 20/25, that is not coded


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Pixels:
    """Smooth colours: JPEG keeps them nearly as they are."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    phase = np.random.default_rng(seed).random(3)
    return (255 * np.stack([x, y, (x + y) / 2], axis=-1) * (0.4 + 0.6 * phase)).astype(np.uint8)


def write_clip(path: Path, frames: int = 48, codec: str = "libx264", *, empty: int = 0, still: bool = False) -> None:
    """A clip with a keyframe every 12 frames; `empty` packets at its end are announced, but hold no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", "bf": "2" if codec == "libx264" else "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            image = av.VideoFrame.from_ndarray(picture(seed=0 if still else i), format="rgb24")
            image.pts = i
            container.mux(stream.encode(image))
        container.mux(stream.encode())
        for i in range(frames, frames + empty):
            packet = av.Packet(NOT_CODED)
            packet.stream, packet.time_base = stream, stream.codec_context.time_base
            packet.pts = packet.dts = i
            container.mux(packet)


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


def check_clip(frames: Frames, reference: list[Pixels]) -> None:
    """The frames, asked for in any order, are those of a plain sequential decoder."""
    assert len(frames) == len(reference)
    count = len(reference)
    order = [count - 1, 0, count // 2, *np.random.default_rng(0).permutation(count)[:15], 1, 0]
    for i in map(int, order):
        shown = frames.array(i)
        assert frames.size(i) == (shown.shape[1], shown.shape[0]) == (reference[i].shape[1], reference[i].shape[0])
        assert np.abs(shown.astype(int) - reference[i]).mean() < 2.5
        text = f"{shown.shape[1]}x{shown.shape[0]}:".encode()
        assert frames.digest(i) == hashlib.sha256(text + shown.tobytes()).hexdigest()
    assert len({frames.digest(i) for i in range(count)}) == count


def decoded(path: Path) -> list[Pixels]:
    """All frames by PyAV, which shares nothing with decord but FFmpeg's codecs."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_clip_gives_the_frame_it_is_asked_for(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, codec=codec)
    frames = open_frames(path)
    assert frames.names[:2] == ("00000", "00001")
    check_clip(frames, decoded(path))
    assert frames.image(5, 500).size == (25, 19)
    assert frames.array(5, 500).shape == (19, 25, 3)
    with pytest.raises(IndexError):
        frames.image(48)


def test_a_container_that_announces_more_than_it_holds(tmp_path: Path) -> None:
    """decord alone would repeat the last frame, and give shifted frames after seeking."""
    path = tmp_path / "clip.mp4"
    write_clip(path, frames=20, codec="mpeg4", empty=3)
    reference = decoded(path)
    frames = VideoFrames(path)
    assert frames.announced == 23
    assert len(frames) == len(reference) < 23
    for i in (len(frames) - 1, 0, 7, 19, 3):
        assert np.abs(frames.array(i).astype(int) - reference[i]).mean() < 2.5
    with pytest.raises(FrameError, match=r"holds 21 frames \(it announces 23\), but 23 are named"):
        VideoFrames(path, [f"{i:05d}" for i in range(23)])


def test_a_frame_that_seeking_gets_wrong_is_read_in_order(tmp_path: Path) -> None:
    path, other = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    write_clip(path, frames=15)
    write_clip(other, frames=15, codec="mpeg4")
    frames, right = VideoFrames(path), VideoFrames(path).array(9)
    frames._reader = VideoFrames(other)._reader  # seeks to something else
    assert np.array_equal(frames.array(9), right)
    path.write_bytes(other.read_bytes())
    frames._reader = VideoFrames(other)._reader
    with pytest.raises(FrameError, match="frame 3 does not decode alike twice"):
        frames.array(3)


def test_a_still_clip_keeps_all_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, frames=30, still=True)
    frames = VideoFrames(path)
    assert len(frames) == frames.announced == 30
    assert np.abs(frames.array(29).astype(int) - picture()).mean() < 6


def test_names_of_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, frames=3)
    assert open_frames(path, ["a", "b", "c"]).names == ("a", "b", "c")
    with pytest.raises(FrameError, match=r"3 frames .* 2 are named"):
        open_frames(path, ["a", "b"])


def cut_clip(tmp_path: Path, *, index_first: bool) -> bytes:
    path = tmp_path / "whole.mp4"
    write_clip(path)
    data = path.read_bytes()
    if not index_first:
        return data[: len(data) // 2]
    with (
        av.open(str(path)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    return data[: -(len(data) - data.find(b"mdat")) // 2]


def test_cut_clips_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    for index_first, message in ((False, "cannot be opened"), (True, "damaged")):
        path.write_bytes(cut_clip(tmp_path, index_first=index_first))
        with pytest.raises(FrameError, match=message) as caught:
            VideoFrames(path, [f"{i:05d}" for i in range(48)])
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_decord_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "clip.mp4", frames=3)
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(FrameError, match="pip install decord2"):
        VideoFrames(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "data",
    [b"", b"not a video\n" * 50, b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n", b"ffconcat version 1.0\nfile /etc/passwd\n"],
    ids=["no bytes", "text", "a play list", "a list of files"],
)
def test_what_is_no_video_is_never_handed_to_the_decoder(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with pytest.raises(FrameError, match="is not a video file"):
        open_frames(path)


def test_real_clips(shared_data: Path) -> None:
    path = shared_data / "odd" / "cutie_example.mp4"
    frames = open_frames(path)
    assert (len(frames), frames.size(0)) == (117, (640, 480))
    check_clip(frames, decoded(path))


def test_real_frames(shared_data: Path) -> None:
    frames = open_frames(shared_data / "mevis" / "train" / "JPEGImages" / "dog")
    assert (len(frames), frames.size(0)) == (60, (854, 480))
    assert frames.array(59).shape == (480, 854, 3)
    small = frames.image(59, 32 * 784)
    assert small.width * small.height <= 32 * 784
    shrunk = frames.image(59).resize(small.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(small, int) - np.asarray(shrunk, int)).mean() < 2


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("anywhere", [5, 1000], ids=["at any frame", "at key frames"])
def test_emptying_the_queue_changes_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, anywhere: int
) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, codec=codec)
    plain = VideoFrames(path)
    drained = []
    drain = VideoFrames._drain
    monkeypatch.setattr(frames_module, "_DRAIN", 3)
    monkeypatch.setattr(frames_module, "_DRAIN_ANYWHERE", anywhere)
    monkeypatch.setattr(VideoFrames, "_drain", lambda self: (drained.append(1), drain(self)))
    frames = VideoFrames(path)
    assert len(drained) >= 3
    assert [frames.digest(i) for i in range(48)] == [plain.digest(i) for i in range(48)]
    for i in (*range(20, 48), *range(19, -1, -1)):
        assert np.array_equal(frames.array(i), plain.array(i)), i


@pytest.mark.parametrize("shift", [1, -1, 3])
def test_a_clip_that_seeks_to_other_frames_is_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path)
    plain = VideoFrames(path)
    read, shifted = VideoFrames._read, []

    def off(self: VideoFrames, i: int) -> Pixels:
        """After the first seek all frames are those of another place, until the clip is opened anew."""
        wrong = shift if self._reader in shifted else 0
        return read(self, min(max(i + wrong, 0), 47))

    monkeypatch.setattr(frames_module, "_DRAIN", 3)
    monkeypatch.setattr(VideoFrames, "_read", off)
    monkeypatch.setattr(VideoFrames, "_drain", lambda self: shifted.append(self._reader))
    frames = VideoFrames(path)
    assert shifted
    assert [frames.digest(i) for i in range(48)] == [plain.digest(i) for i in range(48)]


def test_the_queue_is_emptied_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much decord decodes ahead depends on the machine; how many frames it is given the time for does not."""
    path = tmp_path / "clip.mp4"
    write_clip(path)
    monkeypatch.setattr(frames_module, "_DRAIN", 8)
    frames = VideoFrames(path)
    assert frames._undrained == 0
    frames.image(20)
    assert frames._undrained == 0, "who jumps about may take long"
    longest = 0
    for i in range(21, 48):
        frames.image(i)
        longest = max(longest, frames._undrained)
    assert 8 <= longest <= 8 + 12, "at the first key frame after eight"
    rest(frames)
    assert frames._undrained == 0
