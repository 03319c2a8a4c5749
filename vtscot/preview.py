"""A few traces before money is spent: some queries of a run, taken evenly, traced and verified for good.

Their answers and outcomes are in the run's ledger afterwards, so the build that follows does not pay for them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtscot.build import open_recipe_source, plan_jobs
from vtscot.endpoint.price import spent_before
from vtscot.progress import Progress
from vtscot.recipe import Recipe
from vtscot.records import Outcome
from vtscot.run import Run, open_run
from vtscot.work import Clock, Work, drive


@dataclass(frozen=True)
class Preview:
    """The outcomes, what the run has cost so far, and what all of it should cost; None where nothing tells."""

    outcomes: tuple[Outcome, ...]
    queries: int
    spent: float | None
    projected: float | None

    def json(self) -> dict[str, Any]:
        """What `vtscot preview --json` prints."""
        return {
            "traces": [outcome.model_dump(mode="json") for outcome in self.outcomes],
            "queries": self.queries,
            "spent": self.spent,
            "projected": self.projected,
        }


def preview(recipe: Recipe, directory: Path, count: int, say: Progress) -> Preview:
    """Trace and verify `count` queries of the run in `directory`; nothing is published."""
    clock = Clock()
    with open_run(directory, recipe) as run:
        source = open_recipe_source(recipe, run.source_root)
        index, jobs, _ = plan_jobs(run, source, clock, say)
        some = [jobs[i * len(jobs) // min(count, len(jobs))] for i in range(min(count, len(jobs)))]
        work = Work.of(some, index, run)
        todo = work.unsettled()
        say.stage("trace and verify", len(todo))
        work.take(drive(todo, run, say) if todo else (), clock, say)
        outcomes = tuple(work.outcomes())
        spent = _spent(run)
        done = len(Work.of(jobs, index, run).known)
        return Preview(outcomes, len(jobs), spent, spent / done * len(jobs) if spent is not None and done else None)


def _spent(run: Run) -> float | None:
    """What the answers of the ledger have cost; None without prices."""
    settings = run.recipe.teacher
    return None if settings.input_price is None else spent_before(run.ledger.usage(), settings)
