"""The jobs of a run driven through trace and verify: what is known of them, what is left, and how it is done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vtscot import processes
from vtscot.drivers import Workplace, in_loop, in_processes
from vtscot.index import Index
from vtscot.progress import Progress
from vtscot.prompts import prompts_digest
from vtscot.recipe import Recipe
from vtscot.records import Outcome
from vtscot.run import Run
from vtscot.segmenter import WEIGHTS
from vtscot.stages import MISSING, Done, Job, process

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


def cores(recipe: Recipe) -> int:
    """Worker processes: as the recipe says, else one per core this process may use, or one that has the weights."""
    if recipe.workers is not None:
        return recipe.workers
    if recipe.verify.segmenter in WEIGHTS:
        return 1  # one copy of the weights
    return processes.cores()


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
