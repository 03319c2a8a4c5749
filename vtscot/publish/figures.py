"""The numbers that card, report and command line show, counted from the outcomes or from the rows and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vtscot.records import Outcome, Record, Verdict, count_states

BINS = 10
WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Shortest window of each class, in frames; a class ends before the next one begins, the last one has no end."""


@dataclass(frozen=True)
class Counted:
    """What is counted of one traced episode, wherever it stands: in a record or in a row."""

    video: str  # id
    kept: bool
    reason: str | None
    turns: int
    window: int  # frames of the answer's window
    num_frames: int
    iou: float | None  # on the keyframe; None where nothing was graded or there is no target
    ceiling: float | None
    leaky: bool
    teacher: str
    grader: str
    recipe: str
    prompts: str


@dataclass(frozen=True)
class Figures:
    """Counts over all queries. `turns` and `windows` are of the kept episodes.

    `keyframe_iou`, `ceiling` and `histogram` are of those kept episodes that have a target: an empty mask for an absent
    one would count 1. `histogram` counts in ten bins of 0.1; the last one includes 1. `windows` counts the answers'
    windows by their frames ("2-3"), `window_share` is the mean share of the video that they cover.
    """

    queries: int
    states: dict[str, int]
    reasons: dict[str, dict[str, int]]  # by state, most frequent first
    turns: dict[int, int]
    keyframe_iou: float | None
    ceiling: float | None
    histogram: tuple[int, ...]
    teachers: tuple[str, ...]
    graders: tuple[str, ...]  # "grounder + segmenter"
    recipes: tuple[str, ...]
    prompts: tuple[str, ...]
    traced: int  # episodes that the leak filter read
    leaks: int  # of these, with a hit
    windows: dict[str, int]
    window_share: float | None
    videos: int  # of the kept episodes

    @property
    def leak_rate(self) -> float | None:
        """Share of the traced episodes in which the leak filter found something; None where none was traced."""
        return self.leaks / self.traced if self.traced else None

    def json(self) -> dict[str, Any]:
        """The numbers as plain data: what `vtscot stats --json` prints and what the card shows."""
        return {
            "queries": self.queries,
            "states": self.states,
            "reasons": self.reasons,
            "videos": self.videos,
            "turns": {str(turns): count for turns, count in self.turns.items()},
            "windows": self.windows,
            "window_share": self.window_share,
            "keyframe_iou": self.keyframe_iou,
            "ceiling": self.ceiling,
            "histogram": list(self.histogram),
            "leaks": {"traced": self.traced, "leaks": self.leaks, "rate": self.leak_rate},
            "teachers": list(self.teachers),
            "graders": list(self.graders),
            "recipes": list(self.recipes),
            "prompts": list(self.prompts),
        }


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Count `outcomes`."""
    traced = [counted(outcome.record) for outcome in outcomes if outcome.record is not None]
    return _figures(count_states(outcomes), _reasons((o.state, o.reason) for o in outcomes), traced)


def row_figures(rows: Iterable[Counted]) -> Figures:
    """The same from the rows of a dataset, which do not tell of queries without an episode."""
    traced = list(rows)
    states = {"kept": sum(row.kept for row in traced), "rejected": sum(not row.kept for row in traced)}
    return _figures(states, _reasons(("rejected", row.reason) for row in traced), traced)


def counted(record: Record) -> Counted:
    """What is counted of a record."""
    verdict, episode = record.verdict, record.episode
    graded = verdict.groundings[-1] if record.query.anno_ids and verdict.groundings else None
    return Counted(
        video=record.query.video_id,
        kept=verdict.kept,
        reason=verdict.reason,
        turns=len(episode.turns),
        window=len(episode.turns[-1].selection.frames),
        num_frames=episode.num_frames,
        iou=graded.iou if graded else None,
        ceiling=graded.ceiling if graded else None,
        leaky=leaky(verdict),
        teacher=record.provenance.teacher,
        grader=grader(verdict),
        recipe=record.provenance.recipe,
        prompts=record.provenance.prompts,
    )


def leaky(verdict: Verdict) -> bool:
    """Whether the leak filter found something, be it the reason of the rejection or not."""
    return any(check.name == "leakage" and not check.passed for check in verdict.checks)


def grader(verdict: Verdict) -> str:
    """Who graded an episode: what pointed at the target, and what made a mask of it."""
    return f"{verdict.grounder} + {verdict.segmenter}"


def window_class(frames: int) -> str:
    """The class of a window of so many frames.

    >>> window_class(1), window_class(5), window_class(1000)
    ('1', '4-7', '256+')
    """
    place = sum(shortest <= frames for shortest in WINDOWS) - 1
    first = WINDOWS[place]
    if place + 1 == len(WINDOWS):
        return f"{first}+"
    last = WINDOWS[place + 1] - 1
    return str(first) if first == last else f"{first}-{last}"


def _figures(states: dict[str, int], reasons: dict[str, dict[str, int]], traced: Sequence[Counted]) -> Figures:
    kept = [one for one in traced if one.kept]
    ious = [one.iou for one in kept if one.iou is not None]
    return Figures(
        queries=sum(states.values()),
        states=states,
        reasons=reasons,
        turns=dict(sorted(Counter(one.turns for one in kept).items())),
        keyframe_iou=_mean(ious),
        ceiling=_mean(one.ceiling for one in kept if one.ceiling is not None),
        histogram=_histogram(ious),
        teachers=_distinct(one.teacher for one in traced),
        graders=_distinct(one.grader for one in traced),
        recipes=_distinct(one.recipe for one in traced),
        prompts=_distinct(one.prompts for one in traced),
        traced=len(traced),
        leaks=sum(one.leaky for one in traced),
        windows=_windows(kept),
        window_share=_mean(one.window / one.num_frames for one in kept),
        videos=len({one.video for one in kept}),
    )


def _reasons(ends: Iterable[tuple[str, str | None]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {"rejected": Counter(), "failed": Counter(), "skipped": Counter()}
    for state, reason in ends:
        if reason is not None:
            counts[state][reason] += 1
    return {
        state: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))) for state, counter in counts.items()
    }


def _windows(kept: Sequence[Counted]) -> dict[str, int]:
    """Windows by class, from the shortest class that occurs to the longest."""
    counts = Counter(window_class(one.window) for one in kept)
    classes = [window_class(shortest) for shortest in WINDOWS]
    there = [i for i, name in enumerate(classes) if counts[name]]
    return {name: counts[name] for name in classes[there[0] : there[-1] + 1]} if there else {}


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None


def _histogram(values: Iterable[float]) -> tuple[int, ...]:
    counts = Counter(min(int(value * BINS), BINS - 1) for value in values)
    return tuple(counts[i] for i in range(BINS))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
