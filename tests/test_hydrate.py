"""`hydrate`: what is joined is what was built; every difference is counted with its kind; nothing half-written."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.cli import vtscot
from vtscot.errors import DataError, UsageError
from vtscot.frames import encode_jpeg, open_frames
from vtscot.publish.athome import DIFFERENCES, HYDRATED, read_home
from vtscot.publish.columns import AT_HOME, arrow_schema
from vtscot.publish.hydrate import Hydration, hydrate
from vtscot.publish.reading import find_shards, open_row_frames
from vtscot.publish.validate import validate_dataset
from vtscot.sft.examples import Examples, open_examples

Row = dict[str, Any]


def rows_of(dataset: Path) -> list[Row]:
    return [row for path in sorted(dataset.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def files_of(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.fixture
def tree(third_party: Path, tmp_path: Path) -> Path:
    """A copy of the source that may be changed."""
    shutil.copytree(third_party / "tree", tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture(scope="module")
def dataset(third_party: Path) -> Path:
    return third_party / "run" / "dataset"


@pytest.fixture(scope="module")
def joined(third_party: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The dataset hydrated, by whether it is embedded."""
    place = tmp_path_factory.mktemp("hydrated")
    for embed in (False, True):
        out = place / str(embed)
        hydrate(third_party / "run" / "dataset", "mevis", third_party / "tree", out, embed=embed)
    return {embed: place / str(embed) for embed in (False, True)}


def same_examples(one: Examples, other: Examples) -> None:
    assert list(one.ids) == list(other.ids)
    for i in range(len(one)):
        assert (one[i].episode, one[i].masks, one[i].video) == (other[i].episode, other[i].masks, other[i].video)


def test_at_home_there_is_nothing_in_the_rows_and_everything_after(dataset: Path, joined: dict[bool, Path]) -> None:
    before = {row["id"]: row for row in rows_of(dataset)}
    assert all(row[name] is None for row in before.values() for name in AT_HOME)
    for out in joined.values():
        after = {row["id"]: row for row in rows_of(out)}
        assert list(after) == list(before)
        for name, row in after.items():
            assert len(row["images"]) == len(row["frames"])
            track = row["track"] if row["anno_ids"] else None
            assert row["decoded_masks"] == (track and [track[i] for i in row["decoded_frames"]])
            assert {**row, **dict.fromkeys(AT_HOME)} == before[name]


def test_embedded_images_are_those_that_a_free_source_embeds(third_party: Path, joined: dict[bool, Path]) -> None:
    for row in rows_of(joined[True])[:3]:
        frames = open_frames(third_party / "tree" / "train" / "JPEGImages" / row["video"])
        for image, frame in zip(row["images"], row["frames"], strict=True):
            assert image["bytes"] == encode_jpeg(frames.image(frame["index"], frame["max_pixels"]))


@pytest.mark.parametrize("embed", [False, True], ids=["files", "embedded"])
def test_training_reads_what_it_reads_of_the_run(embed: bool, third_party: Path, joined: dict[bool, Path]) -> None:
    run, rows = open_examples(str(third_party / "run")), open_examples(str(joined[embed]))
    same_examples(run, rows)
    assert rows[0].whole is not embed
    for shown in rows[0].episode.observations[0].frames:
        ours, theirs = (one[0].frames.image(shown.index, shown.max_pixels) for one in (rows, run))
        assert ours.size == theirs.size
        assert embed or ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("embed", [False, True], ids=["files", "embedded"])
def test_datasets_reads_it_and_decodes_the_images(embed: bool, joined: dict[bool, Path], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for streaming in (False, True):
        rows = datasets.load_dataset(str(joined[embed]), split="train", streaming=streaming, cache_dir=str(tmp_path))
        row = next(iter(rows))
        sizes = {image.size for image in row["images"]}
        assert (sizes == {(row["width"], row["height"])}) is not embed
        budget = zip(row["images"], row["frames"], strict=True)
        assert not embed or all(image.width * image.height <= frame["max_pixels"] for image, frame in budget)


@pytest.mark.parametrize("embed", [False, True], ids=["files", "embedded"])
def test_what_was_hydrated_is_never_published(embed: bool, joined: dict[bool, Path]) -> None:
    problems = "\n".join(validate_dataset(joined[embed]))
    assert HYDRATED in problems
    assert "whose licence does not allow to pass them on" in problems
    ended = vtscot("push", joined[embed], "--repo", "someone/set", "--dry-run")
    assert ended.code == 1
    assert "not fit to be published" in ended.complaint


def shown_frame(dataset: Path, tree: Path) -> Path:
    """The file of the first frame of the first row."""
    row = rows_of(dataset)[0]
    return tree / "train" / "JPEGImages" / row["video"] / f"{row['frames'][0]['name']}.jpg"


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def encode_anew(path: Path) -> None:
    Image.open(path).save(path, quality=31)


def shrink(path: Path) -> None:
    image = Image.open(path)
    image.resize((image.width // 2, image.height // 2)).save(path)


def forget_masks(tree: Path, dataset: Path) -> None:
    row = rows_of(dataset)[0]
    change(tree / "train" / "mask_dict.json", lambda masks: masks.pop(row["anno_ids"][0]))


def move_masks(tree: Path, dataset: Path) -> None:
    row = rows_of(dataset)[0]
    change(tree / "train" / "mask_dict.json", lambda masks: masks[row["anno_ids"][0]].reverse())


def drop_frame(tree: Path, dataset: Path) -> None:
    row = rows_of(dataset)[0]
    meta = tree / "train" / "meta_expressions.json"
    change(meta, lambda document: document["videos"][row["video"]]["frames"].pop())


def rename_frame(tree: Path, dataset: Path) -> None:
    row = rows_of(dataset)[0]
    meta = tree / "train" / "meta_expressions.json"
    change(meta, lambda document: document["videos"][row["video"]]["frames"].reverse())


def forget_video(tree: Path, dataset: Path) -> None:
    row = rows_of(dataset)[0]
    change(tree / "train" / "meta_expressions.json", lambda document: document["videos"].pop(row["video"]))


CHANGES: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "no folder": ("missing-video", lambda tree, dataset: shutil.rmtree(shown_frame(dataset, tree).parent)),
    "no video": ("missing-video", forget_video),
    "no frame": ("missing-frame", lambda tree, dataset: shown_frame(dataset, tree).unlink()),
    "another name": ("missing-frame", rename_frame),
    "another length": ("other-length", drop_frame),
    "shrunk": ("other-size", lambda tree, dataset: shrink(shown_frame(dataset, tree))),
    "encoded anew": ("other-digest", lambda tree, dataset: encode_anew(shown_frame(dataset, tree))),
    "cut off": ("broken-frame", lambda tree, dataset: shown_frame(dataset, tree).write_bytes(b"\xff\xd8\xff")),
    "no masks": ("missing-annotation", forget_masks),
    "other masks": ("other-annotation", move_masks),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_differs_is_left_out_counted_and_named(name: str, tree: Path, dataset: Path, tmp_path: Path) -> None:
    kind, break_tree = CHANGES[name]
    break_tree(tree, dataset)
    done = hydrate(dataset, "mevis", tree, tmp_path / "out", embed=False)
    first = rows_of(dataset)[0]["id"]
    assert done.kinds[kind][0].id == first
    assert set(done.kinds) == {kind}
    assert done.hydrated + len(done.differences) == done.rows == len(rows_of(dataset))
    left = [row["id"] for row in rows_of(tmp_path / "out")]
    assert sorted([*left, *(one.id for one in done.differences)]) == sorted(row["id"] for row in rows_of(dataset))
    lines = [json.loads(line) for line in (tmp_path / "out" / DIFFERENCES).read_text().splitlines()]
    assert [(line["id"], line["kind"]) for line in lines] == [(one.id, one.kind) for one in done.differences]
    home = read_home(tmp_path / "out")
    assert home is not None and home.sources["mevis"].differences == {kind: len(done.differences)}
    assert len(open_examples(str(tmp_path / "out"))) == sum(row["kept"] for row in rows_of(tmp_path / "out"))


def changed_rows(dataset: Path, place: Path, edit: Callable[[Row], object]) -> Path:
    """A copy of the dataset with its first row edited."""
    shutil.copytree(dataset, place)
    shard = find_shards(place)[0]
    rows = pq.read_table(shard).to_pylist()
    edit(rows[0])
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), shard)
    return place


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda row: row["messages"].pop(), "broken-row"),
        (lambda row: row["decoded_frames"].reverse() or row["decoded_frames"].append(0), "broken-row"),
        (lambda row: row.update(video="../../etc"), "missing-video"),
        (lambda row: row.update(split="valid"), "missing-split"),
        (lambda row: row.update(split=None), "missing-split"),
        (lambda row: row.update(frames=None), "broken-row"),
        (lambda row: row.update(anno_ids=["no such"]), "missing-annotation"),
        (lambda row: row["frames"][0].update(name="../00000"), "missing-frame"),
    ],
    ids=[
        "no reply",
        "decoded elsewhere",
        "video that leaves",
        "other split",
        "no split",
        "no frames",
        "other target",
        "frame that leaves",
    ],
)
def test_a_row_that_was_edited_is_counted(
    edit: Callable[[Row], object], kind: str, dataset: Path, third_party: Path, tmp_path: Path
) -> None:
    edited = changed_rows(dataset, tmp_path / "edited", edit)
    done = hydrate(edited, "mevis", third_party / "tree", tmp_path / "out", embed=True)
    assert {found: len(rows) for found, rows in done.kinds.items()} == {kind: 1}


def refused(dataset: Path, root: Path, place: Path, source: str = "mevis") -> str:
    """What is said where nothing may be written."""
    place.mkdir(exist_ok=True)
    before = sorted(path.name for path in place.iterdir())
    with pytest.raises((DataError, UsageError)) as caught:
        hydrate(dataset, source, root, place / "out", embed=False)
    assert sorted(path.name for path in place.iterdir()) == before
    return str(caught.value)


def test_the_wrong_root_or_source_writes_nothing(dataset: Path, tree: Path, sft_run: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    assert "no such folder" in refused(dataset, tmp_path / "nowhere", place)
    assert "no split is here; is it the right folder?" in refused(dataset, tmp_path, place)
    assert "has no rows of source 'revos'; its sources: mevis (16 rows)" in refused(dataset, tree, place, "revos")
    assert "no source is called 'mevvis'; there are: " in refused(dataset, tree, place, "mevvis")
    for path in (tree / "train" / "JPEGImages").rglob("*.jpg"):
        encode_anew(path)
    said = refused(dataset, tree, place)
    assert "none of 16 rows of mevis fits: other-digest 16 (first: mevis/train/" in said
    assert "is it another copy or version of mevis? Nothing was written" in said
    shutil.rmtree(tree / "train" / "JPEGImages")
    assert "missing-video 16" in refused(dataset, tree, place)
    assert "all 16 rows of demo hold their frames" in refused(sft_run / "dataset", sft_run / "source", place, "demo")


@pytest.mark.parametrize("name", ["frames", "redistributable", "track"])
def test_a_column_that_is_missing_is_named(name: str, dataset: Path, third_party: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    shard = find_shards(tmp_path / "set")[0]
    pq.write_table(pq.read_table(shard).drop_columns([name]), shard)
    assert f"has no column '{name}'" in refused(tmp_path / "set", third_party / "tree", tmp_path / "place")


def test_a_column_of_another_type_is_named(dataset: Path, third_party: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    shard = find_shards(tmp_path / "set")[0]
    table = pq.read_table(shard)
    place = table.schema.get_field_index("num_frames")
    pq.write_table(table.set_column(place, "num_frames", table.column(place).cast(pa.string())), shard)
    said = refused(tmp_path / "set", third_party / "tree", tmp_path / "place")
    assert "column 'num_frames' is string, not int32" in said


def test_columns_of_other_versions_stay(dataset: Path, third_party: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    for shard in (tmp_path / "set").rglob("*.parquet"):
        table = pq.read_table(shard)
        newer = table.append_column("mood", pa.array(["calm"] * len(table))).drop_columns(["masks_digest"])
        pq.write_table(newer, shard)
    done = hydrate(tmp_path / "set", "mevis", third_party / "tree", tmp_path / "out", embed=False)
    assert done.hydrated == done.rows
    assert {row["mood"] for row in rows_of(tmp_path / "out")} == {"calm"}


def test_only_its_own_output_is_replaced(dataset: Path, third_party: Path, tmp_path: Path) -> None:
    root = third_party / "tree"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="is there already, and not from vtscot hydrate"):
        hydrate(dataset, "mevis", root, tmp_path / "mine", embed=False)
    with pytest.raises(UsageError, match="is there already"):
        hydrate(dataset, "mevis", root, dataset, embed=False)
    for embed in (True, False):
        hydrate(dataset, "mevis", root, tmp_path / "out", embed=embed)
    assert {image["bytes"] for row in rows_of(tmp_path / "out") for image in row["images"]} == {None}
    hydrate(dataset, "mevis", root, tmp_path / "again", embed=False)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "mine", "out"]


def test_rows_of_other_sources_stay_as_they_are(
    dataset: Path, third_party: Path, sft_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset, tmp_path / "both")
    shutil.copytree(sft_run / "dataset" / "demo", tmp_path / "both" / "demo")
    done: Hydration = hydrate(tmp_path / "both", "mevis", third_party / "tree", tmp_path / "out", embed=True)
    free = rows_of(tmp_path / "both" / "demo")
    assert (done.others, done.hydrated) == (len(free), len(rows_of(dataset)))
    assert rows_of(tmp_path / "out" / "demo") == free
    with pytest.raises(DataError, match="all 16 rows of demo hold their frames"):
        hydrate(tmp_path / "out", "demo", sft_run / "source", tmp_path / "out", embed=True)
    assert len(open_examples(str(tmp_path / "out"))) == sum(row["kept"] for row in rows_of(tmp_path / "out"))


def test_a_second_source_is_joined_in_the_same_folder(third_party: Path, dataset: Path, tmp_path: Path) -> None:
    """Rows of a second third-party source: those of the first, under another name."""
    shutil.copytree(dataset, tmp_path / "both")
    shutil.copytree(dataset / "mevis", tmp_path / "both" / "other")
    (shard,) = (tmp_path / "both" / "other").glob("*.parquet")
    rows = [row | {"source": "revos", "id": f"revos/{row['id']}"} for row in pq.read_table(shard).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), shard)
    out, tree = tmp_path / "out", third_party / "tree"
    hydrate(tmp_path / "both", "mevis", tree, out, embed=False)
    with pytest.raises(DataError, match=rf"{len(rows)} of \d+ rows hold no images.* --source revos --root DIR"):
        open_examples(str(out))
    shutil.copy(tree / "train" / "mask_dict.json", tmp_path / "mask_dict.json")
    shutil.copy(tree / "train" / "meta_expressions.json", tmp_path / "meta_expressions_train_.json")
    (tmp_path / "JPEGImages").symlink_to(tree / "train" / "JPEGImages")
    with pytest.raises(UsageError, match="has rows joined with mevis, which would be lost"):
        hydrate(tmp_path / "both", "revos", tmp_path, out, embed=False)
    done = hydrate(out, "revos", tmp_path, out, embed=True)
    assert (done.hydrated, done.differences) == (len(rows), ())
    home = read_home(out)
    assert home is not None and {name: one.embedded for name, one in home.sources.items()} == {
        "mevis": False,
        "revos": True,
    }
    examples = open_examples(str(out))
    assert len(examples) == sum(row["kept"] for row in rows_of(tmp_path / "both"))
    assert {examples[i].whole for i in range(len(examples))} == {True, False}


def test_files_outside_of_the_hydrated_source_are_not_opened(joined: dict[bool, Path], tmp_path: Path) -> None:
    row = rows_of(joined[False])[0]
    home = read_home(joined[False])
    assert home is not None
    root = home.root("mevis")
    assert open_row_frames(row, root).image(row["frames"][0]["index"]).size == (row["width"], row["height"])
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    name = row["frames"][0]["name"]
    (tmp_path / f"{name}.jpg").write_bytes(picture.getvalue())
    for path in (str(tmp_path / f"{name}.jpg"), f"{root}/../{name}.jpg", "/etc/passwd", None):
        edited = {**row, "images": [{"bytes": None, "path": path} for _ in row["images"]]}
        with pytest.raises(DataError, match="hydrate the dataset again"):
            open_row_frames(edited, root)
    with pytest.raises(DataError, match="not of its hydrated source"):
        open_row_frames(row, None)


def test_real_data_at_home(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "mevis"
    flags = ("--set", "verify.segmenter=box", "--limit", "6")
    ended = vtscot("build", "--source", "mevis", "--root", root, "--run", tmp_path / "run", *flags)
    assert ended.code == 0, ended.err
    done = vtscot("hydrate", tmp_path / "run", "--source", "mevis", "--root", root, "--embed", "--json")
    assert done.code == 0, done.err
    figures = done.json()
    assert figures["out"] == str(tmp_path / "run-hydrated")
    assert figures["hydrated"] == figures["rows"] > 0 and figures["differences"] == {}
    same_examples(open_examples(str(tmp_path / "run")), open_examples(figures["out"]))


def test_the_command_says_what_became_of_the_rows(dataset: Path, tree: Path, tmp_path: Path) -> None:
    encode_anew(shown_frame(dataset, tree))
    shutil.rmtree(tree / "valid_u", ignore_errors=True)
    out = tmp_path / "out"
    ended = vtscot("hydrate", dataset, "--source", "mevis", "--root", tree, "--out", out)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split()[0] == "hydrated"
    assert lines[1].startswith("other-digest") and "SHA-256 differs" in lines[1]
    assert lines[2] == f"left out: all in {out / DIFFERENCES}"
    assert lines[3] == f"dataset  {out}"
    wrong = vtscot("hydrate", dataset, "--source", "mevis", "--root", tmp_path / "nowhere", "--out", tmp_path / "no")
    assert (wrong.code, (tmp_path / "no").exists()) == (1, False)
    assert "no such folder; give the folder that holds the dataset with --root" in wrong.complaint
