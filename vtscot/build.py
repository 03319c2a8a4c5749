"""The data engine: source -> index -> mine -> trace -> verify -> publish, put together in one place.

Every query of the source ends in exactly one state. A second build of the same run does what is missing: finished
outcomes are taken from the ledger, failures that may pass are tried again. `rebuild` makes everything again from the
answers of the ledger and sends nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot import __version__
from vtscot.drivers import Workplace, in_loop, in_processes
from vtscot.errors import UsageError
from vtscot.index import Index, ensure_index
from vtscot.progress import Progress, Silent
from vtscot.prompts import prompts_digest
from vtscot.publish import PublishContext, Published, publish
from vtscot.publish.figures import Figures
from vtscot.recipe import Recipe, changed_recipe
from vtscot.records import Outcome, Query
from vtscot.replay import need, replay, usual_cost
from vtscot.run import Run, open_run, reopen_run, run_recipe, write_failures
from vtscot.segmenter import WEIGHTS
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.stages import MISSING, Done, Job, mine_query, process

if TYPE_CHECKING:
    from vtscot.endpoint.client import ChatClient

BATCHED: Final = 4096  # queries at a time with the Batch API: files are large, and nothing waits for a server


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

    @property
    def failures(self) -> Path:
        return self.run / "failures.jsonl"

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
            "failures": str(self.failures),
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
    """Worker processes: as the recipe says, else one per core this process may use, or one that has the weights."""
    if recipe.workers is not None:
        return recipe.workers
    if recipe.verify.segmenter in WEIGHTS:
        return 1  # one copy of the weights
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


def drive(jobs: Sequence[Job], run: Run, say: Progress) -> Iterator[Done]:
    """Trace and verify the jobs; results come in any order."""
    place = Workplace(run.recipe, run.source_root, run.index)
    if run.recipe.asks_a_model:
        settings, tools = run.recipe.teacher, place.tools(run.ledger, say.note)
        # Twice as many queries as requests in flight: pictures of the next are made while the endpoint thinks.
        at_once = BATCHED if settings.batch else 2 * settings.concurrency
        yield from watched(in_loop(jobs, tools, at_once), tools.client, len(jobs), say)
    else:
        yield from in_processes(jobs, place, cores(run.recipe), process)


def watched(results: Iterable[Done], client: ChatClient | None, total: int, say: Progress) -> Iterator[Done]:
    """Results as they come, and how it stands: money spent and to be spent, answers per second, errors."""
    if client is None:
        yield from results
        return
    before, begun = client.purse.spent, time.monotonic()
    for number, done in enumerate(results, start=1):
        say.status(standing(client, before, number / total, time.monotonic() - begun))
        yield done
    if client.settings.input_price is not None:
        say.note(f"spent {client.purse.spent:.4f}, of this {client.purse.spent - before:.4f} now")


def standing(client: ChatClient, before: float, share: float, seconds: float) -> str:
    """One line about a client that has done a share of the work."""
    stats, spent = client.stats, client.purse.spent
    rate = f"{stats.answered / max(seconds, 1e-9):.1f} answers/s, {stats.faults + stats.unusable} errors"
    if client.settings.input_price is None:
        return f"{stats.input_tokens} tokens in, {stats.output_tokens} out, {rate}"
    return f"spent {spent:.4f} of about {before + (spent - before) / max(share, 1e-9):.4f}, {rate}"


@dataclass
class Work:
    """The jobs of a run, and how they ended so far. Only outcomes of the very same input are `known`."""

    jobs: Sequence[Job]
    run: Run
    digests: Mapping[str, str]
    known: dict[str, Outcome]

    @classmethod
    def of(cls, jobs: Sequence[Job], index: Index, run: Run) -> Work:
        """What the ledger knows of these jobs."""
        digests = {job.query.id: input_digest(job, index, run.recipe) for job in jobs}
        found = {key: run.ledger.outcome(key, digest) for key, digest in digests.items()}
        return cls(jobs, run, digests, {key: outcome for key, outcome in found.items() if outcome is not None})

    def unsettled(self) -> list[Job]:
        """The jobs that are not finished, and those that failed but may pass."""
        return [job for job in self.jobs if (one := self.known.get(job.query.id)) is None or one.retryable]

    def failed(self) -> list[Job]:
        """The jobs that failed, for whatever reason."""
        return [job for job in self.jobs if (one := self.known.get(job.query.id)) is not None and one.state == "failed"]

    def take(self, results: Iterable[Done], clock: Clock, say: Progress) -> None:
        """Save outcomes as they come. Trace and verify run together: their wall-clock time is shared out."""
        begun, traced, verified = time.perf_counter(), 0.0, 0.0
        for done in results:
            name = done.outcome.query.id
            if done.outcome.reason != MISSING or name not in self.known:  # what is known already is no worse
                self.run.ledger.save_outcome(done.outcome, self.digests[name])
                self.known[name] = done.outcome
            traced += done.trace_seconds
            verified += done.verify_seconds
            say.advance()
        wall, share = time.perf_counter() - begun, traced / max(traced + verified, 1e-9)
        clock.seconds |= {"trace": wall * share, "verify": wall * (1 - share)}

    def outcomes(self) -> list[Outcome]:
        """How the jobs ended, in their order; those that were not worked on are left out."""
        return [self.known[job.query.id] for job in self.jobs if job.query.id in self.known]


def finish(work: Work, todo: Sequence[Job], clock: Clock, say: Progress) -> None:
    """Trace and verify what is to be done; a model is asked where the recipe has one."""
    say.stage("trace and verify", len(todo))
    if settled := len(work.jobs) - len(todo):
        say.note(f"{settled} of {len(work.jobs)} queries are settled already")
    work.take(drive(todo, work.run, say) if todo else (), clock, say)
    if todo:
        work.run.ledger.set_setting("seconds", json.dumps(clock.seconds))


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
        return release(outcomes, run, source, index, clock, say)


def release(
    outcomes: Sequence[Outcome], run: Run, source: Source, index: Index, clock: Clock, say: Progress
) -> Summary:
    """Write dataset, report and the list of failures."""
    with clock.stage("publish"):
        say.stage("publish")
        published = publish(outcomes, publish_context(run, source, index), run.directory)
        write_failures(run.directory, outcomes)
    return Summary(run.directory, published, clock.seconds)


def plan_jobs(run: Run, source: Source, clock: Clock, say: Progress) -> tuple[Index, list[Job], list[Outcome]]:
    """Index and mine: the jobs, and the outcomes of what the index skipped."""
    with clock.stage("index"):
        say.stage("index")
        index = ensure_index(source, run.index)
    queries, skipped = select(index, run.recipe.limit)
    for outcome in skipped:
        run.ledger.save_outcome(outcome, "skipped")
    with clock.stage("mine"):
        say.stage("mine", len(queries))
        jobs = [Job(query, mine_query(query, index, run.recipe.mining, run.recipe.budget)) for query in queries]
    return index, jobs, skipped


def build(
    recipe: Recipe,
    directory: Path,
    progress: Progress | None = None,
    *,
    update: bool = False,
    only_failed: bool = False,
) -> Summary:
    """Build the run in `directory`, or go on with it, and publish what it holds.

    `update` goes on with other settings than it was made with, and says what changes and how many requests that takes.
    `only_failed` tries again what failed, for whatever reason, and nothing else.
    """
    say = progress or Silent()
    clock = Clock()
    with open_run(directory, recipe, update=update) as run:
        with clock.stage("source"):
            say.stage("source")
            source = open_recipe_source(recipe, run.source_root)
        index, jobs, skipped = plan_jobs(run, source, clock, say)
        if run.changes:
            tell_changes(run, jobs, say)
        work = Work.of(jobs, index, run)
        todo = work.failed() if only_failed else work.unsettled()
        if only_failed and (open_ := len(jobs) - len(work.known)):
            say.note(f"{open_} queries were not worked on yet, and are left out: build without --only-failed")
        finish(work, todo, clock, say)
        return release([*skipped, *work.outcomes()], run, source, index, clock, say)


def tell_changes(run: Run, jobs: Sequence[Job], say: Progress) -> None:
    """Say which settings changed, and what it takes."""
    for change in run.changes:
        say.note(f"changed  {change}")
    if run.recipe.asks_a_model:
        place = Workplace(run.recipe, run.source_root, run.index, answers=run.ledger.path)
        wanted = need(jobs, place, cores(run.recipe))
        cost = usual_cost(wanted.missing, run.ledger, run.recipe.teacher)
        about = "" if cost is None else f": about {cost:.2f}, by what the answers so far cost"
        say.note(f"{wanted.missing} of {wanted.requests} requests are not in the ledger yet{about}")


def rebuild(directory: Path, assignments: Iterable[str] = (), progress: Progress | None = None) -> Summary:
    """Make everything again from the ledger's answers, with some settings changed; nothing is sent or paid.

    A query that lacks an answer keeps the outcome it has with these settings, or fails as `not-in-ledger`.
    """
    say = progress or Silent()
    clock = Clock()
    recipe = changed_recipe(run_recipe(directory), assignments, directory / "recipe.yaml")
    with open_run(directory, recipe, update=True) as run:
        source = open_source(recipe.source.name, run.source_root, recipe.source.split)
        index, jobs, skipped = plan_jobs(run, source, clock, say)
        for change in run.changes:
            say.note(f"changed  {change}")
        work = Work.of(jobs, index, run)
        say.stage("trace and verify", len(jobs))
        missing: list[str] = []
        work.take(_noting(replay(jobs, run, cores(recipe)) if jobs else (), missing), clock, say)
        for name in sorted(missing):
            say.note(f"{name}: an answer is missing in the ledger")
        if missing:
            say.note(f"{len(missing)} of {len(jobs)} queries lack answers; vtscot build asks for them")
        return release([*skipped, *work.outcomes()], run, source, index, clock, say)


def _noting(results: Iterable[Done], missing: list[str]) -> Iterator[Done]:
    for done in results:
        if done.outcome.reason == MISSING:
            missing.append(done.outcome.query.id)
        yield done
