"""Oracle for vtscot.metrics: the formulas of J, F, A, R, tIoU and vIoU on decoded masks, plain and slow.

Nothing here is shared with the package. A mask is a boolean (H, W) array.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def jaccard(ground_truth: Mask, prediction: Mask) -> float:
    union = (ground_truth | prediction).sum()
    return float((ground_truth & prediction).sum() / union) if union else 1.0


def boundary(mask: Mask) -> Mask:
    east, south, south_east = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1] = mask[:, 1:]
    south[:-1] = mask[1:]
    south_east[:-1, :-1] = mask[1:, 1:]
    edges = (mask ^ east) | (mask ^ south) | (mask ^ south_east)
    edges[-1] = mask[-1] ^ east[-1]
    edges[:, -1] = mask[:, -1] ^ south[:, -1]
    edges[-1, -1] = False
    return edges


def dilate(mask: Mask, radius: int) -> Mask:
    """The union of the mask moved to every offset of the disk."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    near = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy <= radius * radius:
                near |= padded[radius + dy : radius + dy + height, radius + dx : radius + dx + width]
    return near


def matches(ground_truth: Mask, prediction: Mask, radius: int) -> tuple[int, int, int, int]:
    """Boundary pixels of each, and those of each that lie near the other's."""
    edges_gt, edges_pred = boundary(ground_truth), boundary(prediction)
    hit_gt, hit_pred = edges_gt & dilate(edges_pred, radius), edges_pred & dilate(edges_gt, radius)
    return int(edges_gt.sum()), int(edges_pred.sum()), int(hit_gt.sum()), int(hit_pred.sum())


def boundary_f(ground_truth: Mask, prediction: Mask) -> float:
    height, width = ground_truth.shape
    radius = math.ceil(0.008 * math.sqrt(height**2 + width**2))
    total_gt, total_pred, hit_gt, hit_pred = matches(ground_truth, prediction, radius)
    if total_gt == 0 or total_pred == 0:
        return float(total_gt == total_pred)
    precision, recall = hit_pred / total_pred, hit_gt / total_gt
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def accuracy(ground_truth: Mask, prediction: Mask) -> float:
    return float((ground_truth == prediction).mean())


def robustness(ground_truth: Mask, prediction: Mask, foreground: Mask) -> float:
    return max(float(1 - (~ground_truth & prediction).sum() / (foreground.sum() + 1e-6)), 0.0)


# Random pairs -------------------------------------------------------------------------------------------------------

WORD_EDGES = (62, 63, 64, 65, 127, 128, 129)


def sides(rng: np.random.Generator) -> tuple[int, int]:
    """(height, width): a line, a tiny frame, one at the edge of a machine word, or any up to 130 x 170."""
    kind = int(rng.integers(6))
    if kind == 0:
        line = (1, int(rng.choice([1, 2, 3, 64, 65, 1000])))
        return line if rng.random() < 0.5 else line[::-1]
    if kind == 1:
        return int(rng.integers(1, 6)), int(rng.integers(1, 6))
    if kind == 2:
        return int(rng.choice(WORD_EDGES)), int(rng.integers(1, 80))
    return int(rng.integers(2, 131)), int(rng.integers(2, 171))


def shape(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Empty, full, all but one pixel, one pixel, a rectangle, a bar from side to side, a disk, noise or a corner."""
    y, x = np.mgrid[:height, :width]
    cy, cx = int(rng.integers(height)), int(rng.integers(width))
    far_y, far_x = int(rng.integers(height)), int(rng.integers(width))
    in_rows = (min(cy, far_y) <= y) & (y <= max(cy, far_y))
    in_columns = (min(cx, far_x) <= x) & (x <= max(cx, far_x))
    one = (y == cy) & (x == cx)
    corner = (y == height - 1) & (x == width - 1)
    disk = np.hypot(y - cy, x - cx) <= rng.random() * max(height, width)
    noise = rng.random((height, width)) < rng.choice([0.01, 0.1, 0.5, 0.95])
    choices = (
        np.zeros_like(one),
        np.ones_like(one),
        ~one,
        one,
        in_rows & in_columns,
        in_rows,
        in_columns,
        disk,
        noise,
        corner,
    )
    chosen: Mask = choices[int(rng.choice(10, p=[0.04, 0.04, 0.04, 0.1, 0.18, 0.1, 0.1, 0.24, 0.13, 0.03]))]
    return chosen


def pair(rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Two masks of one size: unrelated, or the second the first one moved, or with some pixels flipped."""
    height, width = sides(rng)
    first = shape(rng, height, width)
    relation = rng.random()
    if relation < 0.4:
        return first, shape(rng, height, width)
    if relation < 0.8:
        step = (int(rng.integers(-3, 4)), int(rng.integers(-3, 4)))
        return first, np.roll(first, step, (0, 1))
    return first, first ^ (rng.random((height, width)) < 0.02)
