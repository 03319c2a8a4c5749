"""The stages once more from the answers of a ledger: nothing is sent, what is missing is counted.

Everything is arithmetic then, so the work goes to processes; each reads the ledger for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vtscot.drivers import Workplace, in_processes
from vtscot.endpoint.price import Tokens, price
from vtscot.endpoint.settings import EndpointSettings
from vtscot.episode import observations
from vtscot.ledger import Ledger
from vtscot.recipe import Recipe
from vtscot.records import Observation
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


def need(jobs: Sequence[Job], place: Workplace, workers: int) -> Need:
    """What it would take to finish the jobs at a place with answers; masks are not made, so it is quick."""
    boxes = place.recipe.verify.model_copy(update={"segmenter": "box"})
    quick = replace(place, recipe=place.recipe.model_copy(update={"verify": boxes}))
    return sum(in_processes(jobs, quick, workers, _probe), Need(0, 0))


def sent_for(recipe: Recipe, observation: Observation) -> dict[str, int]:
    """Requests and images that one turn costs: the teacher's questions, every frame once, and what verifies it."""
    requests = images = 0
    if recipe.teacher.name == "openai":
        requests, images = 1 if recipe.teacher.mode == "single" else 3, len(observation.frames)
    if recipe.verify.grounder == "openai":
        requests, images = requests + 1, images + 1
    if recipe.verify.judge == "openai":
        requests += 1
    return {"requests": requests * recipe.teacher.n_best, "images": images * recipe.teacher.n_best}


def usual_cost(requests: int, ledger: Ledger, settings: EndpointSettings) -> float | None:
    """What so many requests cost if they cost what those of the ledger did; None without prices or answers."""
    usage = ledger.usage()
    if not usage.answers:
        return None
    each = Tokens(usage.input_tokens, usage.output_tokens)
    whole = price(each, settings, batch=settings.batch)
    return None if whole is None else whole * requests / usage.answers


async def _probe(job: Job, tools: Tools) -> Need:
    planned = sum(sent_for(tools.recipe, seen)["requests"] for seen in observations(job.plan, tools.recipe.budget))
    if tools.client is None:
        return Need(planned, 0)
    stats = tools.client.stats
    before = stats.from_ledger - stats.unusable
    outcome = (await process(job, tools)).outcome
    found = stats.from_ledger - stats.unusable - before
    return Need(planned, max(1, planned - found) if outcome.reason == MISSING else 0)
