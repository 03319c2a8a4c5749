"""Tracks: entries of annotation files in, visible spans, unions and tables out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtscot import masks
from vtscot.errors import MaskError
from vtscot.masks import Rle
from vtscot.tracks import MaskTrack, TrackTable, spans

Array = npt.NDArray[np.bool_]


def frame(*pixels: tuple[int, int]) -> Array:
    """A frame of 4 rows and 6 columns with the given (x, y) set."""
    array = np.zeros((4, 6), bool)
    for x, y in pixels:
        array[y, x] = True
    return array


def track(*frames: Array | None) -> MaskTrack:
    return MaskTrack(4, 6, tuple(None if array is None else Rle.from_array(array).counts for array in frames))


def coco(array: Array) -> dict[str, Any]:
    return Rle.from_array(array).coco()


def video(seed: int, frames: int = 5) -> list[Array | None]:
    rng = np.random.default_rng(seed)
    return [None if rng.random() < 0.3 else rng.random((4, 6)) < rng.choice([0.0, 0.1, 0.6]) for _ in range(frames)]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        pytest.param([], (), id="no frames"),
        pytest.param([0, 0], (), id="never"),
        pytest.param([1], ((0, 0),), id="one frame"),
        pytest.param([1, 1, 1], ((0, 2),), id="always"),
        pytest.param([0, 1, 1, 0, 0, 1], ((1, 2), (5, 5)), id="leaves and comes back"),
    ],
)
def test_spans(visible: list[int], expected: tuple[tuple[int, int], ...]) -> None:
    assert spans(np.array(visible, bool)) == expected


def test_a_track_of_all_kinds_of_entries() -> None:
    left, right = frame((0, 0), (1, 0)), frame((1, 0), (5, 3))
    entries = [None, coco(left), [coco(left), coco(right)], [], [None, coco(right)], coco(frame())]
    read = MaskTrack.from_coco(entries, frames=6, size=(4, 6))
    assert read == track(None, left, left | right, None, right, frame())
    assert len(read) == 6
    assert read.areas.tolist() == [0, 2, 3, 0, 2, 0]
    assert read.visible.tolist() == [False, True, True, False, True, False]
    assert read.spans() == ((1, 2), (4, 4))
    assert read.boxes.tolist() == [[0] * 4, [0, 0, 2, 1], [0, 0, 6, 4], [0] * 4, [1, 0, 5, 4], [0] * 4]
    assert read.rle(0) is None
    assert read.rle(1) == Rle.from_array(left)


def test_the_first_mask_tells_the_size() -> None:
    assert MaskTrack.from_coco([None, coco(frame((2, 2)))]) == track(None, frame((2, 2)))


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        pytest.param(
            [None, {"size": [4, 6], "counts": "0"}], {}, r"frame 1: .*do not add up to 4 x 6", id="bad counts"
        ),
        pytest.param([7], {}, r"frame 0: .*not 7", id="not an object"),
        pytest.param([[coco(frame()), 7]], {}, r"frame 0: .*not 7", id="not an object in a list"),
        pytest.param([[[coco(frame())]]], {}, "frame 0: .*must be an object", id="a list in a list"),
        pytest.param([coco(frame()), coco(np.zeros((4, 5), bool))], {}, r"frame 1: .*\(4, 5\)", id="two sizes"),
        pytest.param(
            [[coco(frame()), coco(np.zeros((4, 5), bool))]], {}, r"frame 0: .*\(4, 5\)", id="two sizes at once"
        ),
        pytest.param([coco(frame())], {"size": (4, 5)}, r"frame 0: .*\(4, 6\) in a frame of \(4, 5\)", id="other size"),
        pytest.param([None], {"frames": 2}, "1 masks for 2 frames", id="too short"),
        pytest.param([None, None], {"frames": 1}, "2 masks for 1 frames", id="too long"),
        pytest.param([None, None], {}, "needs the size", id="no mask and no size"),
        pytest.param([None], {"size": (0, 5)}, "0 x 5", id="no pixels"),
    ],
)
def test_bad_tracks_name_the_frame(entries: list[object], options: dict[str, Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        MaskTrack.from_coco(entries, **options)


def test_a_track_without_masks_has_the_size_it_is_given() -> None:
    absent = MaskTrack.from_coco([None, None], size=(4, 6))
    assert absent == track(None, None)
    assert absent.spans() == ()
    assert absent.decode(0).shape == (4, 6)


def test_counts_that_were_never_checked_are_found_when_measured() -> None:
    with pytest.raises(MaskError, match="frame 1"):
        _ = MaskTrack(4, 6, (None, b"zzz")).areas


def test_measures_are_shared_and_cannot_be_changed() -> None:
    own = track(frame((1, 1)))
    assert own.areas is own.areas
    with pytest.raises(ValueError, match="read-only"):
        own.boxes[0] = 0


def test_decode_and_iou_treat_nothing_as_an_empty_mask() -> None:
    own = track(frame((1, 1), (2, 1)), None, frame())
    assert np.array_equal(own.decode(0), frame((1, 1), (2, 1)))
    assert own.decode(0, (1, 1, 2, 1)).tolist() == [[True, True]]
    assert not own.decode(1).any()
    half = Rle.from_array(frame((1, 1)))
    assert [own.iou(i, half) for i in range(3)] == [0.5, 0.0, 0.0]
    assert [own.iou(i, None) for i in range(3)] == [0.0, 1.0, 1.0]
    assert own.iou(1, masks.empty(4, 6)) == 1.0
    with pytest.raises(MaskError, match="different sizes"):
        own.iou(0, masks.empty(4, 5))


def test_resize() -> None:
    grown = track(frame((1, 1)), None).resize(8, 12)
    assert (grown.height, grown.width) == (8, 12)
    assert grown.boxes.tolist() == [[2, 2, 2, 2], [0, 0, 0, 0]]
    assert grown.rle(1) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_merge_is_the_union_per_frame(seeds: list[int]) -> None:
    videos = [video(seed) for seed in seeds]
    merged = MaskTrack.merge([track(*frames) for frames in videos])
    for i in range(5):
        given_frames = [frames[i] for frames in videos if frames[i] is not None]
        if not given_frames:
            assert merged.rle(i) is None
        else:
            assert np.array_equal(merged.decode(i), np.any(given_frames, axis=0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_merged_tables_bound_the_merged_track(seeds: list[int]) -> None:
    tracks = [track(*video(seed)) for seed in seeds]
    table = TrackTable.merge([each.table() for each in tracks])
    exact = MaskTrack.merge(tracks).table()
    assert table.box.tolist() == exact.box.tolist()
    assert table.spans() == exact.spans()
    assert (table.area >= exact.area).all()
    total = np.sum([each.areas for each in tracks], axis=0)
    assert table.area.tolist() == np.minimum(total, table.box[:, 2] * table.box[:, 3]).tolist()
    assert table.area.dtype == np.int64
    assert len(table) == 5


def test_merging_refuses_what_does_not_fit() -> None:
    for merge, one in ((MaskTrack.merge, track(None)), (TrackTable.merge, track(None).table())):
        with pytest.raises(MaskError, match="nothing to merge"):
            merge([])  # type: ignore[operator]
        other = MaskTrack(4, 6, (None, None))
        with pytest.raises(MaskError, match=r"\(4, 6, 1\) and \(4, 6, 2\)"):
            merge([one, other if isinstance(one, MaskTrack) else other.table()])  # type: ignore[operator]


def test_a_table_has_one_row_per_frame() -> None:
    with pytest.raises(MaskError, match="one row per frame"):
        TrackTable(4, 6, np.zeros(3, np.int64), np.zeros((2, 4)))


def test_real_tracks_of_mevis(shared_data: Path) -> None:
    mask_dict = json.loads((shared_data / "mevis" / "train" / "mask_dict.json").read_text())
    tracks = {anno_id: MaskTrack.from_coco(entries, size=(480, 854)) for anno_id, entries in mask_dict.items()}
    assert {len(each) for each in tracks.values()} == {40, 50, 60}
    for each in tracks.values():
        assert each.spans() == ((0, len(each) - 1),)
        shown = each.decode(3)
        x, y, w, h = each.boxes[3].astype(int)
        assert shown.sum() == shown[y : y + h, x : x + w].sum() == each.areas[3]
        assert each.iou(3, each.rle(3)) == 1.0
        assert 0.3 < each.iou(3, each.rle(4)) < 1.0
        assert each.resize(480, 854) == each
