"""Edges with a direction: how well the boundary of a mask lies on the edges of an image, at every small shift at once.

An edge is (strength, strength * cos 2a, strength * sin 2a), where a is the direction across it: doubled angles make a
bright-to-dark edge and a dark-to-bright one the same. Then the correlation of a boundary with the edges of an image
is the sum of strength * (1 + cos 2(a - b)): high where edges are under the boundary and run along it. What the
correlation is at all other shifts of the same mask on the same image is the baseline: texture raises it as well, so a
score is in standard deviations above that baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Field: TypeAlias = npt.NDArray[np.float32]

_FAINT: Final = 2.0  # of 255 levels per pixel: edges weaker than that are noise of the coding
_BOUNDARY: Final = 0.02  # strength from which a pixel of a mask belongs to its boundary
_INSIDE: Final = 0.6  # share of a boundary that must lie in the frame for a shift to be scored
_MIN_BOUNDARY: Final = 24  # pixels: the outline of a shorter one fits nearly anything


@dataclass(frozen=True, slots=True)
class Outline:
    """The boundary of a mask: oriented edges (h, w, 3) of its surroundings, whose corner is at (x, y)."""

    edges: Field
    x: int
    y: int


def image_edges(image: Field) -> Field:
    """Oriented edges (H, W, 3) of an image (H, W, C); strengths are compressed to 0..1 around the image's own mean."""
    edges = _oriented(image)
    strength = edges[..., :1].copy()
    edges /= strength + strength.mean() + np.float32(_FAINT)
    return edges


def outline(mask: Field) -> Outline | None:
    """The boundary of a mask (H, W) of values 0..1, without what runs along the frame; None where it is too short."""
    edges = _oriented(mask[..., None])
    seen = edges[..., 0] > _BOUNDARY
    if np.count_nonzero(seen) < _MIN_BOUNDARY:
        return None
    edges[~seen] = 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return Outline(np.ascontiguousarray(edges[top : rows[-1] + 1, left : columns[-1] + 1]), left, top)


def _oriented(image: Field) -> Field:
    import cv2

    smooth = cv2.GaussianBlur(image, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REPLICATE).reshape(image.shape)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REPLICATE).reshape(image.shape)
    pairs = ((across, across), (down, down), (across, down))
    xx, yy, xy = (np.einsum("hwc,hwc->hw", a, b) for a, b in pairs)  # .sum(axis=2) takes three times as long
    strength = np.sqrt(xx + yy)
    safe = strength + np.float32(1e-6)
    return np.dstack((strength, (xx - yy) / safe, 2 * xy / safe)).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class FitMap:
    """Scores (2 * reach + 1, 2 * reach + 1) of a boundary shifted by (row - reach, column - reach) pixels.

    A score is in standard deviations above the mean of the map; `mean` and `spread` are those of the plain fits.
    -inf stands where too much of the boundary would leave the image.
    """

    scores: Field
    mean: float
    spread: float

    @property
    def reach(self) -> int:
        return len(self.scores) // 2

    @property
    def peak(self) -> tuple[float, int, int]:
        """(score, dx, dy) of the shift that fits best."""
        row, column = np.unravel_index(int(self.scores.argmax()), self.scores.shape)
        return float(self.scores[row, column]), int(column) - self.reach, int(row) - self.reach

    def near(self, dx: float, dy: float, tolerance: int) -> float:
        """The best score at most `tolerance` pixels from a shift; -inf outside the map."""
        row, column = round(dy) + self.reach, round(dx) + self.reach
        rows, columns = (slice(max(0, at - tolerance), max(0, at + tolerance + 1)) for at in (row, column))
        return float(self.scores[rows, columns].max(initial=-np.inf))


def fit_map(boundary: Outline, edges: Field, reach: int) -> FitMap:
    """How well a boundary fits at all shifts. `edges` (H + 2 * reach, W + 2 * reach, 3) have zeros around the image."""
    fits = _fits(boundary, edges, reach)
    known = fits[np.isfinite(fits)]
    mean, spread = float(known.mean()), max(float(known.std()), 1e-6)
    return FitMap(((fits - mean) / spread).astype(np.float32), mean, spread)


def fit_here(boundary: Outline, edges: Field, reach: int, own: FitMap, tolerance: int) -> float:
    """The best score of a boundary at most `tolerance` pixels from its place on the edges of another frame.

    The baseline is that of its own frame; `edges` are padded by `reach` as for `fit_map`.
    """
    trim = slice(reach - tolerance, tolerance - reach or None)
    return float((_fits(boundary, edges[trim, trim], tolerance).max() - own.mean) / own.spread)


def _fits(boundary: Outline, edges: Field, reach: int) -> Field:
    """Mean agreement of boundary and edges per shift."""
    import cv2

    height, width = boundary.edges.shape[:2]
    rows = slice(boundary.y, boundary.y + height + 2 * reach)
    columns = slice(boundary.x, boundary.x + width + 2 * reach)
    hits = cv2.matchTemplate(np.ascontiguousarray(edges[rows, columns]), boundary.edges, cv2.TM_CCORR)
    inside = _inside(boundary, edges.shape[:2], reach)
    fits = hits / (np.maximum(inside, _INSIDE) * boundary.edges[..., 0].sum())
    return np.where(inside > _INSIDE, fits, -np.inf).astype(np.float32)


def change_along(boundary: Outline, change: Field, dx: float, dy: float) -> float:
    """Mean of `change` (H, W) along a boundary shifted by (dx, dy), as far as it lies in the image."""
    height, width = boundary.edges.shape[:2]
    left, top = boundary.x + round(dx), boundary.y + round(dy)
    part = change[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    rows, columns = (slice(max(0, -at), max(0, -at) + size) for at, size in zip((top, left), part.shape, strict=True))
    weights = boundary.edges[rows, columns, 0]
    return float((part * weights).sum() / max(weights.sum(), 1e-6))


def _inside(boundary: Outline, padded: tuple[int, ...], reach: int) -> Field:
    """Share of the boundary's strength that lies in the image, per shift: from a summed-area table of its strength."""
    height, width = boundary.edges.shape[:2]
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = boundary.edges[..., 0].cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    shifts = np.arange(-reach, reach + 1)
    top = np.clip(-(boundary.y + shifts), 0, height)
    bottom = np.clip(padded[0] - 2 * reach - (boundary.y + shifts), 0, height)
    left = np.clip(-(boundary.x + shifts), 0, width)
    right = np.clip(padded[1] - 2 * reach - (boundary.x + shifts), 0, width)
    sums = table[bottom][:, right] - table[top][:, right] - table[bottom][:, left] + table[top][:, left]
    return np.asarray(sums / max(table[-1, -1], 1e-9), dtype=np.float32)
