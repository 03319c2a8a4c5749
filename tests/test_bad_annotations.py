"""Bad annotations: each ends in a one-line DataError or a counted skip with its reason, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trees import FRAMES, HEIGHT, WIDTH, good_masks, good_meta, index_tree, rle, write_frames, write_tree
from vtscot.errors import DataError
from vtscot.index import Index
from vtscot.masks import Rle
from vtscot.sources.registry import open_source

Meta = dict[str, Any]
case = pytest.param


def check_accounts(index: Index, expected: int) -> dict[str, str]:
    """All expressions are there once, each used or skipped; the reasons by exp_id."""
    ids = [query.id for query in index.expressions]
    assert len(ids) == len(set(ids)) == expected
    skipped = {query.id: reason for query, reason, _ in index.skipped}
    assert len(skipped) == len(index.skipped)
    assert sorted([query.id for query in index.queries] + list(skipped)) == sorted(ids)
    assert all(detail and "\n" not in detail for _, _, detail in index.skipped)
    return {query.exp_id: reason for query, reason, _ in index.skipped}


def expression(**changes: Any) -> Callable[[Meta], None]:
    """Changes fields of expression 0; None removes one."""

    def change(meta: Meta) -> None:
        entry = meta["videos"]["cat"]["expressions"]["0"]
        for key, value in changes.items():
            entry[key] = value
            if value is None:
                del entry[key]

    return change


def added(exp_id: str, entry: Any) -> Callable[[Meta], None]:
    """Adds an expression."""
    return lambda meta: meta["videos"]["cat"]["expressions"].update({exp_id: entry})


def said(text: str, anno_id: int) -> dict[str, Any]:
    """An expression about one object."""
    return {"exp": text, "obj_id": [anno_id - 1], "anno_id": [anno_id]}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        case(expression(exp=""), {"0": "empty-expression"}, id="empty expression"),
        case(expression(exp=" \t\n\u200b"), {"0": "empty-expression"}, id="expression of white space"),
        case(expression(exp="\x00\x07"), {"0": "empty-expression"}, id="expression of control characters"),
        case(expression(exp="x" * 10_000), {"0": "expression-too-long"}, id="10,000 characters"),
        case(expression(exp="a" * 1000), {}, id="1,000 characters"),
        case(expression(exp=None), {"0": "wrong-type"}, id="no expression"),
        case(expression(exp=7), {"0": "wrong-type"}, id="expression is a number"),
        case(expression(exp=["a"]), {"0": "wrong-type"}, id="expression is a list"),
        case(expression(exp="\ud800"), {"0": "wrong-type"}, id="lone surrogate"),
        case(expression(exp="一只黑天鹅 🦢"), {}, id="unicode"),
        case(expression(obj_id=0, anno_id=1), {}, id="ids as int"),
        case(expression(obj_id="0", anno_id="1"), {}, id="ids as str"),
        case(expression(obj_id="0, 1", anno_id="1, 2"), {}, id="ids as '1, 2'"),
        case(expression(obj_id=["0"], anno_id=["1"]), {}, id="ids as list of str"),
        case(expression(obj_id=None), {}, id="obj_id missing"),
        case(expression(anno_id=None), {"0": "no-anno-id"}, id="anno_id missing"),
        case(expression(anno_id=[]), {"0": "no-anno-id"}, id="objects but no anno_id"),
        case(expression(obj_id=[], anno_id=[]), {}, id="no target"),
        case(expression(obj_id=[0, 1]), {}, id="more objects than masks"),
        case(expression(anno_id=1.5), {"0": "wrong-type"}, id="anno_id is a fraction"),
        case(expression(anno_id=[True]), {"0": "wrong-type"}, id="anno_id is a truth value"),
        case(expression(anno_id=[[1]]), {"0": "wrong-type"}, id="anno_id is nested"),
        case(expression(anno_id={"1": 2}), {"0": "wrong-type"}, id="anno_id is an object"),
        case(expression(anno_id=", "), {"0": "wrong-type"}, id="anno_id is a comma"),
        case(expression(anno_id=[99]), {"0": "unknown-anno"}, id="unknown anno_id"),
        case(expression(anno_id=[1, 99]), {"0": "unknown-anno"}, id="one of two anno_ids unknown"),
        case(added("2", None), {"2": "wrong-type"}, id="expression entry is null"),
        case(added("2", "a cat"), {"2": "wrong-type"}, id="expression entry is text"),
        case(added("../2", said("a cat", 1)), {"../2": "bad-name"}, id="exp_id leaves the tree"),
        case(added("", said("a cat", 1)), {"?": "bad-name"}, id="exp_id is empty"),
        case(added("2", said("the square that rests", 2)), {"2": "duplicate-expression"}, id="said twice"),
        case(added("2", said(" The  square that rests", 2)), {"2": "duplicate-expression"}, id="twice, but for spaces"),
        case(
            added("2", said("the square that rests", 1)),
            {"1": "ambiguous-expression", "2": "ambiguous-expression"},
            id="the same text for two objects",
        ),
    ],
)
def test_bad_expression_is_a_counted_skip(
    change: Callable[[Meta], None], reasons: dict[str, str], tmp_path: Path
) -> None:
    meta = good_meta()
    change(meta)
    index = index_tree(write_tree(tmp_path, meta, good_masks()))
    assert check_accounts(index, len(meta["videos"]["cat"]["expressions"])) == reasons


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        case([rle(0, 0)] * (FRAMES - 1), "mask-length", id="too short"),
        case([rle(0, 0)] * (FRAMES + 1), "mask-length", id="too long"),
        case([], "mask-length", id="no entries"),
        case([None] * FRAMES, "never-visible", id="all null"),
        case([[]] * FRAMES, "never-visible", id="all empty lists"),
        case([rle(0, 0, side=0)] * FRAMES, "never-visible", id="all empty masks"),
        case([rle(0, 0, width=WIDTH - 1)] * FRAMES, "mask-size", id="one column less than the frames"),
        case([rle(0, 0)] * 3 + [rle(0, 0, height=20)], "mask-invalid", id="sizes differ within the track"),
        case([{"size": [HEIGHT, WIDTH], "counts": "abc"}] * FRAMES, "mask-invalid", id="runs do not add up"),
        case([{"size": [HEIGHT, WIDTH], "counts": ""}] * FRAMES, "mask-invalid", id="empty counts"),
        case(
            [{"size": [HEIGHT, WIDTH], "counts": "é~ \x00"}] * FRAMES, "mask-invalid", id="counts of other characters"
        ),
        case([{"size": [HEIGHT, WIDTH], "counts": "o" * 5000}] * FRAMES, "mask-invalid", id="a run without end"),
        case([{"size": [HEIGHT, WIDTH], "counts": [5, 5]}] * FRAMES, "mask-invalid", id="uncompressed, too few pixels"),
        case([{"size": [HEIGHT, WIDTH], "counts": [-1, 769]}] * FRAMES, "mask-invalid", id="uncompressed, negative"),
        case([{"size": [HEIGHT, WIDTH], "counts": [2**70]}] * FRAMES, "mask-invalid", id="a run of 2**70"),
        case([{"size": [2**62, 2**62], "counts": "00"}] * FRAMES, "mask-invalid", id="an absurd size"),
        case([{"size": [-24, 32], "counts": "00"}] * FRAMES, "mask-invalid", id="a negative size"),
        case([{"size": [0, 0], "counts": "0"}] * FRAMES, "mask-invalid", id="a size of zero"),
        case([{"size": [HEIGHT], "counts": "0"}] * FRAMES, "mask-invalid", id="a size of one number"),
        case([{"size": "24x32", "counts": "0"}] * FRAMES, "mask-invalid", id="size is text"),
        case([{"counts": "0"}] * FRAMES, "mask-invalid", id="no size"),
        case([{"size": [HEIGHT, WIDTH]}] * FRAMES, "mask-invalid", id="no counts"),
        case([rle(0, 0), 7, None, None], "mask-invalid", id="an entry is a number"),
        case([[rle(0, 0), rle(0, 0, width=30)]] * FRAMES, "mask-invalid", id="a union of two sizes"),
        case([[rle(0, 0), None]] * FRAMES, "mask-invalid", id="null in a list"),
        case({"0": rle(0, 0)}, "mask-invalid", id="the track is an object"),
        case("rle", "mask-invalid", id="the track is text"),
        case(None, "mask-invalid", id="the track is null"),
    ],
)
def test_bad_track_skips_its_queries_and_no_others(track: Any, reason: str, tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks() | {"1": track}))
    assert check_accounts(index, 2) == {"0": reason}
    assert "1" not in index.objects("cat") or reason == "never-visible"
    assert index.table("2").area.tolist() == [25] * FRAMES


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        case("../cat", "bad-name", id="parent"),
        case("/etc/cat", "bad-name", id="absolute"),
        case("a/b", "bad-name", id="slash"),
        case("a\\b", "bad-name", id="backslash"),
        case("C:cat", "bad-name", id="drive"),
        case("a\0b", "bad-name", id="NUL"),
        case("", "bad-name", id="empty"),
        case("\udcff", "bad-name", id="lone surrogate"),
        case("c" * 300, "bad-name", id="300 characters"),
        case("猫 🐈", "frame-missing", id="unicode, a good name without frames"),
    ],
)
def test_bad_video_name_skips_its_queries(key: str, reason: str, tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"][key] = good_meta()["videos"]["cat"]
    index = index_tree(write_tree(tmp_path, meta, good_masks()))
    check_accounts(index, 4)
    assert [r for _, r, _ in index.skipped] == [reason, reason]
    assert [query.video for query in index.queries] == ["cat", "cat"]


@pytest.mark.parametrize(
    ("body", "reason", "expressions"),
    [
        case({"frames": []}, "no-frames", 2, id="no frames"),
        case({"frames": None}, "no-frames", 2, id="frames are null"),
        case({"frames": "00000"}, "no-frames", 2, id="frames are text"),
        case({"frames": [0, 1]}, "no-frames", 2, id="frames are numbers"),
        case({"frames": ["\ud800"]}, "no-frames", 2, id="a frame is a lone surrogate"),
        case({"frames": ["../../x"]}, "bad-name", 2, id="a frame leaves the tree"),
        case({"frames": ["/etc/passwd"]}, "bad-name", 2, id="a frame is absolute"),
        case({"frames": ["00000", "00099"]}, "frame-missing", 2, id="a frame is not on disk"),
        case({"expressions": 7}, None, 0, id="expressions are a number"),
        case({"expressions": None}, None, 0, id="expressions are null"),
    ],
)
def test_bad_video_is_a_fault_of_its_queries(body: Meta, reason: str | None, expressions: int, tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"].update(body)
    index = index_tree(write_tree(tmp_path, meta, good_masks()))
    assert set(check_accounts(index, expressions).values()) == ({reason} if reason else set())
    assert any(fault.video == "cat" and fault.fatal for fault in index.faults)


def test_a_video_that_is_no_object_is_a_fault(tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["dog"] = [1]
    index = index_tree(write_tree(tmp_path, meta, good_masks()))
    assert [(fault.kind, fault.video) for fault in index.faults] == [("wrong-type", "dog")]
    assert check_accounts(index, 2) == {}


def test_expressions_may_be_a_list(tmp_path: Path) -> None:
    meta = good_meta()
    first = {"exp_id": 5, "exp_text": "the square that moves", "obj_id": "0", "anno_id": 1}
    meta["videos"]["cat"]["expressions"] = [first, said("the square that rests", 2), first | {"exp_text": "again"}]
    index = index_tree(write_tree(tmp_path, meta, good_masks()))
    assert check_accounts(index, 3) == {"5#": "duplicate-id"}
    assert [query.exp_id for query in index.queries] == ["5", "1"]


def test_repeated_keys_lose_nothing(tmp_path: Path) -> None:
    video = json.dumps(good_meta()["videos"]["cat"])
    double = video.replace('"1": {"exp"', '"0": {"exp"')
    meta = f'{{"videos": {{"cat": {video}, "cat": {video}, "dog": {double}}}}}'
    index = index_tree(write_tree(tmp_path, meta, good_masks()), check_frames=False)
    check_accounts(index, 6)
    reasons = [(query.id, reason) for query, reason, _ in index.skipped]
    assert reasons == [
        ("mevis/train/dog/0#", "duplicate-id"),
        ("mevis/train/cat/0#", "duplicate-video"),
        ("mevis/train/cat/1#", "duplicate-video"),
    ]


def test_masks_that_come_twice_are_not_trusted(tmp_path: Path) -> None:
    track = json.dumps(good_masks()["1"])
    masks = f'{{"1": {track}, "2": {json.dumps(good_masks()["2"])}, "1": {track}}}'
    assert check_accounts(index_tree(write_tree(tmp_path, good_meta(), masks)), 2) == {"0": "duplicate-anno"}


def test_masks_of_another_size_than_the_frames(tmp_path: Path) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks(), images=False)
    write_frames(root / "train" / "JPEGImages" / "cat", width=WIDTH + 1)
    index = index_tree(root)
    assert check_accounts(index, 2) == {"0": "mask-size", "1": "mask-size"}
    assert "(24, 32)" in index.skipped[0][2]
    assert "(24, 33)" in index.skipped[0][2]


def test_a_real_mask_that_is_one_column_narrower_than_its_frame(tmp_path: Path, shared_data: Path) -> None:
    judo = shared_data / "odd" / "judo"
    meta = good_meta()
    meta["videos"]["cat"]["frames"] = ["frame_854x480"]
    mask = Rle.from_array(np.asarray(Image.open(judo / "mask_853x480.png"))).coco()
    root = write_tree(tmp_path, meta, {"1": [mask], "2": [rle(0, 0, height=480, width=854)]}, images=False)
    shutil.copytree(judo, root / "train" / "JPEGImages" / "cat")
    index = index_tree(root)
    assert check_accounts(index, 2) == {"0": "mask-size"}
    assert "(480, 853)" in index.skipped[0][2]


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        case(b"no image", "00000.jpg", "frame-broken", id="not an image"),
        case(b"", "00000.jpg", "frame-broken", id="empty file"),
        case(None, "00003.jpg", "frame-missing", id="missing"),
        case(None, "", "frame-missing", id="the folder is missing"),
    ],
)
def test_bad_frames_skip_the_video(content: bytes | None, name: str, reason: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks())
    path = root / "train" / "JPEGImages" / "cat" / name
    if content is not None:
        path.write_bytes(content)
    elif name:
        path.unlink()
    else:
        shutil.rmtree(path)
    assert check_accounts(index_tree(root), 2) == {"0": reason, "1": reason}
    assert check_accounts(index_tree(root, check_frames=False), 2) == {}


def test_a_folder_that_links_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", good_meta(), good_masks(), images=False)
    write_frames(tmp_path / "elsewhere")
    (root / "train" / "JPEGImages").mkdir()
    (root / "train" / "JPEGImages" / "cat").symlink_to(tmp_path / "elsewhere")
    assert check_accounts(index_tree(root), 2) == {"0": "bad-name", "1": "bad-name"}


@pytest.mark.parametrize("size", [case((30_000, 20_000), id="600 Mpx"), case((12_000, 10_000), id="120 Mpx")])
def test_a_frame_that_claims_to_be_enormous_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks())
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (root / "train" / "JPEGImages" / "cat" / "00000.png").write_bytes(png + bytes(100))
    (root / "train" / "JPEGImages" / "cat" / "00000.jpg").unlink()
    assert check_accounts(index_tree(root), 2) == {"0": "frame-broken", "1": "frame-broken"}


def test_a_video_of_one_frame_is_fine(tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"]["frames"] = ["00000"]
    index = index_tree(write_tree(tmp_path, meta, {"1": [rle(0, 0)], "2": [rle(9, 9)]}))
    assert check_accounts(index, 2) == {}
    assert len(index.table("1")) == 1


@pytest.mark.parametrize(
    ("meta", "masks", "message"),
    [
        case(b"", good_masks(), "meta_expressions.json: not JSON at byte 0", id="empty meta"),
        case(json.dumps(good_meta())[:50], good_masks(), "not JSON at byte", id="truncated meta"),
        case(b'{"videos": "\xff"}', good_masks(), "not UTF-8 at byte 12", id="meta not UTF-8"),
        case(b"<html>", good_masks(), "not JSON at byte 0", id="HTML"),
        case('{"videos": NaN}', good_masks(), "NaN is not JSON", id="NaN"),
        case('{"videos": ' + "9" * 5000 + "}", good_masks(), "not usable JSON", id="a number of 5,000 digits"),
        case("[" * 200_000, good_masks(), "not usable JSON", id="200,000 brackets"),
        case([], good_masks(), "a JSON object is needed", id="a list"),
        case({}, good_masks(), 'no object under "videos"', id="no videos"),
        case({"videos": [1]}, good_masks(), 'no object under "videos"', id="videos are a list"),
        case(good_meta(), b"", "mask_dict.json: not usable JSON: the file is empty", id="empty masks"),
        case(good_meta(), json.dumps(good_masks())[:-9], "the file ends early", id="truncated masks"),
        case(good_meta(), [1], "a JSON object is needed", id="masks are a list"),
        case(good_meta(), '{"1": [nul], "2": []}', "not JSON at byte", id="a word that is none"),
        case(good_meta(), '{"1": [7, nul], "2": []}', "in the masks of 1", id="not JSON behind a wrong type"),
        case(good_meta(), b'{"1": ["\xff"], "2": []}', "in the masks of 1", id="masks not UTF-8"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(meta: Any, masks: Any, message: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path, meta, masks)
    with pytest.raises(DataError) as caught:
        index_tree(root)
    assert message in str(caught.value)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (root / "index" / "index.json").exists()


@pytest.mark.parametrize(
    ("where", "split", "message"),
    [
        case("nowhere", "train", "no such folder", id="missing root"),
        case("", "test", "splits here: train", id="missing split"),
        case("", "../train", "splits here: train", id="split leaves the root"),
        case("train", "train", "no split is here", id="one folder too deep"),
    ],
)
def test_missing_root_or_split_says_what_was_looked_for(where: str, split: str, message: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks())
    with pytest.raises(DataError, match=message):
        open_source("mevis", root / where, split)


def test_nested_beyond_any_stack_is_a_fault_of_its_track(tmp_path: Path) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    masks = f'{{"1": {deep}, "2": {json.dumps(good_masks()["2"])}}}'
    assert check_accounts(index_tree(write_tree(tmp_path, good_meta(), masks)), 2) == {"0": "mask-invalid"}
