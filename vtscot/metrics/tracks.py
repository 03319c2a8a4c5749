"""Metrics per frame over a whole track, and the temporal ones of Long-RVOS.

One frame is held in memory at a time, whatever the length. A frame without a mask counts as an empty mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rlemasklib import RLEMask

from vtscot.errors import MaskError
from vtscot.masks import Bools, Floats
from vtscot.metrics.backend import Backend
from vtscot.metrics.frame import score
from vtscot.metrics.inputs import load
from vtscot.metrics.region import overlap
from vtscot.tracks import MaskTrack


class TrackScores(NamedTuple):
    """J (T,) and F (T,) of each frame, float64 in 0 .. 1."""

    J: Floats
    F: Floats


def track_scores(ground_truth: MaskTrack, prediction: MaskTrack, *, backend: Backend | None = None) -> TrackScores:
    """J and F of every frame; MaskError for tracks of different sizes or lengths."""
    result = np.empty((len(ground_truth), 2), np.float64)
    for i, masks in enumerate(_frames(ground_truth=ground_truth, prediction=prediction)):
        result[i] = score(*masks, backend=backend)
    return TrackScores(*result.T.copy())


def track_accuracy(ground_truth: MaskTrack, prediction: MaskTrack) -> Floats:
    """A of ReVOS for every frame (T,); MaskError for tracks of different sizes or lengths."""
    frames = _frames(ground_truth=ground_truth, prediction=prediction)
    return np.fromiter((overlap(*masks).accuracy for masks in frames), np.float64, len(ground_truth))


def track_robustness(ground_truth: MaskTrack, prediction: MaskTrack, foreground: MaskTrack) -> Floats:
    """R of ReVOS for every frame (T,); `foreground` is the union of all annotated objects of the video."""
    frames = _frames(ground_truth=ground_truth, prediction=prediction, foreground=foreground)
    values = (overlap(*masks[:2]).robustness(int(masks[2].area())) for masks in frames)
    return np.fromiter(values, np.float64, len(ground_truth))


def t_iou(ground_truth_visible: Bools, prediction_visible: Bools) -> float:
    """tIoU of Long-RVOS: frames with foreground, intersection over union of both (T,) flags; 1 if neither has any."""
    either = int(np.count_nonzero(ground_truth_visible | prediction_visible))
    return int(np.count_nonzero(ground_truth_visible & prediction_visible)) / either if either else 1.0


def v_iou(region: Floats, ground_truth_visible: Bools, prediction_visible: Bools) -> float:
    """vIoU of Long-RVOS: J (T,) summed where both are visible, over the frames where either is; 1 if none is."""
    either = int(np.count_nonzero(ground_truth_visible | prediction_visible))
    return float(region[ground_truth_visible & prediction_visible].sum()) / either if either else 1.0


def _frames(**tracks: MaskTrack) -> Iterator[list[RLEMask]]:
    """The masks of each frame, in the order of the tracks, which have one size and one length."""
    height, width, _ = _same_shape(tracks)
    for i, counts in enumerate(zip(*(track.masks for track in tracks.values()), strict=True)):
        try:
            yield [load((height, width), raw) for raw in counts]
        except MaskError as error:
            raise MaskError(f"frame {i}: {error}") from error


def _same_shape(tracks: dict[str, MaskTrack]) -> tuple[int, int, int]:
    shapes = {name.replace("_", " "): (track.height, track.width, len(track)) for name, track in tracks.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise MaskError(f"tracks of different shapes (height, width, frames): {told}")
    return next(iter(shapes.values()))
