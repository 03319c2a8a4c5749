"""Scores of video segmentation, equal to those of the official evaluators, from RLE and without decoding frames.

    from vtscot.metrics import j_and_f, track_scores

    j_and_f(ground_truth, prediction)        # (J, F) of one frame
    track_scores(ground_truth, prediction)   # J (T,) and F (T,) of two MaskTracks

A mask of a frame is a COCO RLE dict, an `Rle`, a boolean (H, W) array, or None for an empty one. Masks of different
sizes are a MaskError: nothing is resized. All values are 0 .. 1 and not rounded; averaging and rounding are those of
each benchmark and not done here. With numba installed (the `numba` extra) the same numbers come faster;
`active_backend()` tells which code is used, and `backend="numpy"` asks for one.
"""

from vtscot.metrics.backend import Backend, active_backend
from vtscot.metrics.boundary import boundary_f
from vtscot.metrics.disk import bound_pix
from vtscot.metrics.frame import FrameScores, j_and_f
from vtscot.metrics.inputs import Mask
from vtscot.metrics.region import accuracy, region_similarity, robustness
from vtscot.metrics.statistics import Statistics, decay, recall, statistics
from vtscot.metrics.tracks import TrackScores, t_iou, track_accuracy, track_robustness, track_scores, v_iou

__all__ = [
    "Backend",
    "FrameScores",
    "Mask",
    "Statistics",
    "TrackScores",
    "accuracy",
    "active_backend",
    "bound_pix",
    "boundary_f",
    "decay",
    "j_and_f",
    "recall",
    "region_similarity",
    "robustness",
    "statistics",
    "t_iou",
    "track_accuracy",
    "track_robustness",
    "track_scores",
    "v_iou",
]
