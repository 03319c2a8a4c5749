"""The numbers that card, report and command line show, counted from the outcomes and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vtscot.records import Outcome, Verdict, count_states

BINS = 10


@dataclass(frozen=True)
class Figures:
    """Counts over all queries. `turns` are of the kept episodes.

    `keyframe_iou`, `ceiling` and `histogram` are of those kept episodes that have a target: an empty mask for an absent
    one would count 1. `histogram` counts in ten bins of 0.1; the last one includes 1.
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


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Count `outcomes`."""
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    kept = [record for record in records if record.verdict.kept]
    graded = [r.verdict.groundings[-1] for r in kept if r.query.anno_ids and r.verdict.groundings]
    ious = [grounding.iou for grounding in graded]
    return Figures(
        queries=len(outcomes),
        states=count_states(outcomes),
        reasons=_reasons(outcomes),
        turns=dict(sorted(Counter(len(record.episode.turns) for record in kept).items())),
        keyframe_iou=_mean(ious),
        ceiling=_mean(grounding.ceiling for grounding in graded),
        histogram=_histogram(ious),
        teachers=_distinct(record.provenance.teacher for record in records),
        graders=_distinct(grader(record.verdict) for record in records),
        recipes=_distinct(record.provenance.recipe for record in records),
        prompts=_distinct(record.provenance.prompts for record in records),
        traced=len(records),
        leaks=sum(leaky(record.verdict) for record in records),
    )


def leaky(verdict: Verdict) -> bool:
    """Whether the leak filter found something, be it the reason of the rejection or not."""
    return any(check.name == "leakage" and not check.passed for check in verdict.checks)


def grader(verdict: Verdict) -> str:
    """Who graded an episode: what pointed at the target, and what made a mask of it."""
    return f"{verdict.grounder} + {verdict.segmenter}"


def _reasons(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {"rejected": Counter(), "failed": Counter(), "skipped": Counter()}
    for outcome in outcomes:
        if outcome.reason is not None:
            counts[outcome.state][outcome.reason] += 1
    return {
        state: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))) for state, counter in counts.items()
    }


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None


def _histogram(values: Iterable[float]) -> tuple[int, ...]:
    counts = Counter(min(int(value * BINS), BINS - 1) for value in values)
    return tuple(counts[i] for i in range(BINS))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
