"""The stages once more from the answers of a ledger: nothing is sent, what is missing is counted.

Everything is arithmetic then, so the work goes to processes; each reads the ledger for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vtscot.drivers import Workplace, in_processes
from vtscot.episode import observations
from vtscot.run import Run
from vtscot.stages import MISSING, Done, Job, Tools, process


@dataclass(frozen=True)
class Need:
    """Requests that queries take as planned, and how many of them the ledger does not answer yet."""

    requests: int
    missing: int

    def __add__(self, other: Need) -> Need:
        return Need(self.requests + other.requests, self.missing + other.missing)


def replay(jobs: Sequence[Job], run: Run, workers: int) -> Iterator[Done]:
    """Trace and verify the jobs from the ledger; those that lack an answer fail with the reason `MISSING`."""
    place = Workplace(run.recipe, run.source_root, run.index, answers=run.ledger.path)
    yield from in_processes(jobs, place, workers, process)


def need(jobs: Sequence[Job], run: Run, workers: int) -> Need:
    """What it would take to finish the jobs with the run's settings; masks are not made, so it is quick."""
    boxes = run.recipe.verify.model_copy(update={"segmenter": "box"})
    recipe = run.recipe.model_copy(update={"verify": boxes})
    place = Workplace(recipe, run.source_root, run.index, answers=run.ledger.path)
    return sum(in_processes(jobs, place, workers, _probe), Need(0, 0))


async def _probe(job: Job, tools: Tools) -> Need:
    from vtscot.estimate import sent_for

    planned = sum(sent_for(tools.recipe, seen)["requests"] for seen in observations(job.plan, tools.recipe.budget))
    if tools.client is None:
        return Need(planned, 0)
    stats = tools.client.stats
    before = stats.from_ledger - stats.unusable
    outcome = (await process(job, tools)).outcome
    found = stats.from_ledger - stats.unusable - before
    return Need(planned, max(1, planned - found) if outcome.reason == MISSING else 0)
