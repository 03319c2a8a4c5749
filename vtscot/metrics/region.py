"""Metrics of one frame that only need areas: J, and A and R of ReVOS. All of them come from the runs."""

from __future__ import annotations

from typing import NamedTuple

from rlemasklib import RLEMask

from vtscot.metrics.inputs import Mask, load_same


class Overlap(NamedTuple):
    """Areas in pixels of the ground truth, of the prediction, of what they share, and of the frame."""

    ground_truth: int
    prediction: int
    shared: int
    frame: int

    @property
    def jaccard(self) -> float:
        """J: intersection over union, 1 where both are empty."""
        union = self.ground_truth + self.prediction - self.shared
        return self.shared / union if union else 1.0

    @property
    def accuracy(self) -> float:
        """A: share of the frame's pixels that are equal."""
        return (self.frame - self.ground_truth - self.prediction + 2 * self.shared) / self.frame

    def robustness(self, foreground: int) -> float:
        """R: 1 less the wrongly predicted area in units of the `foreground` area, at least 0."""
        return max(1 - (self.prediction - self.shared) / (foreground + 1e-6), 0.0)


def overlap(ground_truth: RLEMask, prediction: RLEMask) -> Overlap:
    """Areas of two masks of one size."""
    height, width = ground_truth.shape
    shared = (ground_truth & prediction).area()
    return Overlap(int(ground_truth.area()), int(prediction.area()), int(shared), height * width)


def region_similarity(ground_truth: Mask, prediction: Mask) -> float:
    """J of one frame: intersection over union, 1 where both masks are empty.

    >>> import numpy as np
    >>> left, all_of_it = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    >>> left[:, :2] = True
    >>> region_similarity(left, all_of_it)
    0.5
    """
    return overlap(*load_same(ground_truth=ground_truth, prediction=prediction)).jaccard


def accuracy(ground_truth: Mask, prediction: Mask) -> float:
    """A of ReVOS for one frame: the share of pixels that are equal in both masks."""
    return overlap(*load_same(ground_truth=ground_truth, prediction=prediction)).accuracy


def robustness(ground_truth: Mask, prediction: Mask, foreground: Mask) -> float:
    """R of ReVOS for one frame: max(1 - |prediction and not ground truth| / (|foreground| + 1e-6), 0).

    `foreground` is the union of all annotated objects of the frame.
    """
    masks = load_same(ground_truth=ground_truth, prediction=prediction, foreground=foreground)
    return overlap(*masks[:2]).robustness(int(masks[2].area()))
