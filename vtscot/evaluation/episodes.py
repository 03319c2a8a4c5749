"""What an episode is worth beside its masks: does it parse, does it answer, does it look at the target, and when.

Pure functions on an `Episode`, the target's `MaskTrack` and the masks of the turns; no model, no torch. Training,
evaluation and baselines are scored by these alone. Windows and frames are 0-based, windows inclusive at both ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vtscot import masks
from vtscot.masks import Bools, Rle
from vtscot.records import Episode, Selection
from vtscot.tracks import MaskTrack

SHORT: Final = 0.5  # a target seen in less than this share of the frames is short-lived


@dataclass(frozen=True, slots=True)
class EpisodeScore:
    """One episode. What asks for a target is None where the video shows none, and the other way round.

    Where no turn parses there is nothing to score: hits are False, IoUs 0 and an absent target counts as not told.
    """

    query_id: str
    kind: str | None  # of the expression
    parsed: bool  # every reply keeps the grammar
    answered: bool  # the last one is an answer, and all parse
    rounds: int  # replies that parse
    keyframe_hit: bool | None  # the target is in the keyframe of the last turn
    decoded_hit: bool | None  # the target is in the frame the last mask was decoded on
    window_iou: float | None  # of the last window's frames and those that show the target
    decoded_iou: float | None  # of the last mask and the target on that frame; two empty masks count 1
    absent_empty: bool | None  # nothing is meant, and the last mask is empty
    short_lived: bool  # the target is seen in less than half of the frames


def score_episode(
    episode: Episode | None,
    truth: MaskTrack | None,
    turn_masks: Sequence[Rle | None],
    *,
    parsed: bool = True,
    query_id: str | None = None,
    kind: str | None = None,
) -> EpisodeScore:
    """Score the turns that parse (None: not even the first does); the last of them counts.

    `truth` is the target in every frame; None, or one without any pixel, where the expression means nothing in the
    video. `turn_masks` holds the mask of each turn on the frame it was decoded on, None for an empty one; only the last
    is looked at. `parsed` is False where a reply after these turns broke the grammar. `query_id` is needed only without
    an episode. MaskError where the last mask is of another size than the truth, ValueError for a mask too few.
    """
    visible = truth.visible if truth is not None else None
    present = visible is not None and bool(visible.any())
    if episode is not None and len(turn_masks) != len(episode.turns):
        raise ValueError(f"{episode.query_id}: {len(turn_masks)} masks for {len(episode.turns)} turns")
    found = _found(episode, truth, turn_masks[-1] if turn_masks else None) if present else _nothing(None, None)
    whole = parsed and episode is not None
    return EpisodeScore(
        query_id=query_id or (episode.query_id if episode is not None else ""),
        kind=kind,
        parsed=whole,
        answered=whole and episode is not None and not episode.truncated,
        rounds=len(episode.turns) if episode is not None else 0,
        **found,
        absent_empty=None if present else episode is not None and _empty(turn_masks[-1]),
        short_lived=present and visible is not None and float(visible.mean()) < SHORT,
    )


def window_iou(selection: Selection, visible: Bools) -> float:
    """Frames that are in the window and show the target, over frames that do either; `visible` is (T,)."""
    inside = int(visible[selection.start : selection.end + 1].sum())
    either = len(selection.frames) + int(visible.sum()) - inside
    return inside / either


def _found(episode: Episode | None, truth: MaskTrack | None, mask: Rle | None) -> dict[str, Any]:
    """What is asked of an episode about a target that is there."""
    if episode is None or truth is None:
        return _nothing(False, 0.0)
    selection, decoded = episode.turns[-1].selection, episode.observations[-1].decoded
    visible = truth.visible
    return {
        "keyframe_hit": bool(visible[selection.keyframe]),
        "decoded_hit": bool(visible[decoded]),
        "window_iou": window_iou(selection, visible),
        "decoded_iou": truth.iou(decoded, mask),
    }


def _nothing(hit: bool | None, iou: float | None) -> dict[str, Any]:
    return {"keyframe_hit": hit, "decoded_hit": hit, "window_iou": iou, "decoded_iou": iou}


def _empty(mask: Rle | None) -> bool:
    return mask is None or masks.is_empty(mask)


Measure = Callable[[EpisodeScore], float | None]

MEASURES: Final[dict[str, Measure]] = {
    "parsed": lambda score: score.parsed,
    "answered": lambda score: score.answered,
    "keyframe_hit": lambda score: score.keyframe_hit,
    "keyframe_hit_short_lived": lambda score: score.keyframe_hit if score.short_lived else None,
    "decoded_hit": lambda score: score.decoded_hit,
    "window_iou": lambda score: score.window_iou,
    "window_iou_short_lived": lambda score: score.window_iou if score.short_lived else None,
    "decoded_iou": lambda score: score.decoded_iou,
    "decoded_iou_visible": lambda score: score.decoded_iou if score.decoded_hit else None,
    "absent_empty": lambda score: score.absent_empty,
}
"""Means that are reported: which of the episodes count for each (those that do not give None), and what they give."""


def mean_of(values: Iterable[float | None]) -> dict[str, Any]:
    """{mean, se, n} of the values that are not None.

    `se` is the standard error of a mean of independent values (None for fewer than two); expressions about one video
    are less than independent, so it is a lower bound.
    """
    known = [float(value) for value in values if value is not None]
    n = len(known)
    if not n:
        return {"mean": None, "se": None, "n": 0}
    mean = math.fsum(known) / n
    spread = math.fsum((value - mean) ** 2 for value in known)
    return {"mean": mean, "se": math.sqrt(spread / (n - 1) / n) if n > 1 else None, "n": n}


def summarize_episodes(scores: Sequence[EpisodeScore]) -> dict[str, Any]:
    """Plain JSON values: {mean, se, n} of every one of `MEASURES`, the histogram of rounds, and the same per kind."""
    kinds: dict[str, list[EpisodeScore]] = {}
    for score in sorted(scores, key=lambda score: score.kind or ""):
        kinds.setdefault(score.kind or "no kind", []).append(score)
    several = len(kinds) > 1
    return {**_means(scores), "kinds": {kind: _means(of) for kind, of in kinds.items()} if several else {}}


def _means(scores: Sequence[EpisodeScore]) -> dict[str, Any]:
    rounds = Counter(score.rounds for score in scores)
    return {
        "episodes": len(scores),
        "rounds": {str(count): rounds[count] for count in sorted(rounds)},
        "mean_rounds": mean_of(score.rounds for score in scores),
        **{name: mean_of(map(measure, scores)) for name, measure in MEASURES.items()},
    }
