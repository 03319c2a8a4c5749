"""Sources read the trees of the field: real MeViS files, the demo tree, and every way of writing ids and text."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees import good_masks, good_meta, rle, write_tree
from vtscot.errors import DataError, UsageError
from vtscot.sources.base import RawMask
from vtscot.sources.expressions import normalise, parse_ids
from vtscot.sources.names import bad_name
from vtscot.sources.registry import SOURCES, open_source


def test_sources_are_found_by_name() -> None:
    assert {"demo", "mevis"} <= set(SOURCES)
    assert all(source.name == name for name, source in SOURCES.items())
    with pytest.raises(UsageError, match=r"no source is called 'mevi'; there are: .*mevis"):
        open_source("mevi", Path(), "train")


def test_licences_say_what_may_leave_the_machine() -> None:
    assert (SOURCES["mevis"].licence.id, SOURCES["mevis"].licence.redistributable) == ("cc-by-nc-sa-4.0", False)
    assert (SOURCES["demo"].licence.id, SOURCES["demo"].licence.redistributable) == ("cc0-1.0", True)


def test_real_mevis_tree(shared_data: Path) -> None:
    source = open_source("mevis", shared_data / "mevis", "train")
    assert [(video.name, len(video.frames)) for video in source.videos()] == [
        ("blackswan", 50),
        ("car-shadow", 40),
        ("dog", 60),
    ]
    assert len(list(source.expressions())) == 12
    first = next(source.queries())
    assert (first.id, first.expression) == ("mevis/train/blackswan/0", "a black swan")
    assert (first.object_ids, first.anno_ids) == (("0",), ("1000000",))
    raw = json.loads((shared_data / "mevis" / "train" / "mask_dict.json").read_bytes())
    tracks = dict(source.tracks())
    assert list(tracks) == list(raw)
    for anno_id, entries in raw.items():
        expected = [entry and RawMask(tuple(entry["size"]), entry["counts"]) for entry in entries]
        assert tracks[anno_id] == expected
    assert Counter(fault.kind for fault in source.faults) == {"duplicate-expression": 1, "odd-white-space": 1}


def test_real_frames(shared_data: Path) -> None:
    source = open_source("mevis", shared_data / "mevis", "train")
    for video in source.videos():
        seen, faults = source.inspect(video)
        assert (seen.width, seen.height, faults) == (854, 480, [])
    assert len(source.frames(video)) == 60
    assert source.frames(video).size(0) == (854, 480)


def test_real_expressions_without_masks(shared_data: Path, tmp_path: Path) -> None:
    """All 2,236 expressions of MeViS valid are queries: what is held out will be asked for, repeated or not."""
    (found,) = (shared_data / "expressions").rglob("*mevis*.json")
    (tmp_path / "valid").mkdir()
    shutil.copy(found, tmp_path / "valid" / "meta_expressions_release.json")
    source = open_source("mevis", tmp_path, "valid")
    assert not source.has_masks
    assert list(source.tracks()) == []
    assert len(list(source.videos())) == 140
    assert len(list(source.queries())) == len(list(source.expressions())) == 2236
    notes = Counter(fault.kind for fault in source.faults)
    assert notes["odd-white-space"] == 16
    assert not any(fault.fatal for fault in source.faults)


@pytest.mark.parametrize("split", ["train", "valid_u"])
def test_demo_tree_has_no_faults(demo_root: Path, split: str) -> None:
    source = open_source("demo", demo_root, split)
    videos = {video.name: source.inspect(video) for video in source.videos()}
    assert len(videos) == {"train": 6, "valid_u": 2}[split]
    named = {anno_id: query.video for query in source.queries() for anno_id in query.anno_ids}
    lengths = {anno_id: len(track) for anno_id, track in source.tracks(named)}
    assert lengths == {anno_id: len(videos[name][0].frames) for anno_id, name in named.items() if anno_id in lengths}
    assert set(lengths) == set(named)
    assert not [fault for fault in source.faults if fault.fatal]
    assert not [fault for _, faults in videos.values() for fault in faults]


def test_reading_twice_says_the_same(demo_root: Path) -> None:
    source = open_source("demo", demo_root, "valid_u")
    first = (list(source.queries()), dict(source.tracks()), source.faults)
    assert (list(source.queries()), dict(source.tracks()), source.faults) == first


def test_both_names_of_the_expressions_file(tmp_path: Path) -> None:
    folder = write_tree(tmp_path, good_meta(), None) / "train"
    (folder / "meta_expressions.json").rename(folder / "meta_expressions_release.json")
    assert len(list(open_source("mevis", tmp_path, "train").queries())) == 2


def test_only_wanted_tracks_are_decoded(tmp_path: Path) -> None:
    masks = good_masks() | {"7": "of no interest", "2": [[rle(0, 0), rle(9, 9)], None, [], rle(1, 1)]}
    source = open_source("mevis", write_tree(tmp_path, good_meta(), masks), "train")
    assert [anno_id for anno_id, _ in source.tracks({"2"})] == ["2"]
    assert [(fault.kind, fault.fatal) for fault in source.faults] == [("unnamed-tracks", False)]
    assert "2 tracks" in source.faults[0].detail
    assert [anno_id for anno_id, _ in source.tracks()] == ["1", "2"]
    assert [(fault.kind, fault.anno_id) for fault in source.faults] == [("mask-invalid", "7")]


def test_a_fault_names_the_frame(tmp_path: Path) -> None:
    masks = good_masks() | {"1": [None, None, {"size": [24, 32], "counts": None}, None]}
    source = open_source("mevis", write_tree(tmp_path, good_meta(), masks), "train")
    assert list(dict(source.tracks())) == ["2"]
    assert [(fault.anno_id, fault.frame) for fault in source.faults] == [("1", 2)]


def test_frames_of_a_name_that_leaves_the_tree_are_refused(tmp_path: Path) -> None:
    source = open_source("mevis", write_tree(tmp_path, good_meta(), None), "train")
    (video,) = source.videos()
    with pytest.raises(DataError, match="not a name inside"):
        source.frames(video.model_copy(update={"name": "../train"}))


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        pytest.param(None, None, id="missing"),
        pytest.param([], (), id="empty list"),
        pytest.param(0, ("0",), id="int"),
        pytest.param("1", ("1",), id="str"),
        pytest.param("1, 2", ("1", "2"), id="two in a str"),
        pytest.param("1 2", ("1", "2"), id="two by a space"),
        pytest.param([1, "2"], ("1", "2"), id="mixed list"),
        pytest.param([2, 1, 2], ("2", "1"), id="repeated"),
        pytest.param(["1, 2", 3], ("1", "2", "3"), id="str of two in a list"),
    ],
)
def test_ids(value: object, ids: tuple[str, ...] | None) -> None:
    assert parse_ids(value) == ids


@pytest.mark.parametrize("value", [True, 1.0, {}, [None], "", ",", "1,", [[1]], [""], "\ud800"])
def test_what_is_no_id(value: object) -> None:
    with pytest.raises(ValueError, match="is no id"):
        parse_ids(value)


@given(st.text(max_size=30))
def test_normalised_text_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert "  " not in once
    assert [c for c in once if c.isalnum()] in ([c for c in text if c.isalnum()], [])


@pytest.mark.parametrize("name", ["00000", "a.b", "猫 🐈", "-x", "..a", ".hidden", "a" * 200])
def test_good_names(name: str) -> None:
    assert bad_name(name) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "a/../b", "a\\b", "C:x", "a\0", "a\n", "\ud800", "é" * 101]
)
def test_bad_names(name: str) -> None:
    assert bad_name(name) is not None


def test_slashes_where_keys_have_them() -> None:
    assert bad_name("UVO/all/-fbscFfkh4M", slashes=True) is None
    assert bad_name("UVO/../x", slashes=True) is not None
    assert bad_name("UVO//x", slashes=True) is not None
