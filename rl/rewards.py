"""The rewards of the reinforcement stage: one pure function per term, and their unweighted sum's parts by name.

Formulas: VideoSEG-O3, arXiv 2606.06819, and its released code. Preset `as_released` gives that code's values, its slips
included: half-open windows, precision only, and the top tier of the two gains overwritten by 0.5. Preset `default`
reads turns with vtscot's one grammar, takes windows inclusive and scores them by tIoU, pays the top tiers, and adds
`answered`, because nothing else asks for an answer.

`last` is the last turn. IoUs come per turn: `iou_spatial[t]` holds one per spatial frame of turn 0, `iou_keyframe[t]`
is that on the frame on which turn t was decoded. An empty union counts 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Final, Literal, get_args

from vtscot.errors import EpisodeError, UsageError
from vtscot.grammar import parse_turn

Preset = Literal["default", "as_released"]
STEPS: Final = ("step 1", "step 2", "step 3", "action")
_THINK: Final = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_VTG: Final = re.compile(r"<(select|answer)>.*?<VTG>(?P<vtg>.*?)</VTG>.*?</\1>", re.DOTALL)
_ANSWER: Final = re.compile(r"<answer>.*</answer>\s*\Z", re.DOTALL)
_RELEASED_TURN: Final = re.compile(
    r"\s*<think>.*?</think>\s*<(select|answer)>\s*<VTG>(?P<vtg>.*?)</VTG>\s*<RefSeg>\s*\[SEG\]\s*</RefSeg>\s*</\1>\s*",
    re.DOTALL,
)
_KEYS: Final = ("start", "end", "keyframe")
_RELEASED_EPSILON: Final = 1e-6  # in the released precision: a window that is exactly half right counts as less


@dataclass(frozen=True)
class Trial:
    """One episode with all that its rewards depend on; see the module for the IoUs."""

    turns: tuple[str, ...]  # the text of every reply
    visible: tuple[bool, ...]  # per frame of the video
    iou_spatial: tuple[tuple[float, ...], ...]
    iou_keyframe: tuple[float, ...]
    preset: Preset

    @property
    def released(self) -> bool:
        """Whether the released code's values are asked for."""
        return self.preset == "as_released"

    @cached_property
    def selection(self) -> tuple[int, int, int] | None:
        """(start, end, keyframe) of the last turn, cut to the video; None where it cannot be read."""
        return _selection(self.turns[-1], len(self.visible), self.released)


def score(
    turns: Sequence[str],
    visible: Sequence[int],
    iou_spatial: Sequence[Sequence[float]],
    iou_keyframe: Sequence[float],
    preset: Preset = "as_released",
) -> dict[str, float]:
    """Every term of one episode by name, in the order of `TERMS`; `answered` is no term of `as_released`.

    `turns` are the texts of the replies, `visible` is 0 or 1 per frame; the IoUs are those of every turn.
    Raises UsageError for an unknown preset or IoUs of another number of turns.
    """
    if preset not in get_args(Preset):
        raise UsageError(f"no reward preset {preset!r}; there are {', '.join(get_args(Preset))}")
    if not turns or not visible:
        raise UsageError("rewards need a turn and a frame")
    if not len(turns) == len(iou_spatial) == len(iou_keyframe):
        raise UsageError(f"{len(turns)} turns, but IoUs for {len(iou_spatial)} and {len(iou_keyframe)} of them")
    spatial = tuple(tuple(map(float, row)) for row in iou_spatial)
    trial = Trial(tuple(turns), tuple(map(bool, visible)), spatial, tuple(map(float, iou_keyframe)), preset)
    return {name: term(trial) for name, term in terms_of(preset).items()}


def terms_of(preset: Preset) -> dict[str, Callable[[Trial], float]]:
    """The terms that a preset has, by name."""
    return {name: term for name, term in TERMS.items() if not (preset == "as_released" and name == "answered")}


def format_reward(trial: Trial) -> float:
    """+1 if every turn parses, else -1."""
    parses = _parses_as_released if trial.released else _parses
    return 1.0 if all(map(parses, trial.turns)) else -1.0


def steps_reward(trial: Trial) -> float:
    """Share of the four headings that the thoughts hold, in any order and case; mean over the turns."""
    return fmean(_headings(text) / len(STEPS) for text in trial.turns)


def interval_reward(trial: Trial) -> float:
    """p / 2 where p >= 0.5, else -0.5; p = tIoU of the last window and the visible frames (released: precision).

    p = 1 where the target is in no frame. -0.5 for a window that is empty or cannot be read.
    """
    if trial.selection is None:
        return -0.5
    start, end, _ = trial.selection
    window = range(start, end + (0 if trial.released else 1))
    if not window:
        return -0.5
    hit, seen = sum(trial.visible[i] for i in window), sum(trial.visible)
    over = len(window) + _RELEASED_EPSILON if trial.released else len(window) + seen - hit
    share = hit / over if seen else 1.0
    return 0.5 * share if share >= 0.5 else -0.5


def keyframe_reward(trial: Trial) -> float:
    """+1 if the target is visible in the last keyframe, else -1."""
    return 1.0 if trial.selection is not None and trial.visible[trial.selection[2]] else -1.0


def mask_reward(trial: Trial) -> float:
    """Mean over the spatial frames at the last turn: IoU > 0.4 earns up to 1.5, one of at most 0.2 costs 1."""
    return fmean(map(_mask_tier, trial.iou_spatial[-1]))


def keyframe_gain_reward(trial: Trial) -> float:
    """How much better the last mask is on its own frame than on the spatial frames; 0 with fewer than 2 turns."""
    if len(trial.turns) < 2:
        return 0.0
    return _tiers(trial.iou_keyframe[-1] - fmean(trial.iou_spatial[-1]), 0.2, 5, 0.1, released=trial.released)


def progress_reward(trial: Trial) -> float:
    """How much better the last mask is than the best earlier one, each on its frame; 0 with fewer than 2 turns."""
    if len(trial.turns) < 2:
        return 0.0
    *earlier, last = trial.iou_keyframe
    return _tiers(last - max(earlier), 0.1, 10, 0.05, released=trial.released)


def answered_reward(trial: Trial) -> float:
    """+0.5 if the last turn answers, else -0.5; not in the released code."""
    return 0.5 if _ANSWER.search(trial.turns[-1]) else -0.5


TERMS: Final[dict[str, Callable[[Trial], float]]] = {
    "format": format_reward,
    "steps": steps_reward,
    "interval": interval_reward,
    "keyframe": keyframe_reward,
    "mask": mask_reward,
    "keyframe_gain": keyframe_gain_reward,
    "progress": progress_reward,
    "answered": answered_reward,
}


def _parses(text: str) -> bool:
    try:
        parse_turn(text)
    except EpisodeError:
        return False
    return True


def _parses_as_released(text: str) -> bool:
    match = _RELEASED_TURN.fullmatch(text)
    value = _json(match["vtg"]) if match else None
    return value is not None and all(type(value.get(key)) is int for key in _KEYS)


def _headings(text: str) -> int:
    thought = _THINK.search(text)
    said = thought.group(1).lower() if thought else ""
    return sum(heading in said for heading in STEPS)


def _selection(text: str, frames: int, released: bool) -> tuple[int, int, int] | None:
    """Of the last selection in the text: the released code fills missing keys with 0 and cuts the end to T, not T-1."""
    found = [match["vtg"] for match in _VTG.finditer(text)]
    value = _json(found[-1]) if found else None
    if value is None:
        return None
    given = [value.get(key, 0 if released else None) for key in _KEYS]
    numbers = [number for number in given if isinstance(number, int) and not isinstance(number, bool)]
    if len(numbers) < len(_KEYS):
        return None
    last = frames if released else frames - 1
    start, end = (min(max(number, 0), last) for number in numbers[:2])
    return start, end, min(max(numbers[2], 0), frames - 1)


def _json(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _mask_tier(iou: float) -> float:
    if iou > 0.4:
        return min(3 * (iou - 0.4), 1.5)
    return 0.0 if iou > 0.2 else -1.0


def _tiers(gain: float, top: float, slope: float, middle: float, *, released: bool) -> float:
    """Reward of a difference of IoUs; the released code overwrites the top tier."""
    if gain > top and not released:
        return min(slope * (gain - middle), 2.0)
    if gain > middle:
        return 0.5
    return 0.0 if gain > -0.05 else -1.0
