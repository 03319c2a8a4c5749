"""Boxes to masks: quality from the ground-truth box, and boxes that are no real boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtscot.errors import UsageError
from vtscot.index import build_index
from vtscot.pieces import box_of, fitted, pieces, split
from vtscot.records import Box
from vtscot.segmenter import WEIGHTLESS, open_segmenter
from vtscot.segmenter.base import Image, Mask, clip_box
from vtscot.segmenter.grabcut import tidy
from vtscot.sources.registry import open_source
from vtscot.verify.grading import iou_of


def scene() -> tuple[Image, Mask]:
    """A red disk on a noisy green ground, 120 x 160."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :160]
    disk = (x - 70) ** 2 + (y - 55) ** 2 < 30**2
    image = np.where(disk[..., None], (190, 40, 40), (60, 120, 70)) + rng.integers(-20, 20, (120, 160, 3))
    return np.clip(image, 0, 255).astype(np.uint8), disk


def test_grabcut_finds_what_the_box_surrounds() -> None:
    image, disk = scene()
    found = open_segmenter("grabcut").segment(image, box_of(disk))
    assert iou_of(found, disk) > 0.95


def test_box_fills_the_box() -> None:
    image, _ = scene()
    found = open_segmenter("box").segment(image, (10.0, 20.0, 30.0, 40.0))
    assert box_of(found) == (10.0, 20.0, 30.0, 40.0)
    assert found.sum() == 30 * 40


@pytest.mark.parametrize("name", WEIGHTLESS)
@pytest.mark.parametrize(
    ("box", "empty"),
    [
        pytest.param((5.0, 5.0, 1.0, 1.0), False, id="one pixel"),
        pytest.param((5.0, 5.0, 0.0, 0.0), False, id="no size"),
        pytest.param((50.0, 10.0, 2.0, 90.0), False, id="a sliver"),
        pytest.param((0.0, 0.0, 160.0, 120.0), False, id="the whole frame"),
        pytest.param((-50.0, -50.0, 400.0, 400.0), False, id="larger than the frame"),
        pytest.param((150.0, 110.0, 50.0, 50.0), False, id="partly outside"),
        pytest.param((500.0, 500.0, 10.0, 10.0), True, id="outside"),
        pytest.param((-30.0, 10.0, 20.0, 20.0), True, id="left of the frame"),
        pytest.param((1e300, 0.0, 10.0, 10.0), True, id="absurd"),
    ],
)
def test_degenerate_boxes_give_a_mask(name: str, box: Box, empty: bool) -> None:
    image, _ = scene()
    found = open_segmenter(name).segment(image, box)
    assert found.shape == (120, 160)
    assert found.dtype == bool
    assert found.any() != empty


def test_grabcut_on_a_flat_image_falls_back_to_the_box() -> None:
    found = open_segmenter("grabcut").segment(np.full((60, 60, 3), 90, dtype=np.uint8), (20.0, 20.0, 20.0, 20.0))
    assert 250 <= found.sum() <= 400


def test_grabcut_is_the_same_in_any_order() -> None:
    image, disk = scene()
    segmenter = open_segmenter("grabcut")
    first = segmenter.segment(image, box_of(disk))
    segmenter.segment(image[::-1].copy(), (10.0, 10.0, 60.0, 70.0))
    assert np.array_equal(first, segmenter.segment(image, box_of(disk)))


def test_a_mask_stays_inside_its_box() -> None:
    image, _ = scene()
    found = open_segmenter("grabcut").segment(image, (60.0, 40.0, 30.0, 20.0))
    x, y, w, h = box_of(found)
    assert x >= 60
    assert y >= 40
    assert x + w <= 90
    assert y + h <= 60


def test_grabcut_beats_the_box_on_the_demo(demo_root: Path, tmp_path: Path) -> None:
    source = open_source("demo", demo_root, "train")
    index = build_index(source, tmp_path)
    name, video = next(iter(index.videos.items()))
    image, frame = source.frames(video).array(10), 10
    truths = [index.track(one).decode(frame) for one in index.objects(name) if index.table(one).area[frame] > 100]
    ious = {
        back_end: [iou_of(open_segmenter(back_end).segment(image, box_of(truth)), truth) for truth in truths]
        for back_end in WEIGHTLESS
    }
    assert np.mean(ious["grabcut"]) > 0.85
    assert np.mean(ious["grabcut"]) > np.mean(ious["box"]) + 0.1


def test_unknown_segmenters_are_named() -> None:
    with pytest.raises(UsageError, match="box, grabcut"):
        open_segmenter("sam9")


def test_clip_box_keeps_a_pixel_of_what_is_inside() -> None:
    assert clip_box((3.2, 4.0, 0.1, 0.0), 10, 10) == (3, 4, 4, 5)
    assert clip_box((-2.0, 1.5, 5.0, 2.0), 10, 10) == (0, 1, 3, 4)


def test_tidy_drops_specks_and_fills_small_holes() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:35, 5:25] = True
    mask[20, 15] = False
    mask[2, 38] = True
    tidied = tidy(mask)
    assert tidied[20, 15]
    assert not tidied[2, 38]


def test_masks_come_apart_by_nearness() -> None:
    mask = np.zeros((20, 60), dtype=bool)
    mask[2:12, 2:12] = True
    mask[2:12, 40:55] = True
    mask[14:16, 5:7] = True
    assert len(pieces(mask)) == 3
    left, right = sorted(split(mask, 2), key=box_of)
    assert box_of(left) == (2.0, 2.0, 10.0, 14.0)
    assert box_of(right) == (40.0, 2.0, 15.0, 10.0)
    assert split(np.zeros((3, 3), dtype=bool), 1) == []
    assert fitted(mask, 10, 30).sum() == pytest.approx(mask.sum() / 4, rel=0.1)
