"""Baselines: the best constants are the best, and the largest object's box is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtscot.evaluation.baselines import (
    POSITIONS,
    Known,
    baselines,
    best_keyframe,
    best_window,
    frame_at,
    largest_box,
    largest_box_ious,
    middle,
)
from vtscot.evaluation.episodes import window_iou
from vtscot.masks import Bools, Rle, decode
from vtscot.records import Selection
from vtscot.tracks import MaskTrack


def seen(start: int, end: int, frames: int) -> Bools:
    """(T,) True from `start` to `end`, inclusive."""
    return (np.arange(frames) >= start) & (np.arange(frames) <= end)


def square(x: int, side: int, visible: Bools, size: int = 20) -> MaskTrack:
    """A square of `side` pixels with its corner at (x, 2), on the visible frames."""
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[2 : 2 + side, x : x + side] = True
    counts = Rle.from_array(mask).counts
    return MaskTrack(size, size, tuple(counts if there else None for there in visible))


def test_positions_span_the_video() -> None:
    assert [frame_at(share, 11) for share in (0.0, 0.5, 1.0)] == [0, 5, 10]
    assert frame_at(0.7, 1) == 0


def test_the_best_keyframe_is_where_most_targets_are_seen() -> None:
    found = best_keyframe([seen(0, 4, 11), seen(3, 6, 11), seen(9, 10, 11)])
    assert found is not None
    assert 0.25 <= found.shares[0] <= 0.45
    assert found.scores == (1.0, 1.0, 0.0)
    assert best_keyframe([]) is None


def test_the_best_window_fits_the_targets() -> None:
    found = best_window([seen(10, 20, 41)] * 2)
    assert found is not None
    assert found.shares == (0.25, 0.5)
    assert found.scores == (1.0, 1.0)
    assert best_window([]) is None


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 59), st.integers(0, 59)), min_size=1, max_size=5))
def test_no_other_constant_does_better(spans: list[tuple[int, int, int]]) -> None:
    visible = [seen(min(a, b, t - 1), min(max(a, b), t - 1), t) for t, a, b in spans]
    window, keyframe = best_window(visible), best_keyframe(visible)
    assert window is not None
    assert keyframe is not None
    for start, end in ((0.0, 1.0), (0.25, 0.75), (0.5, 0.5), window.shares):
        ious = [
            window_iou(
                Selection(start=frame_at(start, len(v)), end=frame_at(end, len(v)), keyframe=frame_at(end, len(v))), v
            )
            for v in visible
        ]
        assert np.mean(window.scores) >= np.mean(ious) - 1e-9
        assert (start, end) != window.shares or ious == pytest.approx(window.scores)
    for share in np.linspace(0, 1, POSITIONS):
        assert sum(keyframe.scores) >= sum(v[frame_at(float(share), len(v))] for v in visible)


def test_the_largest_box_is_of_the_largest_object_on_that_frame() -> None:
    always, first = seen(0, 3, 4), seen(0, 1, 4)
    small, large = square(1, 3, always), square(10, 6, first)
    box = largest_box((small, large), 0)
    assert box is not None
    assert decode(box).sum() == 36
    box = largest_box((small, large), 3)  # the large one has gone
    assert box is not None
    assert decode(box).sum() == 9
    assert largest_box((large,), 3) is None
    assert largest_box((), 0) is None


def test_the_box_is_scored_as_a_mask_is() -> None:
    always, first = seen(0, 3, 4), seen(0, 1, 4)
    small, large = square(1, 3, always), square(10, 6, first)
    known = [
        Known("hit", large, (small, large), 4),
        Known("miss", small, (small, large), 4),
        Known("none", None, (small, large), 4),
    ]
    assert largest_box_ious(known, middle) == [1.0, 0.0, None]
    # On the last frame the large one is gone, but a box is drawn there; where nothing is left, two empty masks agree.
    assert largest_box_ious(known, lambda query: 3) == [0.0, 1.0, None]
    assert largest_box_ious([Known("gone", large, (large,), 4)], lambda query: 3) == [1.0]


def test_all_baselines_in_one_table() -> None:
    always, short = seen(0, 9, 10), seen(6, 8, 10)
    small, large = square(1, 3, short), square(10, 6, always)
    objects = (small, large)
    known = [Known("a", small, objects, 10), Known("b", large, objects, 10), Known("c", None, objects, 10)]
    table = baselines(known, {"a": 7, "b": 0})
    assert table["keyframe_hit"]["n"] == 2
    assert table["keyframe_hit"]["mean"] == 1.0
    assert table["keyframe_hit_short_lived"] == {
        "shares": [table["keyframe_hit"]["shares"][0]],
        "mean": 1.0,
        "se": None,
        "n": 1,
    }
    assert table["window_iou_short_lived"]["mean"] == 1.0
    assert table["window_iou"]["mean"] == pytest.approx((1.0 + 0.3) / 2)
    assert table["largest_box"]["middle"] == {"mean": 0.5, "se": 0.5, "n": 2}
    assert table["largest_box"]["decoded"]["mean"] == 0.5
    assert table["largest_box"]["decoded_visible"]["n"] == 2
    assert table["largest_box"]["middle_visible"] == {"mean": 1.0, "se": None, "n": 1}
    assert table["absent_empty"]["always_present"]["mean"] == 0.0
    assert table["absent_empty"]["always_absent"] == {"mean": 1.0, "se": None, "n": 1}
    assert table["decoded_iou"]["always_absent"]["mean"] == 0.5
    assert "decoded" not in baselines(known)["largest_box"]


def test_a_set_without_targets_has_no_constants() -> None:
    table = baselines([Known("c", None, (), 5)])
    assert table["keyframe_hit"] == {"shares": [], "mean": None, "se": None, "n": 0}
    assert table["absent_empty"]["always_absent"]["mean"] == 1.0
