"""Every reader on trees of the exact format: the masks of the world to the pixel, all expressions, the whole build."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli import vtscot
from tests.formats import FORMATS, GROUNDMORE_KINDS, Clip, Format, World, groundmore_action, load_world
from vtscot.evaluation.extras import HasActions, HasForegrounds
from vtscot.index import Index, build_index, ensure_index, source_digest
from vtscot.masks import Rle, decode
from vtscot.recipe import load_recipe, shipped_recipes
from vtscot.records import Query
from vtscot.sources.base import RawMask, Source
from vtscot.sources.registry import SOURCES, open_source
from vtscot.tracks import MaskTrack

by_source = pytest.mark.parametrize("form", FORMATS, ids=[form.source for form in FORMATS])


@pytest.fixture(scope="session")
def world(demo_root: Path) -> World:
    """Two videos of the demo."""
    return load_world(demo_root)


@pytest.fixture(scope="session")
def trees(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tree per source, all of the same world."""
    root = tmp_path_factory.mktemp("trees")
    for form in FORMATS:
        form.write(world, root / form.source)
    return root


def opened(form: Format, trees: Path) -> Source:
    return open_source(form.source, trees / form.source, form.split)


@pytest.fixture(scope="session")
def indices(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Index]:
    """The index of every tree."""
    folder = tmp_path_factory.mktemp("indices")
    return {form.source: build_index(opened(form, trees), folder / form.source) for form in FORMATS}


def clip_of(world: World, query: Query) -> Clip:
    return next(clip for clip in world.clips if clip.name in query.video)


def said_window(form: Format, clip: Clip, query: Query) -> tuple[int, int]:
    """First and last frame in which the writer gave a query masks."""
    if form.source != "groundmore":
        return 0, len(clip.images) - 1
    start, end = (0, 1) if query.exp_id == "9" else groundmore_action(clip, int(query.exp_id) - 1)
    return 6 * start, min(6 * end, len(clip.images)) - 1


@by_source
def test_masks_are_those_of_the_world(form: Format, world: World, indices: dict[str, Index]) -> None:
    index = indices[form.source]
    assert index.queries
    for query in index.queries:
        clip = clip_of(world, query)
        targets = next((said.objects for said in clip.said if said.text == query.expression), None)
        targets = targets or tuple(int(name) for name in query.object_ids)
        first, last = said_window(form, clip, query)
        track = MaskTrack.merge([index.track(anno) for anno in query.anno_ids]) if query.anno_ids else None
        for i in range(len(clip.images)):
            expected = np.zeros(clip.size, bool)
            for number in targets if first <= i <= last else ():
                expected |= clip.mask(number, i)
            found = track.rle(i) if track else None
            assert np.array_equal(decode(found) if found else np.zeros(clip.size, bool), expected), (query.id, i)


@by_source
def test_no_expression_is_lost(form: Format, world: World, trees: Path, indices: dict[str, Index]) -> None:
    index = indices[form.source]
    clips = [clip for clip in world.clips if any(clip.name in video for video in index.videos)]
    said = [s.text for clip in clips for s in clip.said if s.objects or form.source == "revos"]
    extra = ["which two are here?"] if form.source == "groundmore" else []
    assert sorted(query.expression for query in index.expressions) == sorted(said + extra)
    assert not index.skipped
    assert not [fault for fault in index.faults if fault.fatal]
    assert not SOURCES[form.source].licence.redistributable
    for name, video in index.videos.items():
        assert opened(form, trees).frames(video).size(0) == (video.width, video.height), name


@by_source
def test_reading_again_says_the_same(form: Format, trees: Path) -> None:
    source = opened(form, trees)
    tracks = list(source.tracks())
    assert tracks == list(source.tracks())
    assert tracks == list(opened(form, trees).tracks())
    first = tracks[0][0]
    assert list(source.tracks({first})) == tracks[:1]


@by_source
def test_whole_build(form: Format, trees: Path, tmp_path: Path) -> None:
    """The recipe that is shipped, through the real command line."""
    assert form.source in shipped_recipes()
    assert load_recipe(form.source).source.split in (form.split, "train")
    ended = vtscot(
        *("build", "--source", form.source, "--root", trees / form.source, "--split", form.split),
        *("--run", tmp_path, "--limit", "5", "--set", "workers=1", "--json"),
    )
    assert ended.code == 0, ended.err
    summary = ended.json()
    assert summary["queries"] == summary["kept"] == 5, summary["reasons"]
    assert summary["keyframe_iou"] > 0.8
    assert not list((tmp_path / "dataset").rglob("*.jpg")), "frames of third parties stay at home"


KINDS = {
    "revos": {"referring": 2, "reasoning": 2, "non-existent": 1},
    "long-rvos": {"static": 4, "dynamic": 2, "hybrid": 2},
    "groundmore": dict.fromkeys(GROUNDMORE_KINDS, 2) | {"Causal": 3},
}


@by_source
def test_kinds(form: Format, indices: dict[str, Index]) -> None:
    kinds = Counter(query.kind for query in indices[form.source].expressions)
    assert kinds == KINDS.get(form.source, {None: 8})


def test_a_changed_mask_makes_the_index_stale(trees: Path, tmp_path: Path) -> None:
    shutil.copytree(trees / "long-rvos", tmp_path / "tree")
    source = open_source("long-rvos", tmp_path / "tree", "train")
    before = ensure_index(source, tmp_path / "index")
    anno = next(before.tables())[0]
    changed = sorted((tmp_path / "tree/train/Annotations" / anno).iterdir())[0]
    Image.new("L", Image.open(changed).size, 255).save(changed)
    again = open_source("long-rvos", tmp_path / "tree", "train")
    assert source_digest(again, check_frames=True) != before.digest
    after = ensure_index(again, tmp_path / "index")
    assert after.table(anno).area.max() == after.table(anno).height * after.table(anno).width


def test_one_object_in_two_actions_is_two_tracks(world: World, trees: Path, indices: dict[str, Index]) -> None:
    source = open_source("groundmore", trees / "groundmore", "trainval")
    assert isinstance(source, HasActions)
    queries = {query.exp_id: query for query in indices["groundmore"].queries if world.clips[0].name in query.video}
    assert source.action(queries["1"]) is None
    assert source.action(queries["2"]) == (0, 11)
    assert source.action(queries["9"]) == (0, 5)
    assert len(queries["9"].anno_ids) == 2
    assert all(anno.endswith("@0-5") for anno in queries["9"].anno_ids)


def test_foregrounds_are_the_union_of_all_objects(world: World, trees: Path) -> None:
    source = open_source("revos", trees / "revos", "valid")
    assert isinstance(source, HasForegrounds)
    ((name, entries),) = source.foregrounds()
    assert name == f"DEMO/all/{world.clips[1].name}"
    for i, entry in enumerate(entries):
        assert isinstance(entry, RawMask)
        rle = Rle.from_coco({"size": list(entry.size), "counts": entry.counts})
        assert np.array_equal(decode(rle), world.clips[1].labels(i) > 0)


def test_held_out_splits_have_queries_and_no_masks(world: World, trees: Path, tmp_path: Path) -> None:
    """The test file of Ref-YouTube-VOS has its frames under valid; masks that no expression names are none."""
    train = trees / "ref-youtube-vos"
    meta = json.loads((train / "meta_expressions/train/meta_expressions.json").read_bytes())
    for body in meta["videos"].values():
        for entry in body["expressions"].values():
            del entry["obj_id"]
    for split in ("valid", "test"):
        path = tmp_path / "meta_expressions" / split / "meta_expressions.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(meta))
    shutil.copytree(train / "train", tmp_path / "valid")
    for split in ("valid", "test"):
        source = open_source("ref-youtube-vos", tmp_path, split)
        assert not source.has_masks
        assert source.files() == [tmp_path / "meta_expressions" / split / "meta_expressions.json"]
        index = build_index(source, tmp_path / "index" / split)
        assert {reason for _, reason, _ in index.skipped} == {"no-masks"}
        assert len(list(source.queries())) == 8
        assert not [fault for fault in index.faults if fault.query is None]


@pytest.mark.parametrize(("source", "split", "every"), [("ref-youtube-vos", "train", 5), ("revos", "valid", 1)])
def test_real_trees_agree_with_the_real_mevis_tree(
    source: str, split: str, every: int, shared_data: Path, tmp_path: Path
) -> None:
    """Three DAVIS videos in three formats have the same masks."""
    mevis = build_index(open_source("mevis", shared_data / "mevis", "train"), tmp_path / "mevis")
    other = build_index(open_source(source, shared_data / source, split), tmp_path / source)
    assert len(other.expressions) == 12
    for name in mevis.videos:
        (expected,) = (mevis.track(anno) for anno in mevis.objects(name))
        (full,) = (video for video in other.videos if video.split("/")[-1] == name)
        (track,) = (other.track(anno) for anno in other.objects(full))
        assert [track.rle(i) for i in range(len(track))] == [expected.rle(i) for i in range(0, len(expected), every)]


@pytest.mark.parametrize(("source", "split"), [("ref-youtube-vos", "train"), ("revos", "valid")])
def test_real_trees_build(source: str, split: str, shared_data: Path, tmp_path: Path) -> None:
    ended = vtscot(
        *("build", "--source", source, "--root", shared_data / source, "--split", split, "--run", tmp_path),
        *("--set", "workers=1", "--json"),
    )
    assert ended.code == 0, ended.err
    summary = ended.json()
    assert (summary["queries"], summary["failed"]) == (12, 0)
    assert summary["reasons"]["duplicate-expression"] == summary["skipped"] == 1
    assert summary["kept"] == 11


@pytest.mark.parametrize(
    ("source", "name", "videos", "expressions", "duplicates"),
    [
        pytest.param("ref-youtube-vos", "ref_youtube_vos_valid.json", 507, 2096, 6, id="ref-youtube-vos"),
        pytest.param("ref-davis17", "ref_davis17_valid.json", 30, 244, 29, id="ref-davis17"),
    ],
)
def test_real_expressions(
    source: str, name: str, videos: int, expressions: int, duplicates: int, shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "meta_expressions" / "valid" / "meta_expressions.json"
    path.parent.mkdir(parents=True)
    shutil.copy(shared_data / "expressions" / name, path)
    opened = open_source(source, tmp_path, "valid")
    assert len(list(opened.videos())) == videos
    assert len(list(opened.queries())) == len(list(opened.expressions())) == expressions
    assert Counter(fault.kind for fault in opened.faults)["duplicate-expression"] == duplicates


def test_a_real_mask_of_another_size(shared_data: Path, tmp_path: Path) -> None:
    """An 853x480 mask for an 854x480 frame."""
    folder = shared_data / "odd" / "judo"
    for kind, found in (("JPEGImages", "frame_854x480.jpg"), ("Annotations", "mask_853x480.png")):
        (tmp_path / "train" / kind / "judo").mkdir(parents=True)
        shutil.copy(folder / found, tmp_path / "train" / kind / "judo" / f"00000{Path(found).suffix}")
    path = tmp_path / "meta_expressions" / "train" / "meta_expressions.json"
    path.parent.mkdir(parents=True)
    said = {"0": {"exp": "the left judoka", "obj_id": "2"}}
    path.write_text(json.dumps({"videos": {"judo": {"frames": ["00000"], "expressions": said}}}))
    index = build_index(open_source("ref-youtube-vos", tmp_path, "train"), tmp_path / "index")
    assert [(query.exp_id, reason) for query, reason, _ in index.skipped] == [("0", "mask-size")]


def test_the_rle_is_that_of_the_pixels(shared_data: Path) -> None:
    source = open_source("ref-youtube-vos", shared_data / "ref-youtube-vos", "train")
    track = dict(source.tracks())["dog/1"]
    path = shared_data / "ref-youtube-vos" / "train" / "Annotations" / "dog" / "00010.png"
    entry = track[2]
    assert isinstance(entry, RawMask)
    assert entry.counts == Rle.from_array(np.asarray(Image.open(path)) == 1).coco()["counts"]
