"""The answer along its window: what was found on the decoded frame, followed both ways, against the target's masks.

Only a segmenter that can follow (`Tracker`) is asked. Its ceiling is what it reaches from the mask that the target's
own box gives, so that a tracker that loses its object is not held against the thought.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtscot.frames import Frames
from vtscot.pieces import fitted
from vtscot.records import Selection
from vtscot.segmenter.base import Image, Mask, Tracker
from vtscot.tracks import MaskTrack
from vtscot.verify.base import VerifySettings


class _Shown:
    """Some frames of a video by their place among `indices`, each at most `max_pixels` large."""

    def __init__(self, frames: Frames, indices: Sequence[int], max_pixels: int) -> None:
        self._frames, self._indices, self._max_pixels = frames, indices, max_pixels

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> Image:
        return self._frames.array(self._indices[place], self._max_pixels)


def spread(window: Selection, count: int) -> list[int]:
    """At most `count` frames of a window, evenly, its ends among them.

    >>> spread(Selection(start=3, end=12, keyframe=3), 4)
    [3, 6, 9, 12]
    """
    places = np.linspace(window.start, window.end, min(count, len(window.frames))).round()
    return sorted({int(place) for place in places})


def along_window(
    window: Selection,
    decoded: int,
    target: MaskTrack,
    frames: Frames,
    found: Sequence[Mask],
    ceiling: Mask,
    tracker: Tracker,
    settings: VerifySettings,
) -> tuple[float, float]:
    """Mean IoU along the window, and what the tracker reaches from `ceiling`; both masks are on frame `decoded`.

    A frame without target counts 1 where nothing is followed to it. The decoded frame need not be in the window.
    """
    scored = spread(window, settings.window_frames)
    indices = sorted({*scored, decoded})
    shown = _Shown(frames, indices, settings.max_pixels)
    places = [indices.index(frame) for frame in scored]
    truths = [_truth(target, frame, ceiling.shape) for frame in scored]

    def reached(masks: Sequence[Mask]) -> float:
        start = indices.index(decoded)
        masks = [mask for mask in masks if mask.any()]
        followed = dict(tracker.track(shown, start, masks)) if masks else {}
        nothing = np.zeros(ceiling.shape, dtype=bool)
        return float(np.mean([_iou(followed.get(i, nothing), truth) for i, truth in zip(places, truths, strict=True)]))

    return reached(found), reached([ceiling])


def _truth(target: MaskTrack, frame: int, shape: tuple[int, ...]) -> Mask:
    if not target.visible[frame]:
        return np.zeros(shape, dtype=bool)
    return fitted(target.decode(frame), *shape)


def _iou(a: Mask, b: Mask) -> float:
    both, either = int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))
    return both / either if either else 1.0
