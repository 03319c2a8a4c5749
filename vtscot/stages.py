"""What happens to one query: it is mined, a teacher traces its plan, then the episode is verified blind.

`process` turns a `Job` into an `Outcome`, whatever happens to it on the way; only what makes going on pointless
(`EndpointError`, a full disk, an interruption) leaves it as an exception. Where the recipe wants the best of several
traces, all are written and verified at once, each with answers of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from vtscot import __version__
from vtscot.budget import Budget
from vtscot.endpoint.client import ChatClient
from vtscot.episode import episode_of, observations
from vtscot.errors import COST_REACHED, EpisodeError, FrameError, TeacherError
from vtscot.frames import Frames
from vtscot.index import Index
from vtscot.mining import MiningSettings, mine
from vtscot.prompts import prompts_digest
from vtscot.recipe import Recipe
from vtscot.records import Episode, Outcome, Plan, Provenance, Query, Record
from vtscot.segmenter.base import Segmenter
from vtscot.sources.base import Source
from vtscot.teacher.base import Teacher, TraceTask
from vtscot.tracks import MaskTrack, TrackTable
from vtscot.verify import verify
from vtscot.verify.base import Grounder
from vtscot.verify.judge import Judge

MISSING: Final = "not-in-ledger"  # why a client that may not send has no answer


@dataclass(frozen=True)
class Job:
    """One query and the plan that was mined for it."""

    query: Query
    plan: Plan


@dataclass(frozen=True)
class Done:
    """The outcome of a job and the seconds that each stage took."""

    outcome: Outcome
    trace_seconds: float
    verify_seconds: float


@dataclass
class Tools:
    """What the stages work with: the data, the models and the recipe. Each process has its own."""

    recipe: Recipe
    source: Source
    index: Index
    teacher: Teacher
    grounder: Grounder
    segmenter: Segmenter
    judge: Judge | None = None
    client: ChatClient | None = None  # what teacher and grounder share where they ask a model
    frames: Callable[[str], Frames] = field(init=False)

    def __post_init__(self) -> None:
        # Queries come video by video: a few videos are enough to remember.
        self.frames = lru_cache(maxsize=8)(lambda name: self.source.frames(self.index.videos[name]))

    def others(self, query: Query) -> dict[str, MaskTrack]:
        """The other annotated objects of the query's video."""
        return {name: self.index.track(name) for name in self.index.others(query)}


def mine_query(query: Query, index: Index, settings: MiningSettings, budget: Budget) -> Plan:
    """The plan of one query, from the tables of its video."""
    tables = index.video_tables(query.video)
    targets = [tables[anno_id] for anno_id in query.anno_ids]
    others = {anno_id: tables[anno_id] for anno_id in index.others(query)}
    target = TrackTable.merge(targets) if targets else None
    return mine(query, len(index.videos[query.video].frames), target, others, settings, budget)


async def trace(job: Job, tools: Tools, variant: int = 0) -> tuple[Plan, Episode]:
    """Have the teacher write the thoughts of a plan; it may settle on other candidate keyframes."""
    query, budget = job.query, tools.recipe.budget
    task = TraceTask(
        query=query,
        plan=job.plan,
        observations=observations(job.plan, budget),
        frames=tools.frames(query.video),
        target=tools.index.target(query),
        objects=tools.others(query),
        seed=tools.recipe.seed,
        variant=variant,
    )
    plan, thoughts = await tools.teacher.trace(task)
    return plan, episode_of(query, plan, thoughts, budget)


async def grade(query: Query, plan: Plan, episode: Episode, tools: Tools) -> Outcome:
    """Verify an episode; the outcome is kept or rejected."""
    verdict = await verify(
        episode,
        plan,
        tools.index.target(query),
        tools.frames(query.video),
        tools.grounder,
        tools.segmenter,
        tools.recipe.verify,
        tools.judge,
    )
    provenance = Provenance(
        vtscot=__version__,
        teacher=tools.teacher.name,
        recipe=tools.recipe.digest(),
        prompts=prompts_digest(),
        seed=tools.recipe.seed,
    )
    record = Record(query=query, plan=plan, episode=episode, verdict=verdict, provenance=provenance)
    return Outcome(query=query, state="kept" if verdict.kept else "rejected", reason=verdict.reason, record=record)


async def process(job: Job, tools: Tools) -> Done:
    """Trace and verify one query, as often as the recipe says, and keep the best."""
    if tools.client is not None and tools.client.purse.reached:
        return Done(_failed(job.query, COST_REACHED, "not asked: the cost limit is reached", retryable=True), 0.0, 0.0)
    count = tools.recipe.teacher.n_best
    results = await asyncio.gather(*(_attempt(job, tools, i) for i in range(count)), return_exceptions=True)
    done: list[Done] = []
    for result in results:  # all are waited for: an answer on its way is paid for already
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return Done(
        best([one.outcome for one in done]), sum(d.trace_seconds for d in done), sum(d.verify_seconds for d in done)
    )


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """Kept before rejected before failed, then by IoU on the answer's frame; the first of equals.

    One that waits for money, or for answers that may not be asked for now, makes all wait: the choice must not depend
    on where a limit fell.
    """
    waiting = [outcome for outcome in outcomes if outcome.reason in (COST_REACHED, MISSING)]
    return waiting[0] if waiting else min(outcomes, key=_rank)


def _rank(outcome: Outcome) -> tuple[int, bool, float]:
    iou = outcome.record.verdict.keyframe_iou if outcome.record is not None else None
    return ("kept", "rejected", "failed", "skipped").index(outcome.state), not outcome.retryable, -(iou or 0.0)


async def _attempt(job: Job, tools: Tools, variant: int) -> Done:
    begun = time.perf_counter()
    traced = begun
    try:
        plan, episode = await trace(job, tools, variant)
        traced = time.perf_counter()
        outcome = await grade(job.query, plan, episode, tools)
    except TeacherError as error:
        outcome = _failed(job.query, error.reason, str(error), retryable=error.retryable)
    except FrameError as error:
        # The user can mend the file and build again, so the query is tried again then.
        outcome = _failed(job.query, "frame-unreadable", str(error), retryable=True)
    except EpisodeError as error:
        outcome = _failed(job.query, "malformed-episode", str(error), retryable=False)
    ended = time.perf_counter()
    if traced == begun:
        traced = ended
    return Done(outcome, traced - begun, ended - traced)


def _failed(query: Query, reason: str, detail: str, *, retryable: bool) -> Outcome:
    return Outcome(query=query, state="failed", reason=reason, detail=detail, retryable=retryable)
