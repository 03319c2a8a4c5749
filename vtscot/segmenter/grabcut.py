"""GrabCut: a mask from a box and the pixels alone, without weights.

The box is cut out with a margin and shrunk, so that a call takes some tens of milliseconds at any frame size. What lies
outside the box is background; inside, colours that are rare around the box seed the object. Several such starts are
tried, and the mask that fills the box best and runs along the strongest edges is taken. Where GrabCut loses the object
(or there is no background to learn from), the box itself, less its corners, is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vtscot.records import Box
from vtscot.segmenter.base import Image, Mask, clip_box

LONG_SIDE: Final = 112  # of the shrunk crop, in pixels
MARGIN: Final = 0.3  # of the box's sides, seen around it
MIN_MARGIN: Final = 6  # pixels
ROUNDS: Final = 2
COLLAPSED: Final = 0.15  # of the box's area: a smaller mask is a failure, not an object
SPECK: Final = 0.12  # of the largest component's area: smaller ones are dropped
HOLE: Final = 0.03  # of the mask's area: smaller holes are filled

SMALLEST: Final = 4  # pixels; a thinner box is its own mask
BGD, FGD, PR_BGD, PR_FGD = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(3)  # OpenCV's labels

_Labels = NDArray[np.uint8]


class GrabCutSegmenter:
    """Back end `grabcut`."""

    name = "grabcut"

    def segment(self, image: Image, box: Box) -> Mask:
        """The mask (H, W) of what the box surrounds on `image` (H, W, 3)."""
        height, width = image.shape[:2]
        mask = np.zeros((height, width), dtype=bool)
        inner = clip_box(box, width, height)
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return mask
        x0, y0, x1, y1 = _widened(inner, width, height)
        local = (inner[0] - x0, inner[1] - y0, inner[2] - x0, inner[3] - y0)
        mask[y0:y1, x0:x1] = _segment_crop(np.ascontiguousarray(image[y0:y1, x0:x1]), local)
        return mask


def _widened(inner: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = inner
    dx, dy = (max(MIN_MARGIN, round(MARGIN * side)) for side in (x1 - x0, y1 - y0))
    return max(0, x0 - dx), max(0, y0 - dy), min(width, x1 + dx), min(height, y1 + dy)


def _segment_crop(crop: Image, inner: tuple[int, int, int, int]) -> Mask:
    """The mask of a crop; `inner` is the box in its pixels, half-open and inside it."""
    import cv2

    height, width = crop.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    small: Image = crop
    if scale < 1:
        small = np.asarray(cv2.resize(crop, (w, h), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    x0, y0 = min(w - 1, round(inner[0] * w / width)), min(h - 1, round(inner[1] * h / height))
    x1, y1 = max(x0 + 1, round(inner[2] * w / width)), max(y0 + 1, round(inner[3] * h / height))
    found = _cut(small, (x0, y0, x1, y1))
    if scale < 1:
        found = np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    mask: Mask = found > 127
    kept = np.zeros_like(mask)
    kept[inner[1] : inner[3], inner[0] : inner[2]] = mask[inner[1] : inner[3], inner[0] : inner[2]]
    return kept


def _cut(small: Image, inner: tuple[int, int, int, int]) -> _Labels:
    """0 or 255 per pixel of the shrunk crop: of several starts, the result that fills the box and follows edges."""
    import cv2

    plain = _prior(small.shape[0], small.shape[1], inner)
    best = plain == PR_FGD
    if min(inner[2] - inner[0], inner[3] - inner[1]) >= SMALLEST and (plain == BGD).any():
        score = 0.0
        lab: Image = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), dtype=np.uint8)
        for labels in _starts(lab, plain, inner):
            found = tidy(_rounds(small, labels) & (plain != BGD))
            fit = tightness(found, inner) ** 3 * edge_strength(lab, found)
            if fit > score:
                best, score = found, fit
    return np.where(best, np.uint8(255), np.uint8(0))


def _prior(height: int, width: int, inner: tuple[int, int, int, int]) -> _Labels:
    """Labels to start from: background around the box, the object in its rounded middle."""
    x0, y0, x1, y1 = inner
    labels = np.full((height, width), BGD, dtype=np.uint8)
    x = (np.arange(x0, x1) + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
    y = (np.arange(y0, y1) + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
    middle = np.abs(x[None, :]) ** 3 + np.abs(y[:, None]) ** 3 <= 1
    labels[y0:y1, x0:x1] = np.where(middle, PR_FGD, PR_BGD)
    return labels


def _starts(lab: Image, plain: _Labels, inner: tuple[int, int, int, int]) -> Iterator[_Labels]:
    """`plain` with seeds: colours common around the box are probably background, those rare there the object."""
    x0, y0, x1, y1 = inner
    within = np.zeros(lab.shape[:2], dtype=np.uint8)
    within[y0:y1, x0:x1] = 255
    inside, around, sided = _histogram(lab, within), _histogram(lab, 255 - within), _side_histogram(lab, inner)
    for outside, share, sure in ((around, 0.3, 0.6), (around, 0.5, 0.7), (sided, 0.4, 0.7)):
        rarity = _rarity(lab, 1 - share * outside / np.maximum(inside, 1e-6))[y0:y1, x0:x1]
        labels = plain.copy()
        box = labels[y0:y1, x0:x1]
        middle = box == PR_FGD
        box[rarity < 0.5] = PR_BGD
        box[middle & (rarity >= max(sure, float(np.percentile(rarity, 60))))] = FGD
        if (box == FGD).any():
            yield labels


def rare_colours(lab: Image, inner: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Per pixel (H, W) of an OpenCV Lab image, 0..1: how rare its colour is outside the box `inner` (half-open)."""
    x0, y0, x1, y1 = inner
    within = np.zeros(lab.shape[:2], dtype=np.uint8)
    within[y0:y1, x0:x1] = 255
    inside, around = _histogram(lab, within), _histogram(lab, 255 - within)
    return _rarity(lab, 1 - 0.5 * around / np.maximum(inside, 1e-6))


def _rarity(lab: Image, table: NDArray[np.float64]) -> NDArray[np.float32]:
    """Per pixel (H, W), smoothed: how little its colour belongs to the surroundings, 0..1."""
    import cv2

    bins = (lab[..., 0] // 16).astype(np.intp), (lab[..., 1] // 8).astype(np.intp), (lab[..., 2] // 8).astype(np.intp)
    return np.asarray(cv2.GaussianBlur(np.clip(table, 0, 1)[bins].astype(np.float32), (5, 5), 0))


def _side_histogram(lab: Image, inner: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """Colour shares of the side (above, below, left, right of the box) on which each colour is most common."""
    x0, y0, x1, y1 = inner
    sides = []
    for side in (np.s_[:y0], np.s_[y1:], np.s_[:, :x0], np.s_[:, x1:]):
        where = np.zeros(lab.shape[:2], dtype=np.uint8)
        where[side] = 255
        if np.count_nonzero(where) > 50:
            sides.append(_histogram(lab, where))
    return np.asarray(np.max(sides, axis=0)) if sides else np.zeros((16, 32, 32))


def edge_strength(lab: Image, mask: Mask) -> float:
    """Mean colour step across the mask's border, relative to the mean over the image; 0 without a border."""
    colours = lab.astype(np.float32)
    across = np.abs(np.diff(colours, axis=1)).sum(axis=2), np.abs(np.diff(colours, axis=0)).sum(axis=2)
    border = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    steps = np.concatenate([step[at] for step, at in zip(across, border, strict=True)])
    mean = np.concatenate([step.ravel() for step in across]).mean()
    return float(steps.mean() / (mean + 1)) if len(steps) else 0.0


def _histogram(lab: Image, where: _Labels) -> NDArray[np.float64]:
    """Smoothed colour shares (16, 32, 32) of the pixels where `where` is not 0."""
    import cv2

    counts = cv2.calcHist([lab], [0, 1, 2], where, [16, 32, 32], [0, 256, 0, 256, 0, 256])
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    return np.asarray(counts / max(1.0, counts.sum()), dtype=np.float64)


def tightness(mask: Mask, inner: tuple[int, int, int, int]) -> float:
    """IoU of the mask's own box with the box asked for; 0 for a mask that collapsed."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, y0, x1, y1 = inner
    area = (x1 - x0) * (y1 - y0)
    if mask.sum() < COLLAPSED * area:
        return 0.0
    u0, v0, u1, v1 = max(x0, xs[0]), max(y0, ys[0]), min(x1, xs[-1] + 1), min(y1, ys[-1] + 1)
    both = max(0, u1 - u0) * max(0, v1 - v0)
    return float(both / (area + (xs[-1] + 1 - xs[0]) * (ys[-1] + 1 - ys[0]) - both))


def _rounds(small: Image, prior: _Labels) -> Mask:
    """GrabCut with its own random state set, so that every call is the same."""
    import cv2

    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    labels = prior.copy()
    try:
        cv2.grabCut(small, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # too few distinct pixels for its colour models
        return np.asarray((prior == FGD) | (prior == PR_FGD))
    return np.asarray((labels == FGD) | (labels == PR_FGD))


def tidy(mask: Mask) -> Mask:
    """`mask` without specks and without small holes."""
    import cv2

    kept = mask.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count > 2:
        areas = stats[1:, cv2.CC_STAT_AREA]
        large = np.flatnonzero(areas >= SPECK * areas.max()) + 1
        kept = np.isin(labels, large)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < HOLE * kept.sum())
    small = small[small > 0]
    return np.asarray(kept | np.isin(labels, small)) if len(small) else kept
