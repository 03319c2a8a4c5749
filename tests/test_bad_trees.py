"""Trees of every format with something wrong in them: a counted skip or one line, and no neighbour lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.breaking import FORM, Change, said, skipped, tiny_world, written
from tests.formats import FORMATS, Format, World
from tests.trees import WIDTH
from vtscot.errors import DataError
from vtscot.index import build_index
from vtscot.sources.registry import open_source

case = pytest.param
BOTH = {"cat 0", "cat 1"}


@pytest.fixture
def tiny(tmp_path: Path) -> World:
    """Two small videos."""
    return tiny_world(tmp_path)


def sourced(origin: Any) -> Change:
    """Another `source` of the first video."""

    def change(root: Path) -> None:
        document = json.loads((root / "meta_expressions.json").read_bytes())
        document["videos"]["cat"]["source"] = origin
        (root / "meta_expressions.json").write_text(json.dumps(document))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        case(sourced("../../frames"), "bad-name", id="a source that leaves the tree"),
        case(sourced("BURST"), "mask-missing", id="another source"),
        case(sourced(None), "mask-missing", id="no source"),
        case(sourced(["VIPSeg"]), "mask-missing", id="a source that is a list"),
    ],
)
def test_reasonvos_sources(change: Change, reason: str, tiny: World, tmp_path: Path) -> None:
    _, reasons = skipped("reasonvos", tiny, tmp_path, change)
    assert reasons == dict.fromkeys(BOTH, reason)


def test_reasonvos_missing_mask(tiny: World, tmp_path: Path) -> None:
    _, reasons = skipped("reasonvos", tiny, tmp_path, written("Annotations/vipseg_cat_1/00002.png", None))
    assert reasons == {"cat 0": "mask-missing"}


def timed(**changes: Any) -> Change:
    return said("trainval_v2.json", "1", **changes)


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        case(timed(action_start="00:01:10"), {}, id="hours"),
        case(timed(action_start="1:10", action_end="1:59"), {}, id="an action that goes on after the clip"),
        case(timed(action_start="1:05"), {}, id="an action that began before the clip"),
        case(timed(action_start="1:12", action_end="1:13"), {"cat 1": "bad-target"}, id="after the clip"),
        case(timed(action_start="1:11", action_end="1:10"), {"cat 1": "bad-target"}, id="ends before it starts"),
        case(timed(action_start=70), {"cat 1": "bad-target"}, id="a number"),
        case(timed(action_start="soon"), {"cat 1": "bad-target"}, id="a word"),
        case(timed(action_start=None), {"cat 1": "bad-target"}, id="missing"),
        case(timed(action_start="9" * 5000 + ":00"), {"cat 1": "bad-target"}, id="5,000 digits"),
        case(timed(question=None), {"cat 1": "wrong-type"}, id="no question"),
        case(
            written("annotations/cat_0110_0115/images/frame_000001.jpg", None),
            {"cat 1": "frame-missing", "cat 2": "frame-missing", "cat 9": "frame-missing"},
            id="a frame is missing",
        ),
        case(
            written("annotations/cat_0110_0115/images", None),
            {"cat 1": "no-frames", "cat 2": "no-frames", "cat 9": "no-frames"},
            id="all frames are missing",
        ),
        case(
            written("annotations/cat_0110_0115/masks", None),
            {"cat 1": "mask-missing", "cat 2": "mask-missing", "cat 9": "mask-missing"},
            id="the folder of masks is missing",
        ),
    ],
)
def test_groundmore(change: Change, reasons: dict[str, str], tiny: World, tmp_path: Path) -> None:
    _, found = skipped("groundmore", tiny, tmp_path, change)
    assert found == reasons


def test_groundmore_notes_frames_without_masks(tiny: World, tmp_path: Path) -> None:
    removed = written("annotations/cat_0110_0115/masks/frame_000001.png", None)
    index, reasons = skipped("groundmore", tiny, tmp_path, removed)
    assert reasons == {}
    notes = [(fault.kind, fault.fatal, fault.frame) for fault in index.faults]
    assert notes == [("mask-missing", False, 1)] * len(notes)
    assert notes
    assert not index.table("cat_0110_0115/2").visible[1]


def renamed(root: Path) -> None:
    """A clip whose name does not say its times."""
    text = (root / "trainval_v2.json").read_text().replace("cat_0110_0115", "cat")
    (root / "trainval_v2.json").write_text(text)
    (root / "annotations/cat_0110_0115").rename(root / "annotations/cat")


def test_groundmore_clips_say_their_times(tiny: World, tmp_path: Path) -> None:
    _, reasons = skipped("groundmore", tiny, tmp_path, renamed)
    assert reasons == dict.fromkeys(("cat 1", "cat 2", "cat 9"), "bad-target")


REVOS = "meta_expressions_valid_.json"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        case(said(REVOS, "0", type_id=0), "referring", id="0"),
        case(said(REVOS, "0", type_id=1), "reasoning", id="1"),
        case(said(REVOS, "0", type_id=2, obj_id=[], anno_id=[]), "non-existent", id="2"),
        case(said(REVOS, "0", type_id=2, obj_id=None, anno_id=None), "non-existent", id="2 without targets"),
        case(said(REVOS, "0", type_id=-1), None, id="negative"),
        case(said(REVOS, "0", type_id=3), None, id="unknown"),
        case(said(REVOS, "0", type_id="1"), None, id="text"),
        case(said(REVOS, "0", type_id=True), None, id="a truth value"),
        case(said(REVOS, "0", type_id=None), None, id="missing"),
    ],
)
def test_revos_types(change: Change, kind: str | None, tiny: World, tmp_path: Path) -> None:
    index, reasons = skipped("revos", tiny, tmp_path, change)
    assert reasons == {}
    assert index.expressions[0].kind == kind


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        case(None, "cannot be read", id="missing"),
        case(b"{", "download", id="cut off"),
        case(b'{"DEMO/all/dog": [1]}', "foreground of DEMO/all/dog", id="a list"),
        case(b'{"DEMO/all/dog": {"masks_rle": [7]}}', "foreground of DEMO/all/dog", id="a mask that is a number"),
        case(b'{"DEMO/all/dog": {"masks_rle": [nul]}}', "DEMO/all/dog", id="no JSON"),
    ],
)
def test_revos_foreground(content: bytes | None, complaint: str, tiny: World, tmp_path: Path) -> None:
    FORM["revos"].write(tiny, tmp_path / "tree")
    written("mask_dict_foreground.json", content)(tmp_path / "tree")
    source: Any = open_source("revos", tmp_path / "tree", "valid")
    with pytest.raises(DataError, match=complaint):
        list(source.foregrounds())


def test_a_stated_size_that_is_not_that_of_the_frames_is_noted(tiny: World, tmp_path: Path) -> None:
    def change(root: Path) -> None:
        (root / REVOS).write_text((root / REVOS).read_text().replace(f'"width": {WIDTH}', '"width": 31'))

    index, reasons = skipped("revos", tiny, tmp_path, change)
    assert reasons == {}
    assert [fault.kind for fault in index.faults] == ["stated-size"]
    assert next(iter(index.videos.values())).width == WIDTH


@pytest.mark.parametrize("form", FORMATS, ids=[form.source for form in FORMATS])
def test_no_such_split_names_those_there_are(form: Format, tiny: World, tmp_path: Path) -> None:
    form.write(tiny, tmp_path / "tree")
    for split in ("nosuch", "..", "*", "../tree", ""):
        with pytest.raises(DataError, match=f"splits here: .*{form.split}"):
            open_source(form.source, tmp_path / "tree", split)
    with pytest.raises(DataError, match="right folder"):
        open_source(form.source, tmp_path / "frames", form.split)
    with pytest.raises(DataError, match="no such folder"):
        open_source(form.source, tmp_path / "absent", form.split)


@pytest.mark.parametrize("form", FORMATS, ids=[form.source for form in FORMATS])
@pytest.mark.parametrize("name", ["../cat", "/etc", "..", "a\\b", "cat\u0000", "\ud800"])
def test_a_video_that_leaves_the_tree_is_skipped(form: Format, name: str, tiny: World, tmp_path: Path) -> None:
    """Whatever the format, its expressions are counted and the other video is not touched."""
    form.write(tiny, tmp_path / "tree")
    source = open_source(form.source, tmp_path / "tree", form.split)
    (meta,) = (path for path in source.files() if "expressions" in path.name or path.name.endswith("_v2.json"))
    document = json.loads(meta.read_bytes())
    first = next(iter(document["videos"]))
    document["videos"] = {name if key == first else key: body for key, body in document["videos"].items()}
    meta.write_text(json.dumps(document))
    index = build_index(open_source(form.source, tmp_path / "tree", form.split), tmp_path / "index")
    reasons = [reason for query, reason, _ in index.skipped if query.video not in index.videos]
    assert set(reasons) == {"bad-name"}
    assert len(index.queries) == len(index.expressions) - len(reasons)
