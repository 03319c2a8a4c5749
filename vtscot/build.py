"""The data engine: source -> index -> mine -> trace -> verify -> publish, put together in one place.

Every query of the source ends in exactly one state. A second build of the same run does what is missing: finished
outcomes are taken from the ledger, failures that may pass are tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vtscot import __version__
from vtscot.drivers import Workplace, in_loop, in_processes
from vtscot.errors import UsageError
from vtscot.index import Index, ensure_index
from vtscot.progress import Progress, Silent
from vtscot.prompts import prompts_digest
from vtscot.publish import PublishContext, Published, publish
from vtscot.publish.figures import Figures
from vtscot.recipe import Recipe
from vtscot.records import Outcome, Query
from vtscot.run import Run, open_run, reopen_run
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.stages import Done, Job, mine_query


@dataclass
class Clock:
    """Wall-clock seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True)
class Summary:
    """What a build made; `json()` is what `vtscot build --json` prints."""

    run: Path
    published: Published
    seconds: dict[str, float]

    @property
    def figures(self) -> Figures:
        return self.published.figures

    def json(self) -> dict[str, Any]:
        """`reasons` are over all queries that were not kept, `turns` and `keyframe_iou` over the kept episodes."""
        figures = self.figures
        reasons = Counter[str]()
        for counts in figures.reasons.values():
            reasons.update(counts)
        return {
            "run": str(self.run),
            "dataset": str(self.published.dataset),
            "report": str(self.published.report),
            "queries": figures.queries,
            **figures.states,
            "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
            "turns": {str(n): count for n, count in figures.turns.items()},
            "keyframe_iou": figures.keyframe_iou,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def open_recipe_source(recipe: Recipe, root: Path) -> Source:
    """The recipe's source at `root`; the demo world is made there first."""
    if recipe.source.name == "demo":
        from vtscot.demo import write_demo

        write_demo(root, videos=recipe.source.videos, seed=recipe.seed, workers=cores(recipe))
    elif recipe.source.root is None:
        raise UsageError(f"source {recipe.source.name!r} needs --root, the folder that holds the dataset")
    return open_source(recipe.source.name, root, recipe.source.split)


def cores(recipe: Recipe) -> int:
    """Worker processes: as the recipe says, else one per core this process may use."""
    if recipe.workers is not None:
        return recipe.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select(index: Index, limit: int | None) -> tuple[list[Query], list[Outcome]]:
    """The queries to work on, and the outcomes of those that the index skipped; `limit` counts both in file order."""
    skipped = {query.id: (reason, detail) for query, reason, detail in index.skipped}
    queries: list[Query] = []
    outcomes: list[Outcome] = []
    for query in index.expressions[:limit]:
        if query.id in skipped:
            reason, detail = skipped[query.id]
            outcomes.append(Outcome(query=query, state="skipped", reason=reason, detail=detail))
        else:
            queries.append(query)
    return queries, outcomes


def input_digest(job: Job, index: Index, recipe: Recipe) -> str:
    """Digest of what decides the outcome of a job, besides frames and the answers of a teacher.

    Masks count by area and box per frame: those are in memory, and no other mask of an object has the same everywhere.
    """
    text = json.dumps(
        [job.query.model_dump(mode="json"), job.plan.model_dump(mode="json"), recipe.identity(), prompts_digest()],
        sort_keys=True,
    )
    digest = hashlib.sha256(text.encode())
    for anno_id in job.query.anno_ids:
        table = index.table(anno_id)
        digest.update(table.area.tobytes() + table.box.tobytes())
    return digest.hexdigest()


def drive(jobs: Sequence[Job], run: Run, source_root: Path) -> Iterator[Done]:
    """Trace and verify the jobs; results come in any order."""
    place = Workplace(run.recipe, source_root, run.index)
    if run.recipe.asks_a_model:
        # Twice as many queries as requests in flight: pictures of the next are made while the endpoint thinks.
        yield from in_loop(jobs, place.tools(run.ledger), 2 * run.recipe.teacher.concurrency)
    else:
        yield from in_processes(jobs, place, cores(run.recipe))


def work(jobs: Sequence[Job], index: Index, run: Run, clock: Clock, say: Progress) -> list[Outcome]:
    """The outcome of every job: from the ledger where it is settled, else traced and verified now.

    Trace and verify run together; their wall-clock time is shared out by the time spent in each.
    """
    digests = {job.query.id: input_digest(job, index, run.recipe) for job in jobs}
    known = {job.query.id: run.ledger.outcome(job.query.id, digests[job.query.id]) for job in jobs}
    settled = {key: outcome for key, outcome in known.items() if outcome is not None and not outcome.retryable}
    todo = [job for job in jobs if job.query.id not in settled]
    say.stage("trace and verify", len(todo))
    if settled:
        say.note(f"{len(settled)} of {len(jobs)} queries are settled already")
    begun, traced, verified = time.perf_counter(), 0.0, 0.0
    for done in drive(todo, run, run.source_root) if todo else ():
        run.ledger.save_outcome(done.outcome, digests[done.outcome.query.id])
        settled[done.outcome.query.id] = done.outcome
        traced += done.trace_seconds
        verified += done.verify_seconds
        say.advance()
    wall, share = time.perf_counter() - begun, traced / max(traced + verified, 1e-9)
    clock.seconds |= {"trace": wall * share, "verify": wall * (1 - share)}
    if todo:
        run.ledger.set_setting("seconds", json.dumps(clock.seconds))
    return [settled[job.query.id] for job in jobs]


def publish_context(run: Run, source: Source, index: Index) -> PublishContext:
    """What publishing needs besides the outcomes."""
    frames = lru_cache(maxsize=8)(source.frames)
    by_id = {video.id: video for video in index.videos.values()}

    return PublishContext(
        licences={source.name: source.licence},
        frames=lambda video_id: frames(by_id[video_id]),
        tracks=index.target,
        settings=run.recipe.identity(),
        # Of the last build that had something to do: what is published depends on the ledger alone.
        seconds=json.loads(run.ledger.setting("seconds") or "{}"),
        prompts=prompts_digest(),
        version=__version__,
        teacher=run.recipe.teacher.name,
    )


def current(outcomes: Sequence[Outcome], index: Index, say: Progress) -> tuple[Outcome, ...]:
    """The outcomes of queries that the source still has."""
    known = {query.id for query in index.expressions}
    kept = tuple(outcome for outcome in outcomes if outcome.query.id in known)
    if len(kept) < len(outcomes):
        say.note(f"{len(outcomes) - len(kept)} queries of the ledger are no longer in the source, and left out")
    return kept


def republish(directory: Path, progress: Progress | None = None) -> Summary:
    """Write dataset and report of a run again, from its ledger and the source's frames; nothing is asked or paid."""
    say = progress or Silent()
    clock = Clock()
    with reopen_run(directory) as run:
        source = open_source(run.recipe.source.name, run.source_root, run.recipe.source.split)
        index = ensure_index(source, run.index)
        outcomes = current(tuple(run.ledger.outcomes()), index, say)
        with clock.stage("publish"):
            say.stage("publish")
            published = publish(outcomes, publish_context(run, source, index), directory)
    return Summary(directory, published, clock.seconds)


def build(recipe: Recipe, directory: Path, progress: Progress | None = None) -> Summary:
    """Build the run in `directory`, or go on with it, and publish what it holds."""
    say = progress or Silent()
    clock = Clock()
    with open_run(directory, recipe) as run:
        with clock.stage("source"):
            say.stage("source")
            source = open_recipe_source(recipe, run.source_root)
        with clock.stage("index"):
            say.stage("index")
            index = ensure_index(source, run.index)
        queries, outcomes = select(index, recipe.limit)
        for outcome in outcomes:
            run.ledger.save_outcome(outcome, "skipped")
        with clock.stage("mine"):
            say.stage("mine", len(queries))
            jobs = [Job(query, mine_query(query, index, recipe.mining, recipe.budget)) for query in queries]
        outcomes += work(jobs, index, run, clock, say)
        with clock.stage("publish"):
            say.stage("publish")
            published = publish(outcomes, publish_context(run, source, index), directory)
    return Summary(directory, published, clock.seconds)
