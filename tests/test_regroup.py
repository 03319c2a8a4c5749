"""merge and split: which rows end up where, that rows stay as they are, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.outcomes import LICENCES, MARKUP, VIDEOS, World, all_outcomes, graded, make_world
from vtscot.errors import DataError, UsageError
from vtscot.publish.figures import figures
from vtscot.publish.metadata import read_metadata, read_recipes, stated_rows
from vtscot.publish.opened import RowReader, open_dataset
from vtscot.publish.regroup import Regrouped, merge, part_of, split
from vtscot.publish.release import write_dataset
from vtscot.publish.restored import context_of, outcome_of
from vtscot.records import Outcome

MEADOW, STREET, THIRD = VIDEOS
HALF = 0.44  # share that takes STREET and THIRD into validation, and leaves MEADOW


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of all outcomes."""
    return write(all_outcomes(), world, tmp_path_factory.mktemp("whole") / "dataset")


def write(outcomes: list[Outcome], world: World, directory: Path) -> Path:
    """The dataset of these outcomes, written there."""
    sources = tuple(sorted({outcome.query.source for outcome in outcomes}))
    ordered = sorted(outcomes, key=lambda outcome: outcome.query.id)
    write_dataset(ordered, figures(ordered), world.context(sources), directory)
    return directory


def rows_of(dataset: Path) -> dict[str, dict[str, Any]]:
    """Rows by config/split/id."""
    return {
        f"{path.parent.name}/{path.name.split('-')[0]}/{row['id']}": row
        for path in sorted(dataset.rglob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }


def join(*datasets: Path, out: Path) -> Regrouped:
    return merge([open_dataset(str(path)) for path in datasets], out, LICENCES)


def test_merged_rows_are_those_of_both_as_they_were(world: World, whole: Path, tmp_path: Path) -> None:
    outcomes = all_outcomes()
    first = write([o for o in outcomes if o.query.video_id == MEADOW], world, tmp_path / "a")
    second = write([o for o in outcomes if o.query.video_id != MEADOW], world, tmp_path / "b")
    done = join(first, second, out=tmp_path / "out")
    assert not done.duplicates and not done.notes
    assert rows_of(tmp_path / "out" / "dataset") == rows_of(whole) == rows_of(first) | rows_of(second)
    for shard in whole.rglob("*.parquet"):
        assert (tmp_path / "out" / "dataset" / shard.relative_to(whole)).read_bytes() == shard.read_bytes()


def test_card_and_licences_of_a_merge_are_made_anew(world: World, tmp_path: Path) -> None:
    outcomes = all_outcomes()
    first = write([o for o in outcomes if o.query.source == "demo"], world, tmp_path / "a")
    second = write([o for o in outcomes if o.query.source == "mevis"], world, tmp_path / "b")
    dataset = join(first, second, out=tmp_path / "out").out / "dataset"
    metadata = read_metadata(dataset / "README.md")
    assert metadata["license_name"] == "cc-by-nc-sa-4.0-and-cc0-1.0"
    assert stated_rows(metadata) == {("demo", "train"): 5, ("mevis", "train"): 1, ("rejected", "train"): 3}
    assert read_recipes(metadata) == read_recipes(read_metadata(first / "README.md"))
    card = (dataset / "README.md").read_text()
    assert "9 rows: 6 kept, 3 rejected." in card and "vtscot hydrate path/or/repo --source mevis" in card
    assert LICENCES["mevis"].name in (dataset / "LICENSE.md").read_text()
    named = set(re.findall(r"assets/[\w.-]+", card))
    assert named == {path.relative_to(dataset).as_posix() for path in (dataset / "assets").iterdir()}
    assert "assets/example.jpg" in named


def test_of_duplicates_the_first_stays_and_the_others_are_named(world: World, tmp_path: Path) -> None:
    kept = graded(MEADOW, "0", "The red ring.", 1)
    again = graded(MEADOW, "7", "the red ring", 2, reason="keyframe-iou")
    other_target = graded(MEADOW, "8", "the red ring", 2, target=False)
    first = write([kept, graded(MEADOW, "1", "a ring", 1)], world, tmp_path / "a")
    second = write([again, other_target, graded(STREET, "0", "the red ring", 1)], world, tmp_path / "b")
    done = join(first, second, out=tmp_path / "out")
    assert [(one.id, one.kept_id, one.kept) for one in done.duplicates] == [(again.query.id, kept.query.id, str(first))]
    assert {row["id"] for row in rows_of(done.out / "dataset").values()} == {
        f"{MEADOW}/0",
        f"{MEADOW}/1",
        f"{MEADOW}/8",
        f"{STREET}/0",
    }
    assert done.json()["duplicates"][0]["left_out"] == str(second)


def test_rows_of_one_dataset_are_no_duplicates_of_each_other(world: World, tmp_path: Path) -> None:
    first = write([graded(MEADOW, "0", "a ring", 1), graded(MEADOW, "1", "a ring", 1)], world, tmp_path / "a")
    second = write([graded(STREET, "0", "a ring", 1)], world, tmp_path / "b")
    done = join(first, second, out=tmp_path / "out")
    assert not done.duplicates and len(rows_of(done.out / "dataset")) == 3


def test_one_id_is_one_row(world: World, tmp_path: Path) -> None:
    first = write([graded(MEADOW, "0", "a ring", 1)], world, tmp_path / "a")
    second = write([graded(MEADOW, "0", "another wording", 1)], world, tmp_path / "b")
    assert [one.id for one in join(first, second, out=tmp_path / "out").duplicates] == [f"{MEADOW}/0"]


def test_a_split_is_by_video_and_moves_rows_as_they_are(whole: Path, tmp_path: Path) -> None:
    done = split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=HALF)
    before, after = rows_of(whole), rows_of(done.out / "dataset")
    assert list(before.values()) == sorted(after.values(), key=list(before.values()).index)
    for place, row in after.items():
        config, name, _ = place.split("/", 2)
        assert name == part_of(row["video"], HALF, 0) and row["split"] == "train"
        assert config == ("rejected" if not row["kept"] else row["source"])
    assert {place.split("/")[1] for place in after} == {"train", "validation"}
    stated = stated_rows(read_metadata(done.out / "dataset" / "README.md"))
    assert stated[("demo", "train")] == 4 and stated[("demo", "validation")] == 1


def test_datasets_loads_the_splits(whole: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    done = split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=HALF)
    loaded = datasets.load_dataset(str(done.out / "dataset"), "demo", cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 4, "validation": 1}


def test_training_reads_the_train_part_alone(whole: Path, tmp_path: Path) -> None:
    from vtscot.publish.reading import Rows, find_shards

    done = split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=HALF)
    rows = Rows(find_shards(done.out / "dataset" / "demo"))
    assert sorted(rows.splits) == ["train"] * 4 + ["validation"]


def test_a_video_lands_in_the_same_split_whatever_else_is_there() -> None:
    videos = [f"video-{i}" for i in range(2000)]
    shares = [sum(part_of(v, 0.1, 0.2) == name for v in videos) / 2000 for name in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)
    for video in videos:
        larger, less = part_of(video, 0.2, 0.2), part_of(video, 0.1, 0.2)
        assert larger == less or (less, larger) == ("train", "validation")
        assert (part_of(video, 0.1, 0) == "validation") == (less == "validation")
        assert part_of(f"DAVIS/{video}", 0.1, 0.2) == less


def test_split_then_merge_keeps_the_splits_and_says_what_is_torn(world: World, whole: Path, tmp_path: Path) -> None:
    parts = split(open_dataset(str(whole)), tmp_path / "parts", LICENCES, valid=HALF)
    plain = write([graded(STREET, "9", "a ring seen elsewhere", 1)], world, tmp_path / "plain")
    done = join(parts.out / "dataset", plain, out=tmp_path / "out")
    assert {place.split("/")[1] for place in rows_of(done.out / "dataset")} == {"train", "validation"}
    assert len(done.notes) == 1 and STREET in done.notes[0] and "vtscot split" in done.notes[0]


def test_a_split_without_kept_rows_is_said(whole: Path, tmp_path: Path) -> None:
    done = split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=HALF, test=0.0001)
    assert [note.split()[0] for note in done.notes] == ["test"]


def test_the_same_dataset_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        split(open_dataset(str(whole)), tmp_path / name, LICENCES, valid=HALF)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def edited(dataset: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the shard of config demo by hand."""
    shard = next(dataset.glob("demo/*.parquet"))
    pq.write_table(change(pq.read_table(shard)), shard)


def with_value(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Puts `value` into the first row's column."""

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0][name] = value
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a column missing": (lambda d: edited(d, lambda t: t.drop_columns(["checks"])), "no column 'checks'"),
    "a column missing that only shows": (lambda d: edited(d, lambda t: t.drop_columns(["ious"])), "no column 'ious'"),
    "a row missing": (lambda d: edited(d, lambda t: t.slice(1)), "README.md states 5 rows of demo/train"),
    "a config missing": (lambda d: shutil.rmtree(d / "demo"), "README.md states 5 rows of demo/train"),
    "checks that are no JSON": (lambda d: edited(d, with_value("checks", "no")), f"row {MEADOW}/0"),
    "checks of another form": (lambda d: edited(d, with_value("checks", '{"a": 1}')), "no list of checks"),
    "no window": (lambda d: edited(d, with_value("selections", [])), "was it edited by hand?"),
    "a window outside": (
        lambda d: edited(d, with_value("selections", [{"start": 0, "end": 999, "keyframe": 1}])),
        "a window of 1000 frames",
    ),
    "an IoU that is none": (lambda d: edited(d, with_value("keyframe_iou", 7.0)), "an IoU of 7.0"),
    "no expression": (lambda d: edited(d, with_value("expression", None)), "column 'expression' holds no text"),
    "a plan that is none": (lambda d: edited(d, with_value("plan", "{}")), "its plan is none"),
    "another licence in one row": (lambda d: edited(d, with_value("licence", "mit")), "is under 'mit'"),
    "no parquet": (lambda d: next(d.glob("demo/*.parquet")).write_bytes(b"no"), "cannot be read as parquet"),
    "a foreign file": (lambda d: (d / "demo" / "more.parquet").write_bytes(b"no"), "is no shard of vtscot"),
    "a shard lost": (
        lambda d: next(d.glob("demo/*.parquet")).rename(d / "demo" / "train-00000-of-00002.parquet"),
        "1 of 2 shards of 'train'",
    ),
    "hydrated": (lambda d: (d / "hydrated.json").write_text("{}"), "is hydrated, and stays at home"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_was_changed_by_hand_is_refused(name: str, world: World, tmp_path: Path) -> None:
    breaks, complaint = BROKEN[name]
    demo = [outcome for outcome in all_outcomes() if outcome.query.source == "demo" and outcome.state == "kept"]
    dataset = write(demo, world, tmp_path / "data")
    breaks(dataset)
    with pytest.raises(DataError, match=re.escape(complaint)) as caught:
        split(open_dataset(str(dataset)), tmp_path / "out", LICENCES, valid=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_different_columns_are_not_merged(world: World, tmp_path: Path) -> None:
    first = write([graded(MEADOW, "0", "a ring", 1)], world, tmp_path / "a")
    second = write([graded(STREET, "0", "a ring", 1)], world, tmp_path / "b")
    edited(second, lambda table: table.drop_columns(["masks_digest"]))
    with pytest.raises(DataError, match=r"column 'masks_digest' is missing, unlike .*different versions"):
        join(first, second, out=tmp_path / "out")


def test_one_source_under_two_licences_is_not_merged(world: World, tmp_path: Path) -> None:
    first = write([graded(MEADOW, "0", "a ring", 1)], world, tmp_path / "a")
    second = write([graded(STREET, "0", "a ring", 1)], world, tmp_path / "b")
    edited(second, with_value("licence", "mit"))
    with pytest.raises(DataError, match=r"source 'demo' is under 'cc0-1\.0' in .* and under 'mit' in"):
        join(first, second, out=tmp_path / "out")


def test_frames_of_a_source_that_claims_to_be_free_are_not_drawn(world: World, tmp_path: Path) -> None:
    dataset = write([graded(MEADOW, "0", "a ring", 2)], world, tmp_path / "a")
    at_home = {"demo": LICENCES["mevis"]}  # what this vtscot knows of the source
    done = split(open_dataset(str(dataset)), tmp_path / "out", at_home, valid=0)
    assert not (done.out / "dataset" / "assets" / "example.jpg").exists()


@pytest.mark.parametrize("place", ["itself", "inside", "around", "in use"])
def test_an_output_that_is_in_use_is_refused(place: str, world: World, tmp_path: Path) -> None:
    dataset = write([graded(MEADOW, "0", "a ring", 1)], world, tmp_path / "run" / "dataset")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a.txt").write_text("mine")
    out = {"itself": dataset, "inside": dataset / "x", "around": tmp_path / "run", "in use": tmp_path / "used"}[place]
    with pytest.raises(UsageError, match="choose"):
        split(open_dataset(str(dataset)), out, LICENCES, valid=0)
    assert rows_of(dataset) and (tmp_path / "used" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize(("valid", "test"), [(1.0, 0.0), (0.5, 0.5), (-0.1, 0.0)])
def test_shares_leave_something_to_train_on(valid: float, test: float, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave something to train on"):
        split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=valid, test=test)


def test_no_kept_row_left_is_refused(world: World, tmp_path: Path) -> None:
    dataset = write([graded(STREET, "0", "a ring", 1)], world, tmp_path / "a")
    with pytest.raises(DataError, match="no kept row is left to train on"):
        split(open_dataset(str(dataset)), tmp_path / "out", LICENCES, valid=HALF)
    empty = write([], world, tmp_path / "empty")
    with pytest.raises(DataError, match="holds no rows"):
        open_dataset(str(empty))


def test_markup_survives_as_text(world: World, tmp_path: Path) -> None:
    dataset = write([graded(MEADOW, "0", MARKUP, 2)], world, tmp_path / "a")
    done = split(open_dataset(str(dataset)), tmp_path / "out", LICENCES, valid=0)
    card = (done.out / "dataset" / "README.md").read_text()
    assert "<script>" not in re.sub(r"(`{4,})text\n.*?\n\1\n", "", card, flags=re.DOTALL)


def test_settings_of_a_foreign_card_stay_text(whole: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "data"
    shutil.copytree(whole, dataset)
    readme = (dataset / "README.md").read_text()
    evil = {"0": {"budget.x": "</details><script>hacked()</script> | {{ 7 * 7 }}"}, "1": ["no mapping"]}
    start, end = readme.index("vtscot_recipes:"), readme.index("\n---\n", 4)
    (dataset / "README.md").write_text(f"{readme[:start]}vtscot_recipes: {json.dumps(evil)}{readme[end:]}")
    done = split(open_dataset(str(dataset)), tmp_path / "out", LICENCES, valid=0)
    body = (done.out / "dataset" / "README.md").read_text().split("\n---\n", 1)[1]
    assert "<script>" not in re.sub(r"(`{4,})text\n.*?\n\1\n", "", body, flags=re.DOTALL) and "| 49" not in body


def test_the_report_shows_the_frames_of_the_rows_and_none_of_third_parties(whole: Path, tmp_path: Path) -> None:
    done = split(open_dataset(str(whole)), tmp_path / "out", LICENCES, valid=HALF)
    page = (done.out / "report.html").read_text()
    for row in rows_of(whole).values():
        assert json.dumps(row["id"]) in page
    entries = open_dataset(str(done.out)).entries
    frames = context_of(entries, LICENCES, {}, RowReader()).frames
    shown, grey = frames(MEADOW), frames(THIRD)
    assert shown.size(0) == VIDEOS[MEADOW][1:] and grey.size(0) == VIDEOS[THIRD][1:]
    assert len(set(shown.image(0, 4000).convert("L").resize((8, 8)).tobytes())) > 8
    assert {pixel[0] < 60 for pixel in (grey.image(0).getpixel((x, 2)) for x in range(200))} == {True}


def test_what_rows_tell_of_their_outcomes(whole: Path) -> None:
    reader = RowReader()
    made = {outcome.query.id: outcome for outcome in all_outcomes()}
    entries = open_dataset(str(whole)).entries
    assert len(entries) == 9
    for entry in entries:
        told, outcome = outcome_of(entry, reader), made[entry.id]
        assert (told.query, told.state, told.reason) == (outcome.query, outcome.state, outcome.reason)
        assert told.record and outcome.record
        assert (told.record.episode, told.record.plan) == (outcome.record.episode, outcome.record.plan)
        assert told.record.verdict.checks == outcome.record.verdict.checks
        assert told.record.provenance == outcome.record.provenance
        without = [one.model_copy(update={"boxes": ()}) for one in outcome.record.verdict.groundings]
        assert list(told.record.verdict.groundings) == without
