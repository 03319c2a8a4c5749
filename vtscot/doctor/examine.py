"""The examination of one split: the faults of its index, then what only files and pixels can tell, video by video.

Nothing of the dataset is changed; the index is built in a folder of the caller. Videos are looked at in processes of
their own where there are workers, and the report does not depend on how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtscot.doctor.alignment import find_misfit
from vtscot.doctor.files import cannot_open, frame_findings
from vtscot.doctor.findings import Finding, Report, from_fault, ordered
from vtscot.doctor.scene import Scene
from vtscot.doctor.text import odd_text
from vtscot.errors import FrameError
from vtscot.frames import Frames
from vtscot.index import Index, build_index, open_index
from vtscot.processes import processes
from vtscot.progress import Progress, Silent
from vtscot.records import Query, Video
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source

HELD_OUT = "no-masks"  # the index skips all queries of a split whose ground truth is held out: no fault of the data


def examine(
    source: Source,
    directory: Path,
    *,
    deep: bool = False,
    limit: int | None = None,
    root: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Look for everything that is wrong with a split.

    The index goes to `directory`. `deep`: decode every frame. `limit`: only the first so many videos. More than one
    worker needs the `root` from which each opens the source for itself.
    """
    say = progress or Silent()
    say.stage("index")
    index = build_index(source, directory)
    names = _names(index)[:limit]
    chosen = set(names)
    owners = {anno: query.video for query in index.expressions for anno in query.anno_ids}
    said = [from_fault(fault, owners) for fault in index.faults if fault.kind != HELD_OUT]
    broken = {found.video for found in said if found.fatal and not found.exp_id and not found.anno_id}
    todo = [name for name in names if name in index.videos and name not in broken]
    say.stage("examine", len(todo))
    findings = [found for found in said if found.video is None or found.video in chosen]
    for batch in _batches(todo, _Room(source, index, deep), root, workers):
        findings += batch
        say.advance()
    queries = [query for query in index.expressions if query.video in chosen]
    findings += _held_out(index)
    return Report(
        source.name, source.split, len(names), len(queries), _lost(queries, findings), ordered(findings, names)
    )


def _names(index: Index) -> list[str]:
    """All videos the annotation files speak of, usable or not, in a stable order."""
    seen = [*index.videos, *(query.video for query in index.expressions), *(f.video for f in index.faults if f.video)]
    return list(dict.fromkeys(seen))


def _held_out(index: Index) -> list[Finding]:
    count = sum(reason == HELD_OUT for _, reason, _ in index.skipped)
    detail = f"the ground truth of this split is held out: {count} queries cannot be built from, only predicted"
    return [Finding(HELD_OUT, detail)] if count else []


def _lost(queries: Sequence[Query], findings: Sequence[Finding]) -> int:
    fatal = [found for found in findings if found.fatal]
    videos = {found.video for found in fatal if found.exp_id is None and found.anno_id is None}
    expressions = {(found.video, found.exp_id) for found in fatal if found.exp_id is not None}
    return sum(query.video in videos or (query.video, query.exp_id) in expressions for query in queries)


@dataclass(frozen=True)
class _Room:
    """What one process needs to look at a video."""

    source: Source
    index: Index
    deep: bool

    def examine(self, name: str) -> list[Finding]:
        """What files and pixels tell about one video."""
        video = self.index.videos[name]
        found = [*self._texts(name), *self._unseen(name)]
        try:
            frames = self.source.frames(video)
        except FrameError as error:
            return [*found, cannot_open(error, name)]
        files = list(frame_findings(frames, name, deep=self.deep))
        found += files
        return found if any(one.fatal for one in files) else [*found, *self._misfits(video, frames)]

    def _texts(self, name: str) -> Iterator[Finding]:
        for query in self.index.expressions:
            if query.video == name and (oddity := odd_text(query.expression)):
                yield Finding("odd-text", oddity, name, query.exp_id)

    def _unseen(self, name: str) -> Iterator[Finding]:
        """Targets in no frame, of queries that can be used all the same: others of their targets are seen."""
        targets = dict.fromkeys(a for query in self.index.queries if query.video == name for a in query.anno_ids)
        for anno_id in targets:
            if not self.index.table(anno_id).visible.any():
                yield Finding("never-visible", "it is in no frame of the video", name, anno_id=anno_id)

    def _misfits(self, video: Video, frames: Frames) -> Iterator[Finding]:
        objects = self.index.objects(video.name)
        if not objects or not video.width or not video.height:
            return
        scene = Scene(frames, video.width, video.height)
        for anno_id in objects:
            misfit = find_misfit(self.index.track(anno_id), self.index.table(anno_id), scene)
            if misfit is not None:
                sure = round(misfit.confidence, 2)
                yield Finding("misaligned", str(misfit), video.name, anno_id=anno_id, confidence=sure)


def _batches(names: Sequence[str], room: _Room, root: Path | None, workers: int) -> Iterator[list[Finding]]:
    """Findings per video, in the order of `names`."""
    if workers == 1 or root is None or len(names) < 2:
        yield from map(room.examine, names)
        return
    settings = (room.source.name, root, room.source.split, room.index.directory, room.deep)
    with processes(min(workers, len(names)), _prepare, *settings) as pool:
        yield from pool.map(_work, names)


_room: _Room | None = None  # of a worker process; set once by `_prepare`


def _prepare(name: str, root: Path, split: str, directory: Path, deep: bool) -> None:
    global _room  # noqa: PLW0603
    import cv2

    cv2.setNumThreads(1)
    _room = _Room(open_source(name, root, split), open_index(directory), deep)


def _work(name: str) -> list[Finding]:
    if _room is None:
        raise RuntimeError("the worker was not prepared")
    return _room.examine(name)
