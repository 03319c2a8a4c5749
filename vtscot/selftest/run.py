"""Measures the verifier on a whole source, the work shared out over processes.

Every process makes the same good episodes for itself (the oracle writes them in milliseconds) and judges its share.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from vtscot.budget import Budget
from vtscot.errors import DataError, UsageError
from vtscot.index import ensure_index, open_index
from vtscot.mining import MiningSettings
from vtscot.processes import processes
from vtscot.progress import Progress
from vtscot.records import Verdict
from vtscot.segmenter import open_segmenter
from vtscot.selftest.figures import Measured, Tally, together
from vtscot.selftest.measure import cases, judge, plant_all
from vtscot.selftest.planting import PLANTERS, Case
from vtscot.sources.registry import open_source
from vtscot.verify import open_grounder
from vtscot.verify.base import VerifySettings

SHARE: Final = 24  # episodes per task


@dataclass(frozen=True)
class Measuring:
    """What is measured: splits of a source, and the settings of the verifier. `indexes` is a scratch folder."""

    source: str
    root: Path
    splits: tuple[str, ...]
    indexes: Path
    budget: Budget
    mining: MiningSettings
    verify: VerifySettings
    seed: int = 0

    def prepare(self) -> None:
        """Read the annotations, once for all processes; DataError where they hold nothing to measure on."""
        if "openai" in (self.verify.grounder, self.verify.judge):
            raise UsageError("what is measured here is offline: choose --set verify.grounder=words, and no judge")
        sources = ((split, open_source(self.source, self.root, split)) for split in self.splits)
        queries = [len(ensure_index(source, self.indexes / split).queries) for split, source in sources]
        if not sum(queries):
            raise DataError(f"{self.root} holds no usable query of {self.source}; vtscot index says why")


@dataclass(frozen=True)
class Judged:
    """One good episode: why it was rejected, if it was, and the IoU on its answer's frame where it has a target."""

    reason: str | None
    iou: float | None


class Worker:
    """One process's copy of the good episodes, and the verifier."""

    def __init__(self, measuring: Measuring) -> None:
        self.measuring, verify = measuring, measuring.verify
        self.grounder = open_grounder(measuring.verify.grounder, None)
        self.segmenter = open_segmenter(verify.segmenter, verify.checkpoint, verify.device, verify.dtype)
        self.cases: list[Case] = []
        for split in measuring.splits:
            source, index = open_source(measuring.source, measuring.root, split), open_index(measuring.indexes / split)
            self.cases += cases(source, index, measuring.budget, measuring.seed, mining=measuring.mining)

    def verdict(self, case: Case) -> Verdict:
        return judge(case, self.grounder, self.segmenter, self.measuring.verify)

    def judge(self, share: range) -> list[Judged]:
        """The untouched episodes of a share."""
        judged = []
        for case in self.cases[share.start : share.stop]:
            verdict = self.verdict(case)
            graded = case.task.target is not None and verdict.groundings
            judged.append(Judged(verdict.reason, verdict.keyframe_iou if graded else None))
        return judged

    def plant(self, kind: str, kept: tuple[int, ...], share: range) -> Tally:
        """One kind, planted into a share of the kept episodes."""
        pool = [self.cases[i] for i in kept]
        return plant_all(kind, pool, self.verdict, self.measuring.seed, pool[share.start : share.stop])


@lru_cache(maxsize=1)
def _worker(measuring: Measuring) -> Worker:
    return Worker(measuring)


def _count(measuring: Measuring) -> int:
    return len(_worker(measuring).cases)


def _judge(measuring: Measuring, share: range) -> list[Judged]:
    return _worker(measuring).judge(share)


def _plant(measuring: Measuring, kept: tuple[int, ...], task: tuple[str, range]) -> Tally:
    return _worker(measuring).plant(task[0], kept, task[1])


def measure(measuring: Measuring, workers: int, say: Progress) -> Measured:
    """All figures; the same whatever the number of workers, but for the seconds."""
    say.stage("index")
    measuring.prepare()
    with _pool(workers) as pool:
        count = pool.submit(_count, measuring).result()
        say.stage("good episodes", count)
        begun, judged = time.perf_counter(), list[Judged]()
        for some in pool.map(partial(_judge, measuring), _shares(count)):
            judged += some
            say.advance(len(some))
        seconds = (time.perf_counter() - begun) * workers / max(1, count)
        kept = tuple(i for i, one in enumerate(judged) if one.reason is None)
        tasks = [(kind, share) for kind in PLANTERS for share in _shares(len(kept))]
        say.stage("planted errors", len(tasks))
        found: dict[str, list[Tally]] = {kind: [] for kind in PLANTERS}
        for (kind, _), tally in zip(tasks, pool.map(partial(_plant, measuring, kept), tasks), strict=True):
            found[kind].append(tally)
            say.advance()
    return _measured(measuring, judged, seconds, {kind: together(tallies) for kind, tallies in found.items()})


def _shares(count: int) -> list[range]:
    return [range(start, min(count, start + SHARE)) for start in range(0, count, SHARE)]


def _measured(measuring: Measuring, judged: list[Judged], seconds: float, tallies: dict[str, Tally]) -> Measured:
    ious = [one.iou for one in judged if one.iou is not None]
    return Measured(
        source=measuring.source,
        segmenter=measuring.verify.segmenter,
        episodes=len(judged),
        rejected=dict(Counter(one.reason for one in judged if one.reason is not None)),
        mean_iou=sum(ious) / len(ious) if ious else None,
        seconds=seconds,
        tallies=tallies,
    )


def _pool(workers: int) -> AbstractContextManager[Executor]:
    """Processes; one worker is a thread of this process."""
    return ThreadPoolExecutor(1) if workers == 1 else processes(workers)
