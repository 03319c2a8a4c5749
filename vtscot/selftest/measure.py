"""Does the verifier notice? Errors are planted into episodes that it keeps, one kind at a time, and counted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from vtscot.budget import Budget
from vtscot.episode import episode_of, observations
from vtscot.index import Index
from vtscot.mining import MiningSettings
from vtscot.records import Verdict
from vtscot.segmenter.base import Segmenter
from vtscot.selftest.figures import Tally
from vtscot.selftest.planting import PLANTERS, Case
from vtscot.sources.base import Source
from vtscot.stages import mine_query
from vtscot.teacher.base import Teacher, TraceTask
from vtscot.teacher.oracle import OracleTeacher
from vtscot.verify import verify
from vtscot.verify.base import Grounder, VerifySettings


def cases(
    source: Source,
    index: Index,
    budget: Budget,
    seed: int,
    teacher: Teacher | None = None,
    mining: MiningSettings | None = None,
) -> Iterator[Case]:
    """The episodes of all queries of an index, with the thoughts of `teacher` (the oracle by default)."""
    writer = teacher or OracleTeacher()
    frames = lru_cache(maxsize=8)(lambda video: source.frames(index.videos[video]))
    for query in index.queries:
        plan = mine_query(query, index, mining or MiningSettings(), budget)
        task = TraceTask(
            query=query,
            plan=plan,
            observations=observations(plan, budget),
            frames=frames(query.video),
            target=index.target(query),
            objects={name: index.track(name) for name in index.others(query)},
            seed=seed,
        )
        chosen, thoughts = asyncio.run(writer.trace(task))
        yield Case(task, chosen, episode_of(query, chosen, thoughts, budget))


def judge(case: Case, grounder: Grounder, segmenter: Segmenter, settings: VerifySettings) -> Verdict:
    """The verdict on a case."""
    target, frames = case.task.target, case.task.frames
    return asyncio.run(verify(case.episode, case.plan, target, frames, grounder, segmenter, settings))


def plant_all(
    kind: str,
    kept: Sequence[Case],
    judged: Callable[[Case], Verdict],
    seed: int,
    some: Sequence[Case] | None = None,
) -> Tally:
    """Plant one kind into every kept case that it fits, or into `some` of them, and judge."""
    reasons: dict[str, int] = {}
    missed: list[str] = []
    planted = 0
    for case in kept if some is None else some:
        digest = hashlib.sha256(f"vtscot-selftest/{seed}/{kind}/{case.task.query.id}".encode()).digest()
        wrong = PLANTERS[kind](case, kept, np.random.default_rng(int.from_bytes(digest[:16], "big")))
        if wrong is None:
            continue
        planted += 1
        reason = judged(wrong).reason
        if reason is None:
            missed.append(case.task.query.id)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    return Tally(planted, planted - len(missed), dict(sorted(reasons.items())), tuple(missed))
