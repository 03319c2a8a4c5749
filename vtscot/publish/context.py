"""What publishing needs besides the outcomes, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtscot.publish.figures import Figures
from vtscot.records import Query

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.sources.base import Licence
    from vtscot.tracks import MaskTrack


@dataclass(frozen=True)
class RawAnswer:
    """One stored answer of a teacher, as it came: which question of which turn it answers, and the how many-th try."""

    turn: int
    question: str
    attempt: int
    body: str


def no_answers(query: Query) -> Sequence[RawAnswer]:
    """What a teacher that asks no model leaves behind."""
    return ()


@dataclass(frozen=True)
class PublishContext:
    """Where frames and masks come from, under which licence, and what made the outcomes.

    `licences` is by source name, `frames` by video id (`source/split/video`); `tracks` gives the union of the query's
    targets, None for a query without target or a source without masks. `settings` is the resolved recipe as plain
    data, nested or with dotted keys. `answers` gives what a teacher answered about a query, for the report alone;
    `boxes` is False where groundings come from rows, which do not hold what the grounder pointed at.
    """

    licences: Mapping[str, Licence]
    frames: Callable[[str], Frames]
    tracks: Callable[[Query], MaskTrack | None]
    settings: Mapping[str, object]
    seconds: Mapping[str, float]
    prompts: str
    version: str
    teacher: str
    answers: Callable[[Query], Sequence[RawAnswer]] = no_answers
    boxes: bool = True


@dataclass(frozen=True)
class Published:
    """Where the dataset and the report are, and the figures that both of them show."""

    dataset: Path
    report: Path
    files: tuple[Path, ...]  # of the dataset, relative to it
    figures: Figures
