"""F of one frame: how well the boundaries of two masks match, as in the evaluation code of DAVIS 2017.

A pixel is on the boundary if it differs from the one below, to the right, or below and to the right; in the last row
only the one to the right counts, in the last column only the one below. A boundary pixel matches if one of the other
mask's lies within `bound_pix` of it. An empty mask and a full one alike have no boundary, so F(full, empty) = 1.
"""

from __future__ import annotations

from rlemasklib import RLEMask

from vtscot.metrics.backend import Backend, matcher
from vtscot.metrics.disk import bound_pix
from vtscot.metrics.inputs import Mask, load_same
from vtscot.metrics.region import Overlap, overlap


def boundary_f(ground_truth: Mask, prediction: Mask, *, backend: Backend | None = None) -> float:
    """F of one frame: the harmonic mean of the shares of boundary pixels that match; 1 where neither has a boundary.

    >>> import numpy as np
    >>> a, b = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    >>> a[10:20, 10:20] = b[12:22, 11:21] = True
    >>> round(boundary_f(a, b), 9)
    0.525
    """
    masks = load_same(ground_truth=ground_truth, prediction=prediction)
    return contour_match(*masks, areas=overlap(*masks), backend=backend)


def contour_match(ground_truth: RLEMask, prediction: RLEMask, *, areas: Overlap, backend: Backend | None) -> float:
    """F of two masks of one size, whose `areas` are known."""
    if areas.shared == areas.ground_truth == areas.prediction:
        return 1.0
    constant = sum(area in (0, areas.frame) for area in (areas.ground_truth, areas.prediction))
    if constant:
        return float(constant == 2)
    radius = bound_pix(*ground_truth.shape)
    total_gt, total_pred, hit_gt, hit_pred = matcher(backend)(ground_truth, prediction, radius)
    precision, recall = hit_pred / total_pred, hit_gt / total_gt
    return 2 * precision * recall / (precision + recall) if hit_gt else 0.0
