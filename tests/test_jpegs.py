"""JPEGs of a video's frames: the bytes of one at a time, each made once, in several threads, faults named."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtscot.errors import FrameError
from vtscot.frames import FolderFrames, encode_jpeg, open_frames
from vtscot.publish import jpegs
from vtscot.publish.jpegs import Jpegs


@pytest.fixture
def frames(tmp_path: Path) -> FolderFrames:
    noise = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{i:05d}.png")
    opened = open_frames(tmp_path)
    assert isinstance(opened, FolderFrames)
    return opened


def test_they_are_those_of_one_frame_at_a_time_in_the_order_asked_for(frames: FolderFrames) -> None:
    keys = [(3, 1000), (0, 5000), (3, 1000), (1, 1000)]
    assert Jpegs(frames).made(keys) == [encode_jpeg(frames.image(*key)) for key in keys]
    assert Jpegs(frames, 30).made(keys[:1]) == [encode_jpeg(frames.image(3, 1000), 30)]
    assert Jpegs(frames).made([]) == []


def test_each_is_made_once_and_several_at_a_time(frames: FolderFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegs, "cores", lambda: 2)
    jpegs._threads.cache_clear()
    both = threading.Barrier(2, timeout=20)  # passed only by two at once
    made: list[int] = []
    image = FolderFrames.image

    def slow(self: FolderFrames, i: int, max_pixels: int | None = None) -> Image.Image:
        both.wait()
        made.append(i)
        return image(self, i, max_pixels)

    monkeypatch.setattr(FolderFrames, "image", slow)
    kept = Jpegs(frames)
    first = kept.made([(0, 1000), (1, 1000)])
    assert kept.made([(1, 1000), (0, 1000)]) == first[::-1]
    assert sorted(made) == [0, 1]
    jpegs._threads.cache_clear()


def test_a_frame_that_is_gone_is_named(frames: FolderFrames) -> None:
    (frames.directory / "00002.png").unlink()
    with pytest.raises(FrameError, match="no frame '00002'"):
        Jpegs(frames).made([(0, 1000), (2, 1000)])
