"""Frames of clips: those of a plain sequential decoder, in any order; what is broken is named."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import Pixels, picture, write_clip
from vtscot import frames as frames_module
from vtscot.errors import FrameError
from vtscot.frames import Frames, VideoFrames, open_frames, rest


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
