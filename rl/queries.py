"""What the policy is asked in the reinforcement stage: the queries of a split that have masks. Needs no torch.

`--data` names a run of `vtscot build` (all queries of its split, whatever became of their episodes) or a source, which
needs root and split beside it. Queries that mean nothing in their video, or whose target is in no frame, have nothing
to be rewarded for and are left out; so are those whose annotations cannot be used. All are counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vtscot.errors import DataError, FrameError, UsageError
from vtscot.frames import Frames
from vtscot.index import Index, ensure_index
from vtscot.records import Query
from vtscot.run import run_recipe
from vtscot.sources.base import Source
from vtscot.sources.registry import SOURCES, open_source
from vtscot.tracks import MaskTrack


@dataclass(frozen=True, eq=False)
class Task:
    """One query: what is asked about which frames, and where its target is."""

    query: Query
    frames: Frames
    truth: MaskTrack


class Tasks:
    """The queries of a split by number; `left_out` counts the others by reason."""

    def __init__(self, source: Source, index: Index) -> None:
        self.source, self.index = source, index
        skipped = Counter(reason for _, reason, _ in index.skipped)
        usable = [(query, self._lacks(query)) for query in index.queries]
        skipped.update(reason for _, reason in usable if reason)
        self.left_out = dict(sorted(skipped.items()))
        self.queries: Sequence[Query] = tuple(query for query, reason in usable if not reason)
        self.frames = lru_cache(maxsize=32)(lambda video: source.frames(index.videos[video]))
        self._truth = lru_cache(maxsize=256)(index.target)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def ids(self) -> tuple[str, ...]:
        """Query ids in order."""
        return tuple(query.id for query in self.queries)

    def __getitem__(self, i: int) -> Task:
        query = self.queries[i]
        truth = self._truth(query)
        assert truth is not None, "queries without masks are left out"
        return Task(query, self.frames(query.video), truth)

    def check_frames(self) -> None:
        """DataError naming the first query whose video has no frame, or whose first frame cannot be read."""
        for video, query in {query.video: query for query in reversed(self.queries)}.items():
            try:
                count = len(self.frames(video))
                if count:
                    self.frames(video).size(0)
            except FrameError as error:
                raise DataError(f"{query.id}: {error}; repair the video or leave it out") from error
            if not count:
                raise DataError(f"{query.id}: its video has no frames; repair the video or leave it out")

    def _lacks(self, query: Query) -> str | None:
        """Why a query that can be worked on gives no reward."""
        if not query.anno_ids:
            return "no target"
        seen = any(self.index.table(anno_id).visible.any() for anno_id in query.anno_ids)
        return None if seen else "never visible"


def open_tasks(data: str, root: Path | None, split: str | None, scratch: Path) -> Tasks:
    """The queries of a run, or of a source's split, whose index is kept in `scratch`.

    UsageError where neither can be meant; DataError where no query has a mask.
    """
    tasks = Tasks(*_open(data, root, split, scratch))
    if not len(tasks):
        why = ", ".join(f"{count} {reason}" for reason, count in tasks.left_out.items()) or "it is empty"
        raise DataError(f"{data}: no query with masks to be rewarded for ({why})")
    tasks.check_frames()
    return tasks


def _open(data: str, root: Path | None, split: str | None, scratch: Path) -> tuple[Source, Index]:
    run = Path(data)
    if (run / "ledger.sqlite").is_file():
        if root is not None:
            raise UsageError(f"{data} is a run, which knows its source: leave --root out")
        recipe = run_recipe(run)
        place = Path(recipe.source.root or run / "source")
        source = open_source(recipe.source.name, place, split or recipe.source.split)
        same = split in (None, recipe.source.split)
        return source, ensure_index(source, run / "index" if same else scratch)
    if data not in SOURCES:
        raise UsageError(f"{data} is no run of vtscot build and no source; there are {', '.join(SOURCES)}")
    if root is None or split is None:
        raise UsageError(f"--data {data} needs --root and --split, the dataset and which part of it")
    source = open_source(data, root, split)
    if not source.has_masks:
        raise DataError(f"{data} {split}: this split comes without masks; its episodes cannot be rewarded")
    return source, ensure_index(source, scratch)
