"""Answers that look at nothing: what a policy's scores have to be held against.

Constants are searched on the very queries they are scored on, as shares of a video's length, so they are the best
that any constant could do there: generous to the baseline. The box of the largest object knows the annotated objects
of the frame, but not which of them is meant. Pure functions on tracks; windows are inclusive at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vtscot import masks
from vtscot.evaluation.episodes import SHORT, mean_of
from vtscot.masks import Bools, Floats, Rle
from vtscot.tracks import MaskTrack

POSITIONS: Final = 101
"""Keyframe positions that are tried, evenly from the first frame (0) to the last (1)."""

WINDOWS: Final = 41
"""Positions of a window's ends that are tried: every pair of them is one window."""


@dataclass(frozen=True, slots=True)
class Known:
    """A query as baselines know it: the target in every frame (None: nothing is meant) and all objects of the video."""

    query_id: str
    truth: MaskTrack | None
    objects: tuple[MaskTrack, ...]
    num_frames: int

    @property
    def visible(self) -> Bools:
        """(T,) True where the target is seen."""
        return self.truth.visible if self.truth is not None else np.zeros(self.num_frames, dtype=np.bool_)

    @property
    def present(self) -> bool:
        return bool(self.visible.any())

    @property
    def short_lived(self) -> bool:
        return self.present and float(self.visible.mean()) < SHORT


@dataclass(frozen=True, slots=True)
class Constant:
    """The best constant answer: its place as shares of the video's length, and its score on each query."""

    shares: tuple[float, ...]
    scores: tuple[float, ...]

    def json(self) -> dict[str, Any]:
        return {"shares": list(self.shares), **mean_of(self.scores)}


def frame_at(share: float, num_frames: int) -> int:
    """The frame at a share of the video: 0 is the first, 1 the last."""
    return int(np.floor(share * (num_frames - 1) + 0.5))


def best_keyframe(visible: Sequence[Bools]) -> Constant | None:
    """The position whose frame shows the target most often; the earliest of equal ones. None for no queries.

    `visible` holds one (T,) per query.
    """
    shares = np.linspace(0.0, 1.0, POSITIONS)
    hits = [[float(seen[frame_at(share, len(seen))]) for share in shares] for seen in visible]
    return _best(np.asarray(hits), [(float(share),) for share in shares])


def best_window(visible: Sequence[Bools]) -> Constant | None:
    """The window with the highest mean IoU with the frames that show the target. None for no queries."""
    shares = np.linspace(0.0, 1.0, WINDOWS)
    first, last = np.triu_indices(WINDOWS)
    ious = [_window_ious(seen, shares, first, last) for seen in visible]
    pairs = zip(shares[first], shares[last], strict=True)
    return _best(np.asarray(ious), [(float(start), float(end)) for start, end in pairs])


def _window_ious(seen: Bools, shares: Floats, first: Any, last: Any) -> Floats:
    """(W,) IoU of every window `shares[first]`..`shares[last]` with the frames of `seen` (T,)."""
    frames = np.array([frame_at(share, len(seen)) for share in shares])
    before = np.concatenate([[0], np.cumsum(seen)])
    start, end = frames[first], frames[last]
    inside = before[end + 1] - before[start]
    return np.asarray(inside / (end - start + 1 + before[-1] - inside))


def _best(scores: Floats, shares: Sequence[tuple[float, ...]]) -> Constant | None:
    """The column of `scores` (queries, answers) with the highest mean."""
    if not scores.size:
        return None
    column = int(scores.mean(axis=0).argmax())
    return Constant(shares[column], tuple(float(score) for score in scores[:, column]))


def largest_box(objects: Sequence[MaskTrack], frame: int) -> Rle | None:
    """The box of the object with the largest area on a frame, filled; None where there is no object on it."""
    largest = max(objects, key=lambda track: int(track.areas[frame]), default=None)
    if largest is None or not largest.areas[frame]:
        return None
    x, y, w, h = (round(float(side)) for side in largest.boxes[frame])
    filled = np.zeros((largest.height, largest.width), dtype=np.bool_)
    filled[y : y + h, x : x + w] = True
    return masks.Rle.from_array(filled)


def largest_box_ious(known: Sequence[Known], frame_of: Callable[[Known], int]) -> list[float | None]:
    """Per query, IoU of the largest object's box with the target on a frame; None where nothing is meant.

    Where neither is on the frame it is 1, as for a policy's mask.
    """
    return [_box_iou(query, query.truth, frame_of(query)) for query in known]


def _box_iou(query: Known, truth: MaskTrack | None, frame: int) -> float | None:
    return truth.iou(frame, largest_box(query.objects, frame)) if truth is not None and query.present else None


def middle(query: Known) -> int:
    """The frame half-way through the video."""
    return (query.num_frames - 1) // 2


def baselines(known: Sequence[Known], decoded: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Plain JSON values, {mean, se, n} each, under the names that `summarize_episodes` gives a policy's.

    `keyframe_hit`, `window_iou` and the same `_short_lived`: the best constant, searched on just those queries, with
    its `shares`. `largest_box`: on the middle frame, and on the frames that a policy `decoded` (by query id; queries it
    has none for are left out); `_visible` of either: only where the target is on that frame. `absent_empty` of one who
    always sees a target, and of one who never does; `decoded_iou` of the latter on the middle frame.
    """
    present = [query for query in known if query.present]
    brief = [query for query in present if query.short_lived]
    constants = {
        "keyframe_hit": best_keyframe([query.visible for query in present]),
        "keyframe_hit_short_lived": best_keyframe([query.visible for query in brief]),
        "window_iou": best_window([query.visible for query in present]),
        "window_iou_short_lived": best_window([query.visible for query in brief]),
    }
    boxes = _boxes("middle", known, middle)
    if decoded is not None:
        judged = [query for query in known if query.query_id in decoded]
        boxes |= _boxes("decoded", judged, lambda query: decoded[query.query_id])
    absent = [0.0 for query in known if not query.present]
    return {
        **{
            name: constant.json() if constant else {"shares": [], **mean_of(())} for name, constant in constants.items()
        },
        "largest_box": boxes,
        "absent_empty": {"always_present": mean_of(absent), "always_absent": mean_of(1.0 for _ in absent)},
        "decoded_iou": {"always_absent": mean_of(_blind(query) for query in present)},
    }


def _boxes(name: str, known: Sequence[Known], frame_of: Callable[[Known], int]) -> dict[str, Any]:
    """The largest object's box on these frames, and on those of them that show the target."""
    there = [query for query in known if query.visible[frame_of(query)]]
    return {
        name: mean_of(largest_box_ious(known, frame_of)),
        f"{name}_visible": mean_of(largest_box_ious(there, frame_of)),
    }


def _blind(query: Known) -> float:
    """IoU on the middle frame of one who never sees a target."""
    return float(not query.visible[middle(query)])
