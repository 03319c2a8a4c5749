"""PNG masks with something wrong in them: a counted skip that says why, and no neighbour lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.breaking import Change, bomb, drawn, linked, said, skipped, tiny_world, written
from tests.formats import World, write_labels
from tests.trees import FRAMES, WIDTH

case = pytest.param
META = "meta_expressions/train/meta_expressions.json"
PNG = "train/Annotations/cat/00005.png"
BOTH = {"cat 0", "cat 1"}


@pytest.fixture
def tiny(tmp_path: Path) -> World:
    """Two small videos."""
    return tiny_world(tmp_path)


@pytest.mark.parametrize(
    ("change", "lost", "reason"),
    [
        case(written(PNG, None), BOTH, "mask-missing", id="a mask is missing"),
        case(written("train/Annotations/cat", None), BOTH, "mask-missing", id="the masks of a video are missing"),
        case(written(PNG, b""), BOTH, "mask-broken", id="an empty file"),
        case(written(PNG, b"<html>not found</html>"), BOTH, "mask-broken", id="a page of HTML"),
        case(written(PNG, bomb()), BOTH, "mask-broken", id="a decompression bomb"),
        case(lambda root: (root / PNG).write_bytes((root / PNG).read_bytes()[:-30]), BOTH, "mask-broken", id="cut off"),
        case(lambda root: Image.new("RGB", (9, 9)).save(root / PNG, "JPEG"), BOTH, "mask-broken", id="a JPEG"),
        case(drawn(PNG, "RGB"), BOTH, "mask-mode", id="colours instead of numbers"),
        case(drawn(PNG, "RGBA"), BOTH, "mask-mode", id="colours and alpha"),
        case(drawn(PNG, "L"), set(), "", id="numbers without palette"),
        case(drawn(PNG, "L", width=WIDTH - 1), BOTH, "mask-size", id="one of another size"),
        case(linked, BOTH, "bad-name", id="a link that leads out"),
        case(said(META, "0", obj_id=None), {"cat 0"}, "no-obj-id", id="obj_id missing"),
        case(said(META, "0", obj_id="0"), {"cat 0"}, "bad-target", id="the background"),
        case(said(META, "0", obj_id="left"), {"cat 0"}, "bad-target", id="obj_id is a word"),
        case(said(META, "0", obj_id="-1"), {"cat 0"}, "bad-target", id="obj_id is negative"),
        case(said(META, "0", obj_id="9" * 5000), {"cat 0"}, "bad-target", id="obj_id of 5,000 digits"),
        case(said(META, "0", obj_id=1.5), {"cat 0"}, "wrong-type", id="obj_id is a fraction"),
        case(said(META, "0", obj_id="7"), {"cat 0"}, "never-visible", id="an object that is never seen"),
        case(said(META, "0", obj_id="300"), {"cat 0"}, "never-visible", id="a number no pixel of it can be"),
        case(said(META, "0", obj_id="1, 2"), set(), "", id="two objects"),
        case(said(META, "0", obj_id=1), set(), "", id="obj_id is a number"),
        case(said(META, "0", obj_id=[]), set(), "", id="no target"),
        case(said(META, "0", anno_id=[5]), set(), "", id="an anno_id nobody asked for"),
        case(
            written("train/Annotations", None), {"cat 0", "cat 1", "dog 0", "dog 1"}, "no-masks", id="no masks at all"
        ),
    ],
)
def test_palette_masks(change: Change, lost: set[str], reason: str, tiny: World, tmp_path: Path) -> None:
    _, reasons = skipped("ref-youtube-vos", tiny, tmp_path, change)
    assert reasons == dict.fromkeys(lost, reason)


def test_masks_of_another_size_than_the_frames(tiny: World, tmp_path: Path) -> None:
    changes = [drawn(f"train/Annotations/cat/{i * 5:05d}.png", "L", width=WIDTH + 1) for i in range(FRAMES)]
    _, reasons = skipped("ref-youtube-vos", tiny, tmp_path, *changes)
    assert reasons == dict.fromkeys(BOTH, "mask-size")


def test_the_fault_names_video_object_frame_and_file(tiny: World, tmp_path: Path) -> None:
    index, _ = skipped("ref-youtube-vos", tiny, tmp_path, written(PNG, b"?"))
    faults = [fault for fault in index.faults if fault.query is None]
    assert [(f.kind, f.video, f.anno_id, f.frame) for f in faults] == [
        ("mask-broken", "cat", "cat/1", 1),
        ("mask-broken", "cat", "cat/2", 1),
    ]
    assert all("00005.png" in fault.detail for fault in faults)


LONG = "train/meta_expressions.json"
ONE = "train/Annotations/cat/1"


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        case(written(f"{ONE}/00004.png", None), {}, id="a file is missing: the object is not there"),
        case(written(ONE, None), {"cat 0": "mask-missing"}, id="the folder of an object is missing"),
        case(written(f"{ONE}/00004.png", b"?"), {"cat 0": "mask-broken"}, id="a broken file"),
        case(said(LONG, "0", obj_id="../2"), {"cat 0": "bad-name"}, id="an object that leaves the tree"),
        case(said(LONG, "0", obj_id=".."), {"cat 0": "bad-name"}, id="an object that is the folder above"),
        case(said(LONG, "0", obj_id="a/b"), {"cat 0": "bad-name"}, id="an object with a slash"),
        case(said(LONG, "0", type=7), {}, id="a type that is a number"),
        case(drawn(f"{ONE}/00004.png", "RGB"), {}, id="white on black in colour"),
        case(drawn(f"{ONE}/00004.png", "1"), {}, id="one bit"),
        case(drawn(f"{ONE}/00004.png", "L", height=9), {"cat 0": "mask-size"}, id="another size"),
    ],
)
def test_folders_per_object(change: Change, reasons: dict[str, str], tiny: World, tmp_path: Path) -> None:
    index, found = skipped("long-rvos", tiny, tmp_path, change)
    assert found == reasons
    assert not [fault for fault in index.faults if not fault.fatal]


def test_colour_and_one_bit_masks_are_the_same_masks(tiny: World, tmp_path: Path) -> None:
    plain, _ = skipped("long-rvos", tiny, tmp_path / "plain")
    changes = (drawn(f"{ONE}/00000.png", "RGB"), drawn(f"{ONE}/00004.png", "1"))
    other, _ = skipped("long-rvos", tiny, tmp_path / "other", *changes)
    assert plain.track("cat/1") == other.track("cat/1")


def test_sixteen_bit_labels(tiny: World, tmp_path: Path) -> None:
    """Numbers beyond 255 need 16 bits."""

    def change(root: Path) -> None:
        for path in sorted((root / "train/Annotations/cat").iterdir()):
            labels = np.asarray(Image.open(path)).astype(np.uint16)
            Image.fromarray(np.where(labels == 1, 300, labels).astype(np.uint16)).save(path)

    plain, _ = skipped("ref-youtube-vos", tiny, tmp_path / "plain")
    wide, reasons = skipped("ref-youtube-vos", tiny, tmp_path / "wide", change, said(META, "0", obj_id="300"))
    assert reasons == {}
    assert wide.track("cat/300") == plain.track("cat/1")


def test_numbers_count_not_colours(tmp_path: Path) -> None:
    """The helper of these tests writes what it should: palette images whose indices are the numbers."""
    write_labels(tmp_path / "a.png", np.array([[0, 1], [2, 3]], np.uint8))
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "P"
    assert np.asarray(image).tolist() == [[0, 1], [2, 3]]
