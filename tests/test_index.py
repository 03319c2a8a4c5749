"""The index says what the annotations say, in memory that does not grow with them, and can be opened again."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from tests.trees import FRAMES, good_masks, good_meta, index_tree, rle, write_tree
from vtscot.errors import DataError
from vtscot.index import build_index, ensure_index, open_index, source_digest
from vtscot.index import store as trackstore
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

BENCH = Path(__file__).resolve().parents[1] / "bench" / "index.py"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_real_tree_against_decoded_masks(shared_data: Path, tmp_path: Path) -> None:
    index = build_index(open_source("mevis", shared_data / "mevis", "train"), tmp_path)
    assert len(index.queries) == 11
    assert [(query.id, reason) for query, reason, _ in index.skipped] == [
        ("mevis/train/blackswan/3", "duplicate-expression")
    ]
    assert [index.objects(name) for name in index.videos] == [("1000000",), ("1000001",), ("1000002",)]
    raw = json.loads((shared_data / "mevis" / "train" / "mask_dict.json").read_bytes())
    assert [anno_id for anno_id, _ in index.tables()] == list(raw)
    for anno_id, table in index.tables():
        for i, entry in enumerate(raw[anno_id]):
            pixels = coco.decode(entry).astype(bool) if entry else np.zeros((480, 854), bool)
            rows, columns = np.nonzero(pixels)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if len(rows) else [0] * 4
            assert table.area[i] == pixels.sum()
            assert table.box[i].tolist() == box


def test_tracks_are_those_of_the_file(shared_data: Path, tmp_path: Path) -> None:
    index = build_index(open_source("mevis", shared_data / "mevis", "train"), tmp_path)
    raw = json.loads((shared_data / "mevis" / "train" / "mask_dict.json").read_bytes())
    for anno_id, entries in raw.items():
        track = index.track(anno_id)
        assert track == MaskTrack.from_coco(entries, frames=len(entries), size=(480, 854))
        assert track.areas.tolist() == index.table(anno_id).area.tolist()
        assert track.boxes.tolist() == index.table(anno_id).box.tolist()


def test_demo_tree(demo_root: Path, tmp_path: Path) -> None:
    source = open_source("demo", demo_root, "train")
    index = build_index(source, tmp_path)
    assert [query.id for query in index.expressions] == [query.id for query in source.expressions()]
    assert len(index.queries) + len(index.skipped) == len(index.expressions)
    for name, video in index.videos.items():
        tables = index.video_tables(name)
        assert tuple(tables) == index.objects(name)
        assert {(len(t), t.height, t.width) for t in tables.values()} <= {
            (len(video.frames), video.height, video.width)
        }


def test_every_track_can_be_read_where_row_groups_hold_several(
    demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source("demo", demo_root, "train")
    for rows in (1, 150, 10**6):
        monkeypatch.setattr(trackstore, "GROUP_ROWS", rows)
        index = build_index(source, tmp_path / str(rows))
        for anno_id, table in index.tables():
            assert index.track(anno_id).areas.tolist() == table.area.tolist()


def test_same_annotations_give_the_same_bytes(demo_root: Path, tmp_path: Path) -> None:
    source = open_source("demo", demo_root, "valid_u")
    first, second = tmp_path / "a", tmp_path / "b"
    build_index(source, first)
    build_index(open_source("demo", demo_root, "valid_u"), second)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_unions_empty_masks_and_uncompressed_counts(tmp_path: Path) -> None:
    runs = [0, 1, 24 * 32 - 1]
    entries = [[rle(0, 0), rle(10, 10)], [], rle(0, 0, side=0), {"size": [24, 32], "counts": runs}]
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks() | {"1": entries}))
    assert index.table("1").area.tolist() == [50, 0, 0, 1]
    assert index.table("1").box.tolist() == [[0, 0, 15, 15], [0] * 4, [0] * 4, [0, 0, 1, 1]]
    assert index.track("1").areas.tolist() == [50, 0, 0, 1]


def test_a_query_of_two_targets_one_of_which_is_never_seen(tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"]["expressions"]["0"].update(obj_id=[0, 1], anno_id=[1, 2])
    index = index_tree(write_tree(tmp_path, meta, good_masks() | {"1": [None] * FRAMES}))
    assert len(index.queries) == 2
    assert index.objects("cat") == ("1", "2")
    assert (index.table("1").height, index.table("1").width) == (24, 32)
    assert index.track("1").masks == (None,) * FRAMES


def test_a_broken_track_that_is_nobodys_target_is_left_out(tmp_path: Path) -> None:
    meta = good_meta()
    del meta["videos"]["cat"]["expressions"]["1"]["exp"]
    index = index_tree(write_tree(tmp_path, meta, good_masks() | {"2": [rle(0, 0)]}))
    assert [query.exp_id for query in index.queries] == ["0"]
    assert index.objects("cat") == ("1",)
    assert [(f.kind, f.video, f.anno_id) for f in index.faults if f.anno_id] == [("mask-length", "cat", "2")]


def test_sizes_are_held_against_most_tracks_where_frames_are_not_looked_at(tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"]["expressions"]["2"] = {"exp": "a third", "obj_id": [2], "anno_id": [3]}
    masks = good_masks() | {"3": [rle(0, 0, width=31)] * FRAMES}
    index = index_tree(write_tree(tmp_path, meta, masks, images=False), check_frames=False)
    assert [(query.exp_id, reason) for query, reason, _ in index.skipped] == [("2", "mask-size")]


def test_one_track_of_two_videos_is_judged_in_each(tmp_path: Path) -> None:
    meta = good_meta()
    shorter = json.loads(json.dumps(meta["videos"]["cat"]))
    shorter["frames"].pop()
    meta["videos"]["dog"] = shorter
    index = index_tree(write_tree(tmp_path, meta, good_masks()), check_frames=False)
    assert {(query.video, reason) for query, reason, _ in index.skipped} == {("dog", "mask-length")}
    assert (index.objects("cat"), index.objects("dog")) == (("1", "2"), ())


def test_a_split_without_masks_is_skipped_as_a_whole(tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), None))
    assert [reason for _, reason, _ in index.skipped] == ["no-masks", "no-masks"]
    assert list(index.tables()) == []
    assert index.objects("cat") == ()


def test_unknown_track_is_an_error(tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks()))
    with pytest.raises(DataError, match="no track 'x'"):
        index.table("x")
    assert index.objects("no such video") == ()


def test_tables_cannot_be_written_to(tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks()))
    with pytest.raises(ValueError, match="read-only"):
        index.table("1").area[0] = 7


def test_an_index_goes_to_a_worker_by_its_path(tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks()))
    sent = pickle.dumps(index)
    assert len(sent) < 500
    assert pickle.loads(sent).queries == index.queries


def test_a_stale_index_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks())
    source = open_source("mevis", root, "train")
    first = ensure_index(source, root / "index")
    assert first.digest == source_digest(source, check_frames=True)
    built = (root / "index" / "masks.parquet").stat().st_mtime_ns
    assert ensure_index(open_source("mevis", root, "train"), root / "index").digest == first.digest
    assert (root / "index" / "masks.parquet").stat().st_mtime_ns == built
    masks = good_masks() | {"1": [rle(9, 9)] * FRAMES}
    (root / "train" / "mask_dict.json").write_text(json.dumps(masks))
    again = ensure_index(open_source("mevis", root, "train"), root / "index")
    assert again.digest != first.digest
    assert again.table("1").box[0].tolist() == [9, 9, 5, 5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("index.json", None, "no index is here", id="absent"),
        pytest.param("index.json", b"{", "cannot be read", id="cut off"),
        pytest.param("index.json", b'{"format": 0}', "another version", id="older"),
        pytest.param("expressions.jsonl", b'{"no": "query"}\n', "is broken", id="not a query"),
        pytest.param("videos.jsonl", None, "cannot be read", id="no videos"),
        pytest.param("masks.parquet", b"PAR1", "cannot be read", id="masks cut off"),
        pytest.param("tracks.parquet", None, "cannot be read", id="no tracks"),
    ],
)
def test_a_broken_index_says_so(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path, good_meta(), good_masks())
    index_tree(root)
    if content is None:
        (root / "index" / name).unlink()
    else:
        (root / "index" / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_index(root / "index")
    assert "\n" not in str(caught.value)


def test_masks_of_another_index_are_told(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    index_tree(write_tree(first, good_meta(), good_masks()))
    index_tree(write_tree(second, good_meta(), good_masks() | {"1": [rle(0, 0)]}))
    (first / "index" / "masks.parquet").write_bytes((second / "index" / "masks.parquet").read_bytes())
    with pytest.raises(DataError, match="not of the same index"):
        open_index(first / "index")


def test_a_full_disk_is_an_error_and_leaves_no_index(demo_root: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot be written") as caught:
            build_index(open_source("demo", demo_root, "train"), tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "index").iterdir()) == []


def test_the_bench_runs() -> None:
    done = subprocess.run([sys.executable, BENCH, "--quick", "--json"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["queries"] == 200
    assert result["peak_mib"] < 350
    assert result["ratio"] > 5


def test_a_target_at_another_time_is_no_distractor(tmp_path: Path) -> None:
    index = index_tree(write_tree(tmp_path, good_meta(), good_masks()))
    query = index.queries[0]
    assert set(index.others(query)) == set(index.objects(query.video)) - set(query.anno_ids)
    objects = {query.video: ("v/1@0-4", "v/1", "v/2@3-9", "v/2@12-20", "v/3")}
    index.__dict__["_objects"] = objects  # a cached property
    of_two = query.model_copy(update={"anno_ids": ("v/2@3-9",)})
    assert index.others(of_two) == ("v/1", "v/1@0-4", "v/3")
