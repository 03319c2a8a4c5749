"""Blind grading of one turn: what the grounder points at, as a mask, against the target's mask on the decoded frame.

The ceiling is the IoU that the same segmenter reaches from the target's own boxes: one around all of it, or one per
connected piece, whichever does better. A frame is gradable where the ceiling is high enough to tell a wrong thought
from a weak segmenter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final

import numpy as np

from vtscot.frames import Frames
from vtscot.pieces import box_of, fitted, pieces, split
from vtscot.records import Box, Episode, Grounding
from vtscot.segmenter.base import Image, Mask, Segmenter, Tracker
from vtscot.tracks import MaskTrack
from vtscot.verify.along import along_window
from vtscot.verify.base import BlindView, Grounder, ShownImage, Ungroundable, VerifySettings

LARGE_PIECE: Final = 0.1
"""Share of the target's area from which a connected piece of it has to be found."""

MOST_PIECES: Final = 6
KEPT: Final = 256


@dataclass(frozen=True)
class Graded:
    """A grounding and what the checks need besides.

    `area`: the target's share of the frame; `visible`: it is plainly visible there. `part`: the least share of any
    large piece of the target that was found, or of any box's mask that is target; 1 where there is nothing to miss.
    `ungroundable`: why, if it was.
    """

    grounding: Grounding
    visible: bool
    area: float
    part: float
    ungroundable: str | None = None

    @property
    def contradicts(self) -> bool:
        """The thought says "not here" of a plainly visible target, or points at one that is not there."""
        if self.ungroundable is not None:
            return False
        return self.visible if not self.grounding.boxes else self.absent

    @property
    def absent(self) -> bool:
        """The frame has nothing of the target: its empty mask is reached by pointing at nothing."""
        return not self.visible and self.grounding.ceiling == 1.0


@dataclass(frozen=True)
class Ceiling:
    """What a segmenter reaches on one frame from the target's own boxes."""

    iou: float
    mask: Mask


class Ceilings:
    """The last few ceilings: queries of a video that mean the same objects share them."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._known: OrderedDict[tuple[object, ...], Ceiling] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], Ceiling]) -> Ceiling:
        """The ceiling under `key`, made if it is not known."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return made


_ceilings = Ceilings()


def blind_view(episode: Episode, turn: int, frames: Frames, max_pixels: int) -> BlindView:
    """What a grounder may see of turn number `turn`."""
    frame = episode.observations[turn].decoded
    others = sorted(episode.shown_until(turn) - {frame})
    return BlindView(
        image=frames.array(frame, max_pixels),
        size=frames.size(frame),
        frame=frame,
        expression=episode.expression,
        thought=episode.turns[turn].thought,
        shown=tuple(ShownImage(i, partial(frames.array, i, max_pixels)) for i in others),
    )


async def grade(
    episode: Episode,
    turn: int,
    target: MaskTrack | None,
    frames: Frames,
    grounder: Grounder,
    segmenter: Segmenter,
    settings: VerifySettings,
) -> Graded:
    """Ground turn number `turn` blindly, then compare with the target."""
    view = blind_view(episode, turn, frames, settings.max_pixels)
    why = None
    try:
        boxes = await grounder.ground(view)
    except Ungroundable as error:
        boxes, why = (), str(error)
    truth = _truth(target, view)
    if truth is None:
        iou = float(not boxes and why is None)
        grounding = Grounding(turn=turn, frame=view.frame, boxes=boxes, iou=iou, ceiling=1.0, gradable=True)
        return Graded(grounding, visible=False, area=0.0, part=1.0, ungroundable=why)
    key = (segmenter.name, settings.max_pixels, frames.digest(view.frame), target.masks[view.frame] if target else None)
    ceiling = _ceilings.get(key, partial(reach, view.image, truth, segmenter))
    found = segment_all(view.image, scaled(boxes, view), segmenter)
    area = float(truth.mean())
    visible = area >= settings.min_visible
    window = None
    if turn == len(episode.turns) - 1 and target and settings.window_frames and isinstance(segmenter, Tracker):
        selection = episode.turns[turn].selection
        window = along_window(selection, view.frame, target, frames, found, ceiling.mask, segmenter, settings)
    grounding = Grounding(
        turn=turn,
        frame=view.frame,
        boxes=boxes,
        iou=iou_of(union(found, truth.shape), truth),
        ceiling=ceiling.iou,
        gradable=ceiling.iou >= settings.min_ceiling and (visible or bool(boxes)),
        window_iou=window and window[0],
        window_ceiling=window and window[1],
    )
    return Graded(grounding, visible, area, least_part(found, truth, ceiling.mask), why)


def _truth(target: MaskTrack | None, view: BlindView) -> Mask | None:
    """The target's mask at the size of the view's image; None where it is empty."""
    if target is None or target.areas[view.frame] == 0:
        return None
    mask = target.decode(view.frame)
    small = fitted(mask, *view.image.shape[:2])
    return small if small.any() else None


def scaled(boxes: Sequence[Box], view: BlindView) -> list[Box]:
    """Boxes of the original frame in pixels of the view's image."""
    height, width = view.image.shape[:2]
    sx, sy = width / view.size[0], height / view.size[1]
    return [(x * sx, y * sy, w * sx, h * sy) for x, y, w, h in boxes]


def segment_all(image: Image, boxes: Sequence[Box], segmenter: Segmenter) -> list[Mask]:
    """One mask per box."""
    return [segmenter.segment(image, box) for box in boxes]


def union(masks: Sequence[Mask], shape: tuple[int, ...]) -> Mask:
    """What any of the masks holds; empty for none."""
    return np.asarray(np.any(masks, axis=0)) if masks else np.zeros(shape, dtype=bool)


def iou_of(a: Mask, b: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    both, either = int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))
    return both / either if either else 1.0


def reach(image: Image, truth: Mask, segmenter: Segmenter) -> Ceiling:
    """The best the segmenter does from the target's own boxes: around the whole, or around each piece."""
    best = Ceiling(0.0, np.zeros_like(truth))
    count = sum(part.sum() >= LARGE_PIECE / 2 * truth.sum() for part in pieces(truth))
    for groups in (1, min(int(count), MOST_PIECES)):
        if groups == 1 and best.iou > 0:
            continue
        boxes = [box_of(part) for part in split(truth, groups)]
        mask = union(segment_all(image, boxes, segmenter), truth.shape)
        if (iou := iou_of(mask, truth)) > best.iou:
            best = Ceiling(iou, mask)
    return best


def least_part(found: Sequence[Mask], truth: Mask, ceiling: Mask) -> float:
    """The least share of a large piece of the target that was found, or of a found mask that is target.

    Pieces count by what the ceiling reaches of them, so that a weak segmenter is not held against a thought.
    """
    if not found:
        return 0.0
    everything = union(found, truth.shape)
    large = [part for part in pieces(truth) if part.sum() >= LARGE_PIECE * truth.sum()]
    reached = [_ratio(everything & part, ceiling & part) for part in large]
    hits = [_ratio(mask & truth, mask) for mask in found]
    return min(1.0, *reached, *hits)


def _ratio(some: Mask, whole: Mask) -> float:
    """Pixels of one mask over those of another."""
    return int(np.count_nonzero(some)) / max(1, int(np.count_nonzero(whole)))
