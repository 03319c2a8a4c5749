"""Rows of a dataset are read back as what they were made of; broken ones are named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vtscot.build import open_recipe_source
from vtscot.errors import DataError, FrameError
from vtscot.index import ensure_index
from vtscot.ledger import Ledger
from vtscot.publish.reading import RowFrames, Rows, find_shards, read_episode, read_masks
from vtscot.records import Record
from vtscot.run import Run, run_recipe


@pytest.fixture(scope="module")
def rows(sft_run: Path) -> Rows:
    return Rows(find_shards(sft_run / "dataset"))


@pytest.fixture(scope="module")
def records(sft_run: Path) -> dict[str, Record]:
    with Ledger(sft_run / "ledger.sqlite", read_only=True) as ledger:
        return {o.query.id: o.record for o in ledger.outcomes() if o.state == "kept" and o.record}


def test_every_kept_row_reads_back_as_its_episode(rows: Rows, records: dict[str, Record]) -> None:
    assert set(rows.ids) == set(records)
    for i, name in enumerate(rows.ids):
        assert read_episode(rows.row(i)) == records[name].episode


def test_masks_are_those_of_the_decoded_frames(rows: Rows, records: dict[str, Record], sft_run: Path) -> None:
    with Ledger(sft_run / "ledger.sqlite", read_only=True) as ledger:
        run = Run(sft_run, run_recipe(sft_run), ledger)
        index = ensure_index(open_recipe_source(run.recipe, run.source_root), run.index)
    seen = 0
    for i, name in enumerate(rows.ids):
        record = records[name]
        track = index.target(record.query)
        expected = tuple(track and track.rle(shown.decoded) for shown in record.episode.observations)
        assert read_masks(rows.row(i)) == expected
        seen += sum(mask is not None for mask in expected)
    assert seen > len(rows) / 2


def test_images_are_those_that_were_shown(rows: Rows) -> None:
    row = rows.row(0)
    frames = RowFrames(row)
    for shown, image in zip(row["frames"], row["images"], strict=True):
        read = frames.image(shown["index"], shown["max_pixels"])
        assert read.width * read.height <= shown["max_pixels"]
        assert image["bytes"].startswith(b"\xff\xd8")
    decoded = row["decoded_frames"][0]
    largest = max(frame["max_pixels"] for frame in row["frames"] if frame["index"] == decoded)
    assert np.array_equal(frames.array(decoded), frames.array(decoded, largest))
    assert (frames.size(decoded), len(frames)) == ((row["width"], row["height"]), row["num_frames"])
    absent = next(i for i in range(len(frames)) if i not in {frame["index"] for frame in row["frames"]})
    with pytest.raises(FrameError, match=f"{row['id']} holds no image of frame {absent}"):
        frames.image(absent)


def break_image(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"images": [{"bytes": b"\xff\xd8cut", "path": None} for _ in row["images"]]}


def test_a_broken_image_is_named(rows: Rows) -> None:
    row = break_image(rows.row(0))
    with pytest.raises(FrameError, match=f"{row['id']}: the image of frame .* cannot be decoded"):
        RowFrames(row).image(row["frames"][0]["index"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"messages": []}, "turns: Tuple should have at least 1 item"),
        ({"num_frames": 1}, "after the last one"),
        ({"frames": []}, "observations"),
    ],
    ids=["no replies", "fewer frames than shown", "nothing shown"],
)
def test_a_row_that_holds_no_episode_is_named(rows: Rows, change: dict[str, Any], complaint: str) -> None:
    row = rows.row(0) | change
    with pytest.raises(DataError, match=complaint) as caught:
        read_episode(row)
    assert row["id"] in str(caught.value)


def test_a_mask_that_is_none_is_named(rows: Rows) -> None:
    row = next(row for row in map(rows.row, range(len(rows))) if any(row["decoded_masks"] or ()))
    with pytest.raises(DataError, match=row["id"]):
        read_masks(row | {"decoded_masks": ["no mask"] * row["turns"]})


def test_folders_without_rows_and_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no parquet files"):
        find_shards(tmp_path)
    other = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"id": ["a"]}), other)
    with pytest.raises(DataError, match="has no column 'source'"):
        Rows([other])
    other.write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        Rows([other])


def test_rows_that_were_not_kept_are_counted_and_left_out(sft_run: Path, tmp_path: Path) -> None:
    (shard,) = find_shards(sft_run / "dataset")
    table = pq.read_table(shard)
    kept = pa.array([i % 2 == 0 for i in range(len(table))])
    column = table.schema.get_field_index("kept")
    shutil.copytree(sft_run / "dataset", tmp_path / "set")
    target = tmp_path / "set" / shard.relative_to(sft_run / "dataset")
    pq.write_table(table.set_column(column, table.schema.field("kept"), kept), target)
    rows = Rows([target])
    assert (rows.total, len(rows)) == (len(table), (len(table) + 1) // 2)
    assert rows.ids == table.column("id").to_pylist()[::2]
