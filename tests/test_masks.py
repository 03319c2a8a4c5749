"""Masks as RLE: the same numbers as pycocotools and numpy, and no way in for counts that are not COCO's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pycocotools.mask as coco
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from vtscot import masks
from vtscot.errors import MaskError
from vtscot.masks import Rle, measure

Array = npt.NDArray[np.bool_]


def array(text: str) -> Array:
    return np.array([[c == "#" for c in line] for line in text.split()])


SHAPES: dict[str, Array] = {
    "empty": np.zeros((5, 7), bool),
    "full": np.ones((5, 7), bool),
    "one pixel": array(".... ..#. ...."),
    "first pixel": array("#... .... ...."),
    "last pixel": array(".... .... ...#"),
    "borders": array("#### #..# ####"),
    "one row": array(".##.#"),
    "one column": array(". # # . #"),
    "a run wraps to the next column": array(".#. .#. #.. #.."),
    "a run spans several columns": array("..##. .###. .##.."),
    "wraps and touches both rows": array("..# .#. ##."),
    "checkerboard": np.indices((6, 5)).sum(axis=0) % 2 == 1,
}


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Small masks from almost empty to almost full, so that runs wrap around columns."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
    share = draw(st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random(shape) < share


def true_box(mask: Array) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


def characters(runs: list[int]) -> bytes:
    """COCO's spelling of runs, without the checks: what a broken or hostile writer may produce."""
    text = bytearray()
    for i, run in enumerate(runs):
        value, more = run - (runs[i - 2] if i > 2 else 0), True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append(48 + (bits | 0x20 if more else bits))
    return bytes(text)


def check_against_pycocotools(mask: Array) -> None:
    height, width = mask.shape
    reference = coco.encode(np.asfortranarray(mask, np.uint8))
    rle = Rle.from_array(mask)
    assert rle.counts == reference["counts"]
    assert rle == Rle.from_coco(reference) == Rle.from_coco(rle.coco())
    assert masks.area(rle) == coco.area(reference) == mask.sum()
    assert masks.box(rle).tolist() == coco.toBbox(reference).tolist() == true_box(mask)
    assert masks.is_empty(rle) == (not mask.any())
    decoded = masks.decode(rle)
    assert decoded.dtype == np.bool_
    assert decoded.flags.f_contiguous
    assert np.array_equal(decoded, mask)
    by_rows = masks.decode(rle, order="C")
    assert by_rows.flags.c_contiguous
    assert np.array_equal(by_rows, mask)
    measured = measure([rle.counts, None, rle.counts], height, width)
    assert measured.areas.tolist() == [mask.sum(), 0, mask.sum()]
    assert measured.boxes.tolist() == [true_box(mask), [0, 0, 0, 0], true_box(mask)]
    assert measured.valid.all()


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_shapes_measure_like_pycocotools(mask: Array) -> None:
    check_against_pycocotools(mask)


@settings(max_examples=150, deadline=None)
@given(arrays())
def test_random_masks_measure_like_pycocotools(mask: Array) -> None:
    check_against_pycocotools(mask)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.integers(0, 2**32))
def test_set_operations_equal_numpy(a: Array, seed: int) -> None:
    b = np.random.default_rng(seed).random(a.shape) < 0.5
    rle_a, rle_b = Rle.from_array(a), Rle.from_array(b)
    assert masks.union([rle_a, rle_b]) == Rle.from_array(a | b)
    assert masks.union([rle_a, rle_b, rle_a]) == Rle.from_array(a | b)
    assert masks.union([rle_a]) == rle_a
    assert masks.intersection(rle_a, rle_b) == Rle.from_array(a & b)
    both = (a | b).sum()
    assert masks.iou(rle_a, rle_b) == pytest.approx((a & b).sum() / both if both else 1.0)


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        pytest.param("..", "..", 1.0, id="both empty"),
        pytest.param("##", "..", 0.0, id="one empty"),
        pytest.param("#.", ".#", 0.0, id="disjoint"),
        pytest.param("#.", "##", 0.5, id="half"),
        pytest.param("##", "##", 1.0, id="equal"),
    ],
)
def test_iou(a: str, b: str, value: float) -> None:
    assert masks.iou(Rle.from_array(array(a)), Rle.from_array(array(b))) == value
    assert masks.iou(Rle.from_array(array(b)), Rle.from_array(array(a))) == value


def test_many_masks_at_once() -> None:
    """pycocotools' own area overflows from 256 masks on."""
    rng = np.random.default_rng(0)
    arrays_ = [rng.random((4, 6)) < 0.5 for _ in range(300)]
    rles = [Rle.from_array(mask) for mask in arrays_]
    assert masks.areas(rles).dtype == np.int64
    assert masks.areas(rles).tolist() == [mask.sum() for mask in arrays_]
    assert masks.boxes(rles).tolist() == [true_box(mask) for mask in arrays_]
    measured = measure([rle.counts for rle in rles], 4, 6)
    assert measured.areas.tolist() == masks.areas(rles).tolist()
    assert measured.boxes.tolist() == masks.boxes(rles).tolist()
    assert masks.areas([]).shape == (0,)
    assert masks.boxes([]).shape == measure([], 4, 6).boxes.shape == (0, 4)


def source_of(size_in: int, size_out: int) -> list[int]:
    """Nearest neighbour with aligned centres, in whole numbers; a tie takes the lower index."""
    return [-(-(2 * j + 1) * size_in // (2 * size_out)) - 1 for j in range(size_out)]


@settings(max_examples=150, deadline=None)
@given(arrays(), st.integers(1, 30), st.integers(1, 30))
def test_resize_is_nearest_neighbour(mask: Array, height: int, width: int) -> None:
    resized = masks.decode(masks.resize(Rle.from_array(mask), height, width))
    expected = mask[np.ix_(source_of(mask.shape[0], height), source_of(mask.shape[1], width))]
    assert np.array_equal(resized, expected)


@pytest.mark.parametrize(("before", "after"), [(14, 61), (98, 1), (480, 240), (854, 427), (853, 854), (1080, 157)])
def test_resize_has_no_rounding_errors(before: int, after: int) -> None:
    """14 -> 61: 7 * (61 / 14) is 30.5, and less than that in floating point."""
    mask = np.arange(before)[:, None] % 2 == 0
    assert np.array_equal(masks.decode(masks.resize(Rle.from_array(mask), after, 1)), mask[source_of(before, after)])
    across = masks.decode(masks.resize(Rle.from_array(mask.T), 1, after))
    assert np.array_equal(across, mask.T[:, source_of(before, after)])


def test_resize_to_the_same_size_changes_nothing() -> None:
    rle = Rle.from_array(SHAPES["borders"])
    assert masks.resize(rle, *rle.size) is rle


@settings(max_examples=150, deadline=None)
@given(arrays(), st.tuples(*[st.floats(-20, 20)] * 2), st.tuples(*[st.floats(-3, 30)] * 2))
def test_crop_equals_slicing_the_whole(mask: Array, corner: tuple[float, float], extent: tuple[float, float]) -> None:
    left, top = (max(0, int(np.floor(value))) for value in corner)
    right, bottom = (max(0, int(np.ceil(a + b))) for a, b in zip(corner, extent, strict=True))
    crop = masks.decode(Rle.from_array(mask), (*corner, *extent))
    assert np.array_equal(crop, mask[top : max(top, bottom), left : max(left, right)])


def test_crop_of_no_number_is_refused() -> None:
    with pytest.raises(MaskError, match="not made of numbers"):
        masks.decode(masks.empty(3, 3), (0, 0, float("nan"), 1))


@pytest.mark.parametrize(
    ("runs", "is_empty"),
    [
        pytest.param([12], True, id="one run"),
        pytest.param([3, 0, 9], True, id="an empty run of foreground"),
        pytest.param([0, 0, 12], True, id="two empty runs"),
        pytest.param([3, 0, 8, 1], False, id="foreground after an empty run"),
        pytest.param([0, 12], False, id="full"),
        pytest.param([11, 1], False, id="last pixel"),
    ],
)
def test_counts_that_are_not_canonical_may_be_empty(runs: list[int], is_empty: bool) -> None:
    rle = Rle(3, 4, characters(runs))
    assert masks.is_empty(rle) == is_empty
    assert masks.iou(rle, masks.empty(3, 4)) == float(is_empty)


def test_a_second_run_that_starts_with_a_zero_digit() -> None:
    """32 is spelled as the digits 0, 1."""
    assert not masks.is_empty(Rle(8, 8, characters([32, 32])))


def test_empty() -> None:
    rle = masks.empty(3, 4)
    assert rle.size == (3, 4)
    assert masks.is_empty(rle)
    assert masks.decode(rle).shape == (3, 4)


@pytest.mark.parametrize(
    "counts",
    [characters([5, 2, 3, 2]), characters([5, 2, 3, 2]).decode(), [5, 2, 3, 2], [5, 2, 2, 0, 1, 2], [5, 2, 3, 2, 0]],
    ids=["bytes", "str", "runs", "an empty run inside", "an empty run at the end"],
)
def test_counts_come_as_bytes_text_or_runs(counts: bytes | str | list[int]) -> None:
    column = np.array([[0] * 5 + [1] * 2 + [0] * 3 + [1] * 2], bool).T
    assert Rle.from_coco({"size": [12, 1], "counts": counts}) == Rle.from_array(column)


def test_empty_runs_in_compressed_counts_are_removed() -> None:
    rle = Rle.from_coco({"size": [4, 3], "counts": characters([5, 2, 2, 0, 1, 2])})
    assert rle == Rle.from_coco({"size": [4, 3], "counts": [5, 2, 3, 2]})
    assert measure([characters([5, 2, 2, 0, 1, 2])], 4, 3).areas.tolist() == [4]


GOOD = characters([3, 4, 5])
BAD_COUNTS: dict[str, Any] = {
    "no characters": b"",
    "too few pixels": characters([3, 4]),
    "too many pixels": characters([3, 4, 6]),
    "a negative run that makes the sum right": characters([13, -1]),
    "a negative run in the middle": characters([10, -4, 6]),
    "a run beyond 32 bits": characters([2**32 + 3, 4, 5]),
    "a run beyond 64 bits": characters([2**70 + 3, 4, 5]),
    "runs that wrap around 32 bits": characters([2**32 - 1, 13]),
    "a run without an end": GOOD + b"o",
    "only a run without an end": b"o",
    "an over-long run": b"oooooo0" + GOOD,
    "endless continuation": b"o" * 100_000,
    "a character below": b"/" + GOOD,
    "a character above": GOOD + b"p",
    "a NUL inside": GOOD + b"\0" + GOOD,
    "a line break": GOOD + b"\n",
    "bytes that are not ASCII": b"\xff" + GOOD,
}
BAD_OBJECTS: dict[str, Any] = {
    "nothing": None,
    "text": "345",
    "no counts": {"size": [3, 4]},
    "no size": {"counts": GOOD},
    "size of three": {"size": [3, 4, 1], "counts": GOOD},
    "size of text": {"size": ["3", "4"], "counts": GOOD},
    "size of booleans": {"size": [True, True], "counts": "01"},
    "size of fractions": {"size": [3.0, 4.0], "counts": GOOD},
    "size is a number": {"size": 12, "counts": GOOD},
    "no pixels": {"size": [0, 4], "counts": "0"},
    "negative size": {"size": [-3, -4], "counts": GOOD},
    "too many pixels for a frame": {"size": [2**15, 2**14], "counts": characters([2**29])},
    "too long a side": {"size": [1, 2**20], "counts": characters([2**20])},
    "a size of 4000 digits": {"size": [10**4000, 1], "counts": GOOD},
    "counts of 4000 digits": {"size": [3, 4], "counts": 10**4000},
    "size beyond 64 bits": {"size": [2**70, 1], "counts": GOOD},
    "counts of None": {"size": [3, 4], "counts": None},
    "counts of a number": {"size": [3, 4], "counts": 12},
    "text that is not ASCII": {"size": [3, 4], "counts": "3é4"},
    "runs that are negative": {"size": [3, 4], "counts": [13, -1]},
    "runs that are too few": {"size": [3, 4], "counts": [3, 4]},
    "no runs": {"size": [3, 4], "counts": []},
    "runs of fractions": {"size": [3, 4], "counts": [3.0, 9.0]},
    "runs of booleans": {"size": [1, 1], "counts": [True]},
    "runs of text": {"size": [3, 4], "counts": ["12"]},
    "runs beyond 64 bits": {"size": [3, 4], "counts": [2**70, -(2**70) + 12]},
    "runs in runs": {"size": [3, 4], "counts": [[12]]},
}


@pytest.mark.parametrize("counts", BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_bad_counts_are_refused(counts: bytes) -> None:
    with pytest.raises(MaskError) as caught:
        Rle.from_coco({"size": [3, 4], "counts": counts})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    measured = measure([GOOD, counts, None, GOOD], 3, 4)
    assert measured.valid.tolist() == [True, False, True, True]
    assert measured.areas.tolist() == [4, 0, 0, 4]


@pytest.mark.parametrize("obj", BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_bad_objects_are_refused(obj: Any) -> None:
    with pytest.raises(MaskError) as caught:
        Rle.from_coco(obj)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-3, 14), max_size=6).map(characters) | st.binary(max_size=12), st.binary(max_size=3))
def test_what_is_let_in_decodes_to_its_area(counts: bytes, tail: bytes) -> None:
    measured = measure([counts + tail], 3, 4)
    if not measured.valid[0]:
        with pytest.raises(MaskError):
            Rle.from_coco({"size": [3, 4], "counts": counts + tail})
        return
    decoded = masks.decode(Rle.from_coco({"size": [3, 4], "counts": counts + tail}))
    assert decoded.sum() == measured.areas[0]
    assert true_box(decoded) == measured.boxes[0].tolist()


def test_a_mask_cut_off_does_not_borrow_from_the_next() -> None:
    first, second = characters([3, 4, 5]), characters([40, 60])
    assert measure([first + second[:1], second[1:]], 3, 4).valid.tolist() == [False, False]


@pytest.mark.parametrize("shape", [(3,), (3, 4, 1), (0, 4)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MaskError):
        Rle.from_array(np.zeros(shape, bool))


def test_operations_refuse_other_sizes() -> None:
    a, b = masks.empty(3, 4), masks.empty(4, 3)
    for operation in (masks.iou, masks.intersection, lambda a, b: masks.union([a, b])):
        with pytest.raises(MaskError, match="different sizes"):
            operation(a, b)
    with pytest.raises(MaskError, match="at least one"):
        masks.union([])
    with pytest.raises(MaskError, match="0 x 3"):
        masks.resize(a, 0, 3)
    with pytest.raises(MaskError, match="-1 x 3"):
        measure([], -1, 3)


def test_masks_built_without_a_check_are_refused_when_used() -> None:
    bad = Rle(3, 4, characters([3, 4, 6]))
    for use in (
        masks.area,
        masks.box,
        masks.decode,
        lambda rle: masks.areas([rle]),
        lambda rle: masks.boxes([rle]),
        lambda rle: masks.iou(rle, rle),
        lambda rle: masks.union([rle, rle]),
        lambda rle: masks.intersection(rle, rle),
        lambda rle: masks.resize(rle, 6, 8),
    ):
        with pytest.raises(MaskError, match="add up"):
            use(bad)


def test_sa_v_masklet_measures_like_pycocotools(shared_data: Path) -> None:
    masklet = json.loads((shared_data / "sav" / "sav_000001_manual.json").read_text())["masklet"]
    entries = [entry for frame in masklet for entry in frame]
    assert len(entries) > 100
    assert_real(entries)


def test_mevis_masks_measure_like_pycocotools(shared_data: Path) -> None:
    mask_dict = json.loads((shared_data / "mevis" / "train" / "mask_dict.json").read_text())
    assert_real([entry for track in mask_dict.values() for entry in track if entry is not None])


def assert_real(entries: list[dict[str, Any]]) -> None:
    height, width = entries[0]["size"]
    measured = measure([entry["counts"].encode() for entry in entries], height, width)
    assert measured.valid.all()
    for i, entry in enumerate(entries):
        assert measured.areas[i] == coco.area(entry)
        assert measured.boxes[i].tolist() == coco.toBbox(entry).tolist()
        assert Rle.from_coco(entry).counts == entry["counts"].encode()


def test_a_real_mask_one_column_short_of_its_frame(shared_data: Path) -> None:
    """odd/judo: the frame is 854 wide, its mask 853."""
    with Image.open(shared_data / "odd" / "judo" / "mask_853x480.png") as image:
        labels = np.asarray(image)
    with Image.open(shared_data / "odd" / "judo" / "frame_854x480.jpg") as image:
        frame = image.size
    rle = Rle.from_array(labels > 0)
    assert (rle.width, rle.height) != frame
    with pytest.raises(MaskError, match=r"\(480, 853\) and \(480, 854\)"):
        masks.iou(rle, masks.empty(480, 854))
    resized = masks.resize(rle, frame[1], frame[0])
    expected = (labels > 0)[:, source_of(853, 854)]
    assert resized == Rle.from_array(expected)
