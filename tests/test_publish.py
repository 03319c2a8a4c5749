"""The dataset on disk: its rows, how `datasets` reads them, and that the same outcomes give the same bytes."""

from __future__ import annotations

import io
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.outcomes import LICENCES, MARKUP, VIDEOS, World, all_outcomes, ended, graded, make_world, track
from vtscot.budget import fit
from vtscot.episode import dialogue
from vtscot.errors import PublishError
from vtscot.grammar import parse_turn
from vtscot.masks import Rle, iou
from vtscot.publish import Published, publish
from vtscot.publish.columns import AT_HOME, FEATURES, arrow_schema
from vtscot.publish.figures import figures
from vtscot.publish.shards import groups, write_split
from vtscot.records import Plan

MEADOW, STREET, THIRD = VIDEOS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def published(world: World, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(all_outcomes(), world.context(), tmp_path_factory.mktemp("run"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def rows_of(published: Published, config: str) -> list[dict[str, Any]]:
    paths = sorted((published.dataset / config).glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_every_record_is_in_one_config(published: Published) -> None:
    ids = {config: [row["id"] for row in rows_of(published, config)] for config in ("demo", "mevis", "rejected")}
    outcomes = all_outcomes()
    kept = sorted(o.query.id for o in outcomes if o.state == "kept")
    assert ids["demo"] + ids["mevis"] == kept  # ordered by id, and "demo" < "mevis"
    assert ids["rejected"] == sorted(o.query.id for o in outcomes if o.state == "rejected")
    assert [row["reason"] for row in rows_of(published, "rejected")] == ["keyframe-iou", "leakage", "keyframe-iou"]


def test_returned_files_are_the_files(published: Published) -> None:
    assert {path.as_posix() for path in published.files} == set(files_of(published.dataset))


@pytest.mark.parametrize("config", [None, "demo", "mevis", "rejected"])
def test_datasets_loads_it(config: str | None, published: Published, tmp_path: Path, no_network: None) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(published.dataset), config, cache_dir=str(tmp_path))
    expected = rows_of(published, config or "demo")
    assert list(loaded) == ["train"]
    assert loaded["train"].features.arrow_schema.equals(arrow_schema())
    assert [row["id"] for row in loaded["train"]] == [row["id"] for row in expected]
    for row in loaded["train"]:
        if row["redistributable"]:
            assert [image.size for image in row["images"]] == [
                fit(row["width"], row["height"], frame["max_pixels"]) for frame in row["frames"]
            ]


def test_the_features_are_what_datasets_makes_of_them() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features.from_dict(FEATURES)
    assert features.arrow_schema.equals(arrow_schema())
    assert json.loads(features.arrow_schema.metadata[b"huggingface"])["info"]["features"] == FEATURES


def test_a_run_that_kept_nothing_loads_its_rejected_rows(world: World, tmp_path: Path, no_network: None) -> None:
    datasets = pytest.importorskip("datasets")
    outcomes = [graded(MEADOW, "0", "a ring", 1, reason="leakage")]
    done = publish(outcomes, world.context(("demo",)), tmp_path / "run")
    assert datasets.load_dataset(str(done.dataset), cache_dir=str(tmp_path / "c"))["train"]["reason"] == ["leakage"]


def test_a_run_without_episodes_has_a_card_and_no_shards(world: World, tmp_path: Path) -> None:
    done = publish([ended(MEADOW, "0", "a ring", "failed", "timeout", "no answer")], world.context(), tmp_path)
    assert [path.as_posix() for path in done.files] == ["LICENSE.md", "README.md"]


def test_rows_say_what_the_records_say(published: Published) -> None:
    rows = {row["id"]: row for row in (*rows_of(published, "demo"), *rows_of(published, "rejected"))}
    for outcome in all_outcomes():
        record = outcome.record
        if record is None or record.query.source != "demo":
            continue
        row = rows[record.query.id]
        query = record.query
        assert (row["video"], row["expression"], row["anno_ids"]) == (
            query.video,
            query.expression,
            list(query.anno_ids),
        )
        assert (row["width"], row["height"]) == VIDEOS[query.video_id][1:]
        assert [parse_turn(m["content"][0]["text"]) for m in row["messages"] if m["role"] == "assistant"] == list(
            record.episode.turns
        )
        assert row["messages"] == [message.model_dump(mode="json") for message in dialogue(record.episode)]
        assert Plan.model_validate_json(row["plan"]) == record.plan
        assert [check["name"] for check in json.loads(row["checks"])] == ["format", "keyframe-iou"]
        assert (row["keyframe_iou"], row["ceiling"]) == (record.verdict.keyframe_iou, 0.875)
        assert len(row["ious"]) == row["turns"] == len(record.episode.turns)
        assert row["kept"] == (outcome.state == "kept") and row["reason"] == outcome.reason


def test_frames_stand_one_to_one_with_the_image_placeholders(published: Published, world: World) -> None:
    for row in (*rows_of(published, "demo"), *rows_of(published, "mevis")):
        texts = [part["text"] for m in row["messages"] for part in m["content"] if m["role"] == "user"]
        places = [int(t.split()[-1].rstrip(": ")) for t in texts if t and t.rstrip().endswith(":") and "Frame " in t]
        assert [frame["index"] for frame in row["frames"]] == places
        frames = world.frames(f"{row['source']}/{row['split']}/{row['video']}")
        for frame in row["frames"]:
            assert (frame["name"], frame["digest"]) == (frames.names[frame["index"]], frames.digest(frame["index"]))


def test_images_are_the_frames_within_their_budget(published: Published, world: World) -> None:
    row = next(row for row in rows_of(published, "demo") if row["turns"] == 3)
    assert len(row["images"]) == len(row["frames"])
    for stored, frame in zip(row["images"], row["frames"], strict=True):
        image = Image.open(io.BytesIO(stored["bytes"]))
        assert image.format == "JPEG" and image.width * image.height <= frame["max_pixels"]
        wanted = world.frames(STREET).image(frame["index"], frame["max_pixels"])
        difference = [
            abs(a - b) for a, b in zip(image.resize((8, 8)).tobytes(), wanted.resize((8, 8)).tobytes(), strict=True)
        ]
        assert max(difference) < 24


def test_masks_are_the_track(published: Published) -> None:
    row = next(row for row in rows_of(published, "demo") if row["turns"] == 3)
    real = track(STREET)
    assert [counts is not None for counts in row["track"]] == [rle is not None for rle in real.masks]
    assert row["decoded_masks"] == [row["track"][i] for i in row["decoded_frames"]]
    size = {"size": [row["mask_height"], row["mask_width"]]}
    for i, counts in enumerate(row["track"]):
        if counts is not None:
            assert (
                iou(Rle.from_coco({**size, "counts": counts}), Rle(real.height, real.width, real.masks[i] or b"")) == 1
            )


def test_third_party_rows_hold_no_frames_and_no_masks(published: Published) -> None:
    rows = [row for row in (*rows_of(published, "mevis"), *rows_of(published, "rejected")) if row["source"] == "mevis"]
    assert len(rows) == 2
    for row in rows:
        assert all(row[name] is None for name in AT_HOME)
        assert row["licence"] == LICENCES["mevis"].id and not row["redistributable"]
    assert b"JFIF" not in (published.dataset / "mevis" / "train-00000-of-00001.parquet").read_bytes()


def test_a_query_without_target_has_no_masks(published: Published) -> None:
    row = next(row for row in rows_of(published, "demo") if not row["anno_ids"])
    assert row["track"] is None and row["decoded_masks"] is None and row["images"]


def test_same_outcomes_same_bytes(published: Published, world: World, tmp_path: Path) -> None:
    outcomes = all_outcomes()
    random.Random(7).shuffle(outcomes)
    again = publish(outcomes, world.context(), tmp_path)
    assert files_of(again.dataset) == files_of(published.dataset)
    assert again.report.read_bytes() == published.report.read_bytes()


def test_publishing_again_replaces_the_dataset(world: World, tmp_path: Path) -> None:
    publish(all_outcomes(), world.context(), tmp_path)
    done = publish([graded(MEADOW, "0", "the red ring", 1)], world.context(("demo",)), tmp_path)
    assert {name for name in files_of(done.dataset) if not name.startswith("assets/")} == {
        "LICENSE.md",
        "README.md",
        "demo/train-00000-of-00001.parquet",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "report.html"]


def test_a_failure_leaves_the_old_dataset(world: World, tmp_path: Path) -> None:
    done = publish([graded(MEADOW, "0", "the red ring", 1)], world.context(), tmp_path)
    before = files_of(done.dataset)
    with pytest.raises(KeyError):
        publish(all_outcomes(), replace(world.context(), frames={}.__getitem__), tmp_path)
    assert files_of(done.dataset) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "report.html"]


def test_a_source_without_licence_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="source 'mevis' states no licence"):
        publish(all_outcomes(), world.context(("demo",)), tmp_path)


def row_of(number: int, size: int) -> dict[str, Any]:
    return {**dict.fromkeys(FEATURES), "id": f"{number:03d}", "images": [{"bytes": bytes(size), "path": None}]}


@pytest.mark.parametrize(
    ("sizes", "max_rows", "max_bytes", "expected"),
    [
        ([1] * 5, 2, 10**9, [2, 2, 1]),
        ([10_000] * 4, 99, 40_000, [2, 2]),
        ([100_000, 1, 1], 99, 50_000, [1, 2]),
        ([], 2, 10, []),
    ],
    ids=["by rows", "by bytes", "one row too large", "none"],
)
def test_groups(sizes: list[int], max_rows: int, max_bytes: int, expected: list[int]) -> None:
    rows = [row_of(i, size) for i, size in enumerate(sizes)]
    assert [len(group) for group in groups(rows, max_rows, max_bytes)] == expected


def test_a_split_without_rows_has_no_shard(tmp_path: Path) -> None:
    assert write_split([], tmp_path, "train") == []


def test_shards_are_numbered_and_hold_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtscot.publish.shards.GROUP_ROWS", 2)
    monkeypatch.setattr("vtscot.publish.shards.SHARD_ROWS", 4)

    def rows() -> Iterator[dict[str, Any]]:
        return (row_of(i, 10) for i in range(9))

    paths = write_split(rows(), tmp_path, "train")
    assert [path.name for path in paths] == [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    assert [pq.read_metadata(path).num_rows for path in paths] == [4, 4, 1]
    found = [row["id"] for path in paths for row in pq.read_table(path).to_pylist()]
    assert found == [row["id"] for row in rows()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in paths]


def test_a_value_that_does_not_fit_the_schema_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="rows 000 to 000 do not fit the schema"):
        write_split([row_of(0, 1) | {"seed": 2**70}], tmp_path, "train")


def test_figures_add_up() -> None:
    counted = figures(all_outcomes())
    assert counted.queries == sum(counted.states.values()) == 12
    assert counted.states == {"kept": 6, "rejected": 3, "failed": 1, "skipped": 2}
    assert counted.reasons["rejected"] == {"keyframe-iou": 2, "leakage": 1}
    assert counted.turns == {1: 2, 2: 3, 3: 1}
    assert counted.keyframe_iou == 0.8125 and counted.ceiling == 0.875
    assert counted.histogram == (0, 0, 0, 0, 0, 0, 0, 0, 5, 0)  # the query without target is not counted
    assert sum(sum(reasons.values()) for reasons in counted.reasons.values()) == 6


def test_figures_of_nothing() -> None:
    counted = figures([])
    assert (counted.queries, counted.keyframe_iou, counted.turns) == (0, None, {})


def test_markup_is_kept_as_it_is(published: Published) -> None:
    assert MARKUP in {row["expression"] for row in rows_of(published, "demo")}
