"""The data engine: source -> index -> mine -> trace -> verify -> publish, put together in one place.

Every query of the source ends in exactly one state. A second build of the same run does what is missing: finished
outcomes are taken from the ledger, failures that may pass are tried again. `rebuild` makes everything again from the
answers of the ledger and sends nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vtscot import __version__
from vtscot.drivers import Workplace
from vtscot.errors import UsageError
from vtscot.index import Index, ensure_index
from vtscot.progress import Progress, Silent
from vtscot.prompts import prompts_digest
from vtscot.publish import PublishContext, Published, publish
from vtscot.publish.figures import Figures
from vtscot.raw import RawAnswers
from vtscot.recipe import Recipe, changed_recipe
from vtscot.records import Outcome, Query
from vtscot.replay import need, replay, usual_cost
from vtscot.run import Run, open_run, reopen_run, run_recipe, write_failures
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.stages import MISSING, Done, Job, mine_query
from vtscot.work import Clock, Work, cores, finish


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
        answers=RawAnswers(run.ledger, run.recipe.teacher.asks()),
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
