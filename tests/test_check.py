"""`vtscot check`: every planted fault is found with its kind, and nothing is said of clean trees but what is so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.breaking import drawn, said, tiny_world, written
from tests.clips import write_clip
from tests.formats import FORMATS, Format, load_world
from tests.trees import FRAMES, HEIGHT, WIDTH, good_masks, good_meta, rle, write_tree
from vtscot import doctor as package
from vtscot.doctor import Finding, Report, examine
from vtscot.doctor.text import odd_text
from vtscot.frames import Frames, VideoFrames
from vtscot.records import Video
from vtscot.sources.base import Fault
from vtscot.sources.mevis import MevisSource
from vtscot.sources.registry import open_source

case = pytest.param
Meta = dict[str, Any]
by_source = pytest.mark.parametrize("form", FORMATS, ids=[form.source for form in FORMATS])


def doctor(root: Path, scratch: Path, source: str = "mevis", split: str = "train", **options: Any) -> Report:
    """The report on one tree."""
    return examine(open_source(source, root, split), scratch / "index", **options)


def said_by(report: Report) -> set[tuple[str, bool]]:
    """(kind, fatal) of all findings."""
    return {(finding.kind, finding.fatal) for finding in report.findings}


def entry(meta: Meta, exp_id: str = "0") -> dict[str, Any]:
    found: dict[str, Any] = meta["videos"]["cat"]["expressions"][exp_id]
    return found


def test_nothing_is_said_of_a_good_tree(tmp_path: Path) -> None:
    report = doctor(write_tree(tmp_path / "tree", good_meta(), good_masks()), tmp_path)
    assert report == Report("mevis", "train", videos=1, queries=2, lost=0, findings=())
    assert report.usable == 2
    assert not report.fatal


def add(meta: Meta, exp_id: str, **fields: Any) -> None:
    meta["videos"]["cat"]["expressions"][exp_id] = {"exp": "a third square", "obj_id": [0], "anno_id": [1]} | fields


@pytest.mark.parametrize(
    ("change", "kind", "lost"),
    [
        case(lambda meta, masks: masks["1"].pop(), "mask-length", 1, id="a mask too few"),
        case(lambda meta, masks: masks["1"].append(None), "mask-length", 1, id="a mask too many"),
        case(lambda meta, masks: masks.update({"1": [rle(0, 0, width=WIDTH - 1)] * FRAMES}), "mask-size", 1, id="size"),
        case(lambda meta, masks: masks["1"][0].update(counts="abc"), "mask-invalid", 1, id="no RLE"),
        case(lambda meta, masks: masks["1"][0].update(size=[20, 32]), "mask-invalid", 1, id="two sizes in a track"),
        case(lambda meta, masks: masks.pop("1"), "unknown-anno", 1, id="no masks for a target"),
        case(lambda meta, masks: masks.update({"1": [None] * FRAMES}), "never-visible", 1, id="never visible"),
        case(lambda meta, masks: entry(meta).pop("anno_id"), "no-anno-id", 1, id="no anno_id"),
        case(lambda meta, masks: entry(meta).update(exp=" \u200b"), "empty-expression", 1, id="empty text"),
        case(lambda meta, masks: entry(meta).update(exp="x" * 9999), "expression-too-long", 1, id="long text"),
        case(lambda meta, masks: entry(meta).update(exp=7), "wrong-type", 1, id="text is a number"),
        case(
            lambda meta, masks: add(meta, "2", exp="The  square that moves"), "duplicate-expression", 1, id="said twice"
        ),
        case(
            lambda meta, masks: add(meta, "2", exp="the square that rests"), "ambiguous-expression", 2, id="ambiguous"
        ),
        case(lambda meta, masks: add(meta, "../2"), "bad-name", 1, id="an id that leaves the tree"),
        case(lambda meta, masks: meta["videos"]["cat"].update(frames=[]), "no-frames", 2, id="no frames"),
        case(
            lambda meta, masks: meta["videos"]["cat"]["frames"].__setitem__(3, "00099"),
            "frame-missing",
            2,
            id="no file",
        ),
    ],
)
def test_faults_of_the_annotations_are_fatal(
    change: Callable[[Meta, Meta], object], kind: str, lost: int, tmp_path: Path
) -> None:
    meta, masks = good_meta(), good_masks()
    change(meta, masks)
    report = doctor(write_tree(tmp_path / "tree", meta, masks), tmp_path)
    assert {name for name, fatal in said_by(report) if fatal} == {kind}
    assert report.lost == lost
    assert report.queries == len(meta["videos"]["cat"]["expressions"])
    assert all(finding.video == "cat" for finding in report.findings if finding.fatal)


def test_the_same_key_twice_is_found(tmp_path: Path) -> None:
    video = json.dumps(good_meta()["videos"]["cat"])
    meta = f'{{"videos": {{"cat": {video.replace(chr(34) + "1" + chr(34) + ": {", chr(34) + "0" + chr(34) + ": {")}}}}}'
    masks = json.dumps(good_masks())
    masks = masks[:-1] + ', "2": []}'
    report = doctor(write_tree(tmp_path / "tree", meta, masks), tmp_path)
    assert {"duplicate-id", "duplicate-anno"} == {name for name, fatal in said_by(report) if fatal}
    twice = f'{{"videos": {{"cat": {video}, "cat": {video}}}}}'
    report = doctor(write_tree(tmp_path / "other", twice, good_masks()), tmp_path)
    assert report.kinds == {"duplicate-video": 3}
    assert (report.queries, report.lost) == (4, 2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        case(" the square  that moves", "odd-white-space", id="white space"),
        case("the square\x07 that moves", "odd-white-space", id="control character"),
        case("the caf\ufffd square", "odd-text", id="lost characters"),
        case("the cafÃ© square", "odd-text", id="wrong encoding"),
        case("the squareâ€™s shadow", "odd-text", id="wrong encoding, Windows"),
        case("the black &amp; white square", "odd-text", id="escaped for HTML"),
        case("the square \u200bthat moves", "odd-text", id="invisible character"),
        case("the café square", None, id="an accent"),
        case("一只黑天鹅 🦢", None, id="Chinese and an emoji"),
        case("the AT&T square", None, id="an ampersand"),
        case("the 👨\u200d👩\u200d👧 square", None, id="a joined emoji"),
    ],
)
def test_odd_text_is_noted(text: str, kind: str | None, tmp_path: Path) -> None:
    meta = good_meta()
    entry(meta)["exp"] = text
    report = doctor(write_tree(tmp_path / "tree", meta, good_masks()), tmp_path)
    assert said_by(report) == ({(kind, False)} if kind else set())
    assert report.lost == 0


def test_real_expressions_are_not_odd(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "expressions").glob("*.json")):
        for video in json.loads(path.read_bytes())["videos"].values():
            for expression in video["expressions"].values():
                assert odd_text(expression["exp"]) is None, expression
                seen += 1
    assert seen == 4576


def test_notes_lose_nothing(tmp_path: Path) -> None:
    meta, masks = good_meta(), good_masks() | {"3": [None] * FRAMES}
    entry(meta).update(obj_id=[0, 2], anno_id=[1, 3])  # one of two targets is never seen
    entry(meta, "1").update(obj_id=[1, 0])
    report = doctor(write_tree(tmp_path / "tree", meta, masks), tmp_path)
    assert said_by(report) == {("never-visible", False), ("target-count", False)}
    assert [finding.anno_id for finding in report.findings if finding.kind == "never-visible"] == ["3"]
    assert not report.fatal


def cat(root: Path, frame: int) -> Path:
    return root / "train" / "JPEGImages" / "cat" / f"{frame:05d}.jpg"


def spoil(path: Path) -> None:
    """Damage in the middle of a JPEG, a second beginning: its end is where it should be."""
    data = bytearray(path.read_bytes())
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    data[middle : middle + 2] = b"\xff\xd8"
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("frame", "change", "kind"),
    [
        case(0, lambda path: path.write_bytes(b"no image"), "frame-broken", id="the first is no image"),
        case(5, lambda path: path.write_bytes(b"no image"), "frame-broken", id="one is no image"),
        case(5, lambda path: path.write_bytes(b""), "frame-broken", id="one is empty"),
        case(5, lambda path: path.unlink(), "frame-missing", id="one is missing"),
        case(5, lambda path: shutil.rmtree(path.parent), "frame-missing", id="all are missing"),
        case(5, cut, "frame-broken", id="one is cut off"),
        case(5, lambda path: Image.new("RGB", (WIDTH, HEIGHT + 2)).save(path), "frame-size", id="one is larger"),
    ],
)
def test_bad_frames_lose_their_video(frame: int, change: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    root = long_tree(tmp_path / "tree")
    change(cat(root, frame))
    report = doctor(root, tmp_path)
    assert {name for name, fatal in said_by(report) if fatal} == {kind}
    assert report.lost == 2
    assert frame in {finding.frame for finding in report.findings} or kind == "frame-missing"


def long_tree(root: Path, frames: int = 40) -> Path:
    """A good tree of textured frames, more than are decoded unless all are."""
    meta, masks = good_meta(), {key: [track[0]] * frames for key, track in good_masks().items()}
    meta["videos"]["cat"]["frames"] = [f"{i:05d}" for i in range(frames)]
    write_tree(root, meta, masks, images=False)
    cat(root, 0).parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for i in range(frames):
        Image.fromarray(noise).save(cat(root, i))
    return root


def test_damage_in_the_middle_of_a_jpeg_is_seen_by_decoding(tmp_path: Path) -> None:
    root = long_tree(tmp_path / "tree")
    assert doctor(root, tmp_path, deep=True).findings == ()
    spoil(cat(root, 7))  # not among those that are decoded in any case
    assert doctor(root, tmp_path).findings == ()
    report = doctor(root, tmp_path, deep=True)
    assert [(finding.kind, finding.frame) for finding in report.findings] == [("frame-broken", 7)]


def test_a_png_with_a_wrong_check_sum_is_found_without_decoding_all(tmp_path: Path) -> None:
    root = long_tree(tmp_path / "tree")
    for i in range(40):
        Image.open(cat(root, i)).save(cat(root, i).with_suffix(".png"))
        cat(root, i).unlink()
    assert doctor(root, tmp_path).findings == ()
    path = cat(root, 7).with_suffix(".png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    report = doctor(root, tmp_path)
    assert [(finding.kind, finding.frame) for finding in report.findings] == [("frame-broken", 7)]


class ClipSource(MevisSource):
    """A MeViS tree whose videos are clips, `<video>.mp4`."""

    named = True

    def inspect(self, video: Video) -> tuple[Video, list[Fault]]:
        return video.model_copy(update={"width": 64, "height": 48}), []

    def frames(self, video: Video) -> Frames:
        return VideoFrames(self.images / f"{video.name}.mp4", video.frames if self.named else None)


@pytest.mark.parametrize(
    ("empty", "frames", "found"),
    [
        case(0, 20, None, id="as announced"),
        case(3, 21, "note", id="announces more than it holds"),
        case(3, 23, "fatal", id="annotated as announced"),
    ],
)
def test_the_length_of_a_clip(empty: int, frames: int, found: str | None, tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"]["frames"] = [f"{i:05d}" for i in range(frames)]
    masks = {key: [rle(2, 3, height=48, width=64)] * frames for key in ("1", "2")}
    root = write_tree(tmp_path / "tree", meta, masks, images=False)
    (root / "train" / "JPEGImages").mkdir()
    write_clip(root / "train" / "JPEGImages" / "cat.mp4", frames=20, codec="mpeg4", empty=empty)
    report = examine(ClipSource(root, "train"), tmp_path / "index")
    assert said_by(report) == ({("container-length", found == "fatal")} if found else set())
    assert report.lost == (2 if found == "fatal" else 0)


def test_a_clip_that_is_none(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", good_meta(), {"1": [rle(2, 3, height=48, width=64)] * FRAMES, "2": []})
    (root / "train" / "JPEGImages" / "cat.mp4").write_bytes(b"<html>")
    report = examine(ClipSource(root, "train"), tmp_path / "index")
    assert ("frame-broken", True) in said_by(report)
    assert report.lost == report.queries == 2


def test_a_split_without_masks_is_a_note(tmp_path: Path) -> None:
    report = doctor(write_tree(tmp_path / "tree", good_meta(), None, split="valid"), tmp_path, split="valid")
    assert said_by(report) == {("no-masks", False)}
    assert report.lost == 0
    assert not report.fatal


PNG = "train/Annotations/cat/00005.png"
META = "meta_expressions/train/meta_expressions.json"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        case(written(PNG, None), "mask-missing", id="a mask is missing"),
        case(written(PNG, b"<html>"), "mask-broken", id="a mask is no PNG"),
        case(drawn(PNG, "RGB"), "mask-mode", id="a mask in colours"),
        case(drawn(PNG, "L", width=WIDTH - 1), "mask-size", id="a mask of another size"),
        case(said(META, "0", obj_id=None), "no-obj-id", id="no obj_id"),
        case(said(META, "0", obj_id="left"), "bad-target", id="obj_id is a word"),
        case(said(META, "0", obj_id="7"), "never-visible", id="an object never seen"),
    ],
)
def test_masks_that_are_files(change: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    FORMATS[0].write(tiny_world(tmp_path), root)
    assert doctor(root, tmp_path, "ref-youtube-vos").findings == ()
    change(root)
    report = doctor(root, tmp_path, "ref-youtube-vos")
    assert {name for name, fatal in said_by(report) if fatal} == {kind}
    assert {finding.video for finding in report.findings} == {"cat"}
    assert report.lost in (1, 2)


def test_a_stated_size_is_noted(tmp_path: Path) -> None:
    root, form = tmp_path / "tree", next(form for form in FORMATS if form.source == "revos")
    form.write(tiny_world(tmp_path), root)
    path = root / "meta_expressions_valid_.json"
    meta = json.loads(path.read_bytes())
    next(iter(meta["videos"].values()))["width"] = 99
    path.write_text(json.dumps(meta))
    report = doctor(root, tmp_path, "revos", form.split)
    assert said_by(report) == {("stated-size", False)}


@by_source
def test_nothing_is_said_of_a_clean_tree_of_any_format(form: Format, demo_root: Path, tmp_path: Path) -> None:
    """The format of ReasonVOS counts the ids of every object from 0; not all tracks of the demo are named."""
    form.write(load_world(demo_root), tmp_path / "tree")
    report = doctor(tmp_path / "tree", tmp_path, form.source, form.split)
    so = {"reasonvos": {"repeated-ids"}, "ref-sav": {"unnamed-tracks"}}
    assert report.kinds.keys() == so.get(form.source, set())
    assert not report.fatal
    assert report.usable == report.queries > 0


def test_nothing_is_said_of_the_demo(demo_root: Path, tmp_path: Path) -> None:
    for split, videos in (("train", 6), ("valid_u", 2)):
        report = doctor(demo_root, tmp_path, "demo", split, deep=True)
        assert report.findings == ()
        assert report.videos == videos


@pytest.mark.parametrize("source", ["mevis", "revos", "ref-youtube-vos"])
def test_of_the_real_trees_only_what_is_so(source: str, shared_data: Path, tmp_path: Path) -> None:
    report = doctor(shared_data / source, tmp_path, source)
    assert [(finding.kind, finding.video, finding.exp_id) for finding in report.findings] == [
        ("duplicate-expression", "blackswan" if source != "revos" else "DAVIS/val/blackswan", "3"),
        ("odd-white-space", "dog" if source != "revos" else "DAVIS/val/dog", "3"),
    ]
    assert (report.queries, report.lost) == (12, 1)


def kinds_in(folder: Path) -> Iterator[str]:
    """Every kind of fault or finding that the modules of a folder name."""
    pattern = r'(?:Fault|Finding|refuse|PngError|fault_of)\(\s*(?:[\w.]+, )?"([a-z-]+)"|kind="([a-z-]+)"'
    loose = r'\(\s*"([a-z]+-[a-z-]+)",\s'
    for path in folder.rglob("*.py"):
        for found in re.finditer(f"{pattern}|{loose}", path.read_text()):
            yield next(group for group in found.groups() if group)


def test_every_kind_is_documented() -> None:
    folder = Path(package.__file__).parents[1]
    kinds = {kind for name in ("sources", "index", "doctor") for kind in kinds_in(folder / name)}
    assert len(kinds) > 25
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", package.__doc__ or ""))
    assert {kind for kind in kinds if kind not in words} == set()


def test_a_finding_without_confidence_has_no_such_key() -> None:
    assert "confidence" not in Finding("odd-text", "x").json()
    assert Finding("misaligned", "x", confidence=0.9).json()["confidence"] == 0.9
