"""Imported records as a dataset's folder like that of a build; verified first, where that is asked for.

Verification is that of a build, offline: the grounder and the segmenter of the recipe, no teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vtscot import __version__
from vtscot.drivers import Workplace, in_processes
from vtscot.errors import FrameError, UsageError
from vtscot.interchange.importing import TEACHER
from vtscot.interchange.items import Copy
from vtscot.prompts import prompts_digest
from vtscot.publish.context import PublishContext
from vtscot.publish.figures import figures
from vtscot.publish.release import write_dataset
from vtscot.recipe import Recipe
from vtscot.records import Episode, Outcome
from vtscot.stages import Job, Tools, grade

_OURS: Final = frozenset({"README.md", "LICENSE.md"})


@dataclass(frozen=True)
class _Adopted(Job):
    """A job whose episode is there already."""

    outcome: Outcome
    episode: Episode


def verified(outcomes: Sequence[Outcome], recipe: Recipe, root: Path, index: Path, workers: int) -> Iterator[Outcome]:
    """The outcomes as the blind verifier sees them, in no particular order; UsageError where it would ask a model."""
    if recipe.asks_a_model:
        raise UsageError("an import is verified offline: set verify.grounder to words and verify.judge to none")
    jobs = [_Adopted(one.query, one.record.plan, one, one.record.episode) for one in outcomes if one.record is not None]
    yield from in_processes(jobs, Workplace(recipe, root, index), workers, _verify)


async def _verify(job: Job, tools: Tools) -> Outcome:
    assert isinstance(job, _Adopted) and job.outcome.record is not None
    try:
        graded = await grade(job.query, job.plan, job.episode, tools)
    except FrameError as error:
        return Outcome(query=job.query, state="failed", reason="frame-unreadable", detail=str(error), retryable=True)
    assert graded.record is not None
    own = job.outcome.record.provenance
    return graded.model_copy(update={"record": graded.record.model_copy(update={"provenance": own})})


def check_place(directory: Path) -> None:
    """UsageError unless a dataset may be put into the place of `directory`: it is new, empty, or one already."""
    if directory.is_file():
        raise UsageError(f"{directory} is a file; choose another --out")
    for path in directory.rglob("*") if directory.is_dir() else ():
        name = path.relative_to(directory)
        ours = name.as_posix() in _OURS or path.suffix == ".parquet" or name.parts[0] == "assets"
        if path.is_symlink() or (path.is_file() and not ours):
            raise UsageError(f"{directory} holds {name}, and is no dataset; choose another --out")


def write_imported(outcomes: Sequence[Outcome], copy: Copy, recipe: Recipe, directory: Path) -> tuple[Path, ...]:
    """Write the dataset; returns its files relative to `directory`."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.query.id)
    videos = {video.id: name for name, video in copy.index.videos.items()}
    context = PublishContext(
        licences={copy.source.name: copy.source.licence},
        frames=lambda video_id: copy.frames(videos[video_id]),
        tracks=copy.index.target,
        settings=recipe.identity(),
        seconds={},
        prompts=prompts_digest(),
        version=__version__,
        teacher=TEACHER,
    )
    return write_dataset(ordered, figures(ordered), context, directory)
