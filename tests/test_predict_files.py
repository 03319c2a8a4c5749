"""What `vtscot predict` reads and writes, without a policy: video, folder, masks, overlay, readable text."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vtscot.errors import DataError, FrameError, UsageError
from vtscot.evaluation import open_predictions
from vtscot.evaluation.predictions import Asked
from vtscot.frames import FolderFrames, Frames
from vtscot.grammar import render_turn
from vtscot.masks import Rle
from vtscot.predict import overlay
from vtscot.predict.overlay import COLOUR, GIF_FRAMES, painted, write_overlay
from vtscot.predict.place import MARK, claim, whole_path, write_record
from vtscot.predict.pngs import png_writer, write_interchange
from vtscot.predict.stream import Readable
from vtscot.predict.trace import Trace, TraceTurn
from vtscot.predict.video import frames_per_second, open_video, video_name
from vtscot.records import Observation, Selection, ShownFrame, Thought, Turn
from vtscot.tracks import MaskTrack

WIDTH, HEIGHT = 48, 32


def write_folder(folder: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Grey frames, each a little lighter than the one before."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", size, (40 + i % 100,) * 3).save(folder / name)
    return folder


def write_clip(path: Path, count: int, size: tuple[int, int] = (WIDTH, HEIGHT), fps: float = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for i in range(count):
        writer.write(np.full((size[1], size[0], 3), 40 + i, np.uint8))
    writer.release()
    return path


def track(count: int, width: int = WIDTH, height: int = HEIGHT) -> MaskTrack:
    """A square that moves to the right; nothing in every fourth frame."""
    masks: list[bytes | None] = []
    for i in range(count):
        mask = np.zeros((height, width), np.bool_)
        mask[8:20, 4 + i % 20 : 16 + i % 20] = True
        masks.append(None if i % 4 == 3 else Rle.from_array(mask).counts)
    return MaskTrack(height, width, tuple(masks))


# ---- the video


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "v", ["10.jpg", "2.png", "1.jpeg", ".hidden.jpg", "a1b10.jpg", "a1b9.jpg"])
    (folder / "notes.txt").write_text("no frame")
    assert open_video(folder).names == ("1", "2", "10", "a1b9", "a1b10")


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert len(open_video(write_folder(tmp_path / "v", ["0.png"]))) == 1
    assert len(open_video(write_clip(tmp_path / "v.mp4", 1))) == 1


def test_a_clip_says_how_fast_it_is_and_a_folder_does_not(tmp_path: Path) -> None:
    assert frames_per_second(open_video(write_clip(tmp_path / "v.mp4", 3, fps=12))) == pytest.approx(12)
    assert frames_per_second(open_video(write_folder(tmp_path / "v", ["0.png"]))) is None


def bad_videos(root: Path) -> Iterator[tuple[str, Path, str]]:
    yield "missing", root / "nothing.mp4", "there is no such file"
    (root / "empty").mkdir()
    yield "empty", root / "empty", "holds no frames"
    yield "upper case", write_folder(root / "upper", ["0.JPG"]), "rename 0.JPG"
    yield "sizes", write_folder(write_folder(root / "sizes", ["0.png", "1.png"]), ["2.png"], (8, 8)), "frame 2 is 8x8"
    yield "twice", write_folder(root / "twice", ["0.png", "0.jpg"]), "two files of the frame '0'"
    (root / "text.mp4").write_text("this is no video at all")
    yield "text", root / "text.mp4", "is not a video file"
    cut = write_clip(root / "cut.mp4", 8)
    cut.write_bytes(cut.read_bytes()[:200])
    yield "cut", cut, "cannot be opened as a video"
    (write_folder(root / "broken", ["0.png"]) / "0.png").write_bytes(b"\x89PNG\r\n")
    yield "broken", root / "broken", "is not a whole JPEG or PNG"


def test_what_is_no_video_is_refused_with_its_name_and_the_reason(tmp_path: Path) -> None:
    for name, path, reason in bad_videos(tmp_path):
        with pytest.raises(FrameError) as caught:
            open_video(path)
        assert reason in str(caught.value), name
        assert path.name in str(caught.value), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize(
    ("path", "name"),
    [("clip.mp4", "clip"), ("a b;c.mov", "a_b_c"), ("...mp4", "video"), ("été.mp4", "été")],
)
def test_the_name_of_a_video_is_a_name(tmp_path: Path, path: str, name: str) -> None:
    assert video_name(tmp_path / path) == name


# ---- the folder


def test_a_folder_is_claimed_if_it_is_new_empty_or_of_a_prediction(tmp_path: Path) -> None:
    out = tmp_path / "out"
    claim(out)
    assert json.loads((out / MARK).read_text())["finished"] is False
    for stale in ("masks.json", "trace.html", "overlay-0.mp4", "overlay-1.gif", ".overlay-0.part.mp4"):
        (out / stale).write_text("old")
    (out / "Annotations" / "v" / "0").mkdir(parents=True)
    (out / "mine.txt").write_text("kept")
    write_record(out, {"finished": True})
    claim(out)
    assert sorted(path.name for path in out.iterdir()) == ["mine.txt", MARK]
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty")


@pytest.mark.parametrize("mark", [None, "", "[]", '{"made_by": "somebody"}', "{"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / "trace.html").write_text("theirs")
    if mark is not None:
        (tmp_path / MARK).write_text(mark)
    with pytest.raises(UsageError, match="choose another --out"):
        claim(tmp_path)
    assert (tmp_path / "trace.html").read_text() == "theirs"
    with pytest.raises(UsageError, match="is a file"):
        claim(tmp_path / "trace.html")


def test_a_file_of_another_writer_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with whole_path(path) as part:
        part.write_text("done")
        assert part.suffix == ".mp4" and not path.exists()
    assert path.read_text() == "done"
    with pytest.raises(RuntimeError), whole_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"] and path.read_text() == "done"


# ---- masks


def test_masks_are_read_again_as_predictions(tmp_path: Path) -> None:
    masks = track(9)
    names = tuple(f"{i:05d}" for i in range(9))
    with png_writer(tmp_path / "Annotations" / "v" / "0", names, WIDTH, HEIGHT) as pngs:
        for frame in (4, 5, 6, 8, 2, 1):  # in any order; the rest is blank
            pngs.put(frame, masks.rle(frame))
    write_interchange(tmp_path / "masks.json", "v", [("0", masks), ("1", masks)])
    asked = Asked("v", "0", names, (HEIGHT, WIDTH))
    for path in (tmp_path, tmp_path / "masks.json"):
        predictions = open_predictions(path)
        place = predictions.find("v", "0")
        assert place is not None
        read = predictions.read(place, asked).track
        written = range(9) if path.suffix else (4, 5, 6, 8, 2, 1)
        assert all(read.iou(i, masks.rle(i)) == 1 for i in written)
        assert all(not read.visible[i] for i in set(range(9)) - set(written))


def test_masks_appear_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), png_writer(tmp_path / "v" / "0", ("a", "b"), WIDTH, HEIGHT) as pngs:
        pngs.put(0, None)
        raise KeyboardInterrupt
    assert list((tmp_path / "v").iterdir()) == []


# ---- the overlay


def frames_of(folder: Path, count: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Frames:
    names = [f"{i:05d}" for i in range(count)]
    return FolderFrames(write_folder(folder, [f"{name}.png" for name in names], size), names)


def test_only_the_mask_is_painted(tmp_path: Path) -> None:
    frames, masks = frames_of(tmp_path / "v", 4), track(4)
    before, after = frames.array(1), painted(frames, masks, 1, 10**6)
    inside = masks.decode(1)
    changed = (before != after).any(axis=-1)
    assert changed[inside].all() and not changed[~inside].any()
    assert tuple(after[8, 5]) == COLOUR  # the outline
    assert (painted(frames, masks, 3, 10**6) == frames.array(3)).all()
    small = painted(frames, masks, 1, WIDTH * HEIGHT // 4)
    assert small.shape == (HEIGHT // 2, WIDTH // 2, 3) and tuple(small[4, 3]) == COLOUR


@pytest.mark.parametrize("by", ["av", "cv2"])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (33, 17), (1, 1)], ids=str)
def test_the_clip_opens_and_holds_every_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, size: tuple[int, int]
) -> None:
    if by == "av":
        pytest.importorskip("av")
    monkeypatch.setattr(overlay, "find_spec", lambda name: importlib.util.find_spec(name) if by == "av" else None)
    frames = frames_of(tmp_path / "v", 7, size)
    masks = MaskTrack(size[1], size[0], (Rle.from_array(np.ones(size[::-1])).counts,) * 7)
    note = write_overlay(tmp_path / "o.mp4", frames, masks, "mp4", 10)
    assert ("pip install av" in note) == (by == "cv2")
    reader = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    pictures = [reader.read() for _ in range(8)]
    assert [there for there, _ in pictures] == [True] * 7 + [False]
    blue, green, red = pictures[3][1].mean(axis=(0, 1))
    assert green > blue > red
    fourcc = int(reader.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
    assert fourcc == (b"h264" if by == "av" else b"FMP4")


def test_a_gif_shows_as_many_frames_as_it_may(tmp_path: Path) -> None:
    count = GIF_FRAMES + 1
    masks = track(count)
    note = write_overlay(tmp_path / "o.gif", frames_of(tmp_path / "v", count), masks, "gif", 20)
    with Image.open(tmp_path / "o.gif") as gif:
        shown: int = gif.n_frames  # type: ignore[attr-defined]
        assert gif.info["duration"] == 100  # two frames of 50 ms
    assert shown == -(-count // 2)
    assert f"{shown} of {count}" in note
    assert write_overlay(tmp_path / "p.gif", frames_of(tmp_path / "w", 1), track(1), "gif", 20) == ""


def test_a_clip_that_cannot_be_read_again_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(path: Path, pictures: Any, fps: float) -> None:
        write_clip(path, sum(1 for _ in pictures) - 2)

    monkeypatch.setattr(overlay, "find_spec", lambda _: None)
    monkeypatch.setattr(overlay, "_write_cv2", cut)
    with pytest.raises(DataError, match="5 of 7 frames can be read again"):
        write_overlay(tmp_path / "o.mp4", frames_of(tmp_path / "v", 7), track(7), "mp4", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


# ---- text as it comes


REPLY = render_turn(
    Turn(
        thought=Thought(temporal="It moves.", spatial="at the left", linguistic="first", action="look"),
        action="select",
        selection=Selection(start=1, end=4, keyframe=2),
    )
)
READ = """Step 1: Temporal Dynamics. It moves.
Step 2: Spatial Details. at the left
Step 3: Expression Analysis. first
Action: look
Looks again: {"start": 1, "end": 4, "keyframe": 2}"""


def read_in_pieces(text: str, cuts: list[int]) -> str:
    reader = Readable()
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    shown = "".join(reader.read(text[a:b]) for a, b in pairwise(edges))
    return shown + reader.rest()


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_text_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    assert read_in_pieces(REPLY, cuts) == READ


def test_most_of_the_text_is_shown_at_once() -> None:
    reader = Readable()
    assert reader.read("<think>Step 1: it") == "Step 1: it"
    assert reader.read(" moves <") == " moves "
    assert reader.read("b") == "<b"
    assert reader.read("</thi") == "" and reader.read("nk>") == "\n"
    assert reader.rest() == ""


def test_a_terminal_gets_no_commands() -> None:
    assert read_in_pieces("\x1b[2Jgone\x07\r\x9b1m", []) == "\ufffd[2Jgone\ufffd\ufffd\ufffd1m"


# ---- why there is no answer


def trace(end: Any, *turns: TraceTurn) -> Trace:
    return Trace("0", "the cat", end, turns, 0, False, MaskTrack(4, 4, (None,)))


def turn(parsed: bool) -> TraceTurn:
    selection = Selection(start=0, end=0, keyframe=0)
    thought = Thought(temporal="t", spatial="s", linguistic="l", action="a")
    said = Turn(thought=thought, action="select", selection=selection)
    seen = Observation(frames=(ShownFrame(index=0, role="spatial", max_pixels=9),))
    mask = Rle.from_array(np.ones((4, 4)))
    return TraceTurn(seen, "...", said if parsed else None, None if parsed else "no\nthink", 0, mask, 1.0)


def test_the_reason_says_what_went_wrong_and_which_mask_is_taken() -> None:
    assert trace("answered", turn(True)).reason == ""
    assert "never answered" in trace("truncated", turn(True)).reason
    assert trace("unparsed", turn(False)).reason.endswith("(no think); all masks are empty")
    assert trace("unparsed", turn(True), turn(False)).reason.endswith("the mask of its last whole turn is taken")
    assert trace("too-long").reason.startswith("the dialogue does not fit the window")
