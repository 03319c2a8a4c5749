"""The ground truth of a split as scores need it: every expression that can be scored, and why others cannot.

Expressions that a build skips for their text (twice the same, too long) are scored like any other, as official scripts
do; those without usable masks cannot be, and are counted with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from vtscot import masks
from vtscot.errors import DataError
from vtscot.evaluation.extras import HasForegrounds
from vtscot.evaluation.predictions import Size
from vtscot.files import whole_file
from vtscot.index import Index, ensure_index
from vtscot.index.store import MASKS, TRACKS, TrackStore, TrackWriter
from vtscot.records import Query, Video
from vtscot.sources.base import RawEntry, Source
from vtscot.tracks import MaskTrack

# What is wrong with the text or with the frames on disk; the masks are as good as any.
HARMLESS: Final = frozenset(
    {
        "ambiguous-expression",
        "duplicate-expression",
        "empty-expression",
        "expression-too-long",
        "frame-broken",
        "frame-missing",
        "never-visible",
    }
)


@dataclass(frozen=True)
class Unscorable:
    """An expression without usable ground truth."""

    query: Query
    reason: str
    detail: str


class Truth:
    """Which expressions of a split can be scored, against masks of which size; `only` these ids, where it is given."""

    def __init__(self, source: Source, index: Index, only: frozenset[str] | None = None) -> None:
        self.source = source
        self.index = index
        self.only = only
        self._faults = {query.id: (kind, detail) for query, kind, detail in reversed(index.skipped)}

    @cached_property
    def unscorable(self) -> tuple[Unscorable, ...]:
        """Expressions that cannot be scored, whether asked for or not, in the order of the file."""
        found = ((query, self._problem(query)) for query in self.index.expressions)
        return tuple(Unscorable(query, *problem) for query, problem in found if problem)

    @cached_property
    def object_ids(self) -> dict[str, set[str]]:
        """The object ids that the expressions of each video name."""
        found: dict[str, set[str]] = {}
        for query in self.index.expressions:
            found.setdefault(query.video, set()).update(query.object_ids)
        return found

    def by_video(self) -> Iterator[tuple[Video, list[tuple[int, Query]]]]:
        """Videos in order with the (position in the file, expression) that can be scored."""
        out = {entry.query.id for entry in self.unscorable}
        grouped: dict[str, list[tuple[int, Query]]] = {name: [] for name in self.index.videos}
        for position, query in enumerate(self.index.expressions):
            if query.id not in out and (self.only is None or query.id in self.only):
                grouped[query.video].append((position, query))
        return ((self.index.videos[name], queries) for name, queries in grouped.items() if queries)

    def size(self, video: Video, query: Query) -> Size | None:
        """The size a prediction must have: that of the target, else of the video's other masks, else of its frames."""
        for anno_id in (*query.anno_ids, *self.index.objects(video.name)):
            size = self.index.store.sizes[self.index.store.row(anno_id)]
            if size != (0, 0):
                return size
        if not (video.height and video.width):
            video, _ = self.source.inspect(video)
        return (video.height, video.width) if video.height and video.width else None

    def _problem(self, query: Query) -> tuple[str, str] | None:
        kind, detail = self._faults.get(query.id, ("", ""))
        if kind and kind not in HARMLESS:
            return kind, detail
        if query.video not in self.index.videos:
            return "no-video", "its video cannot be used"
        store, frames = self.index.store, len(self.index.videos[query.video].frames)
        rows = [store.rows.get(anno_id) for anno_id in query.anno_ids]
        if None in rows:
            return "mask-invalid", "masks of a target are missing or cannot be read"
        wrong = next((store.lengths[row] for row in rows if row is not None and store.lengths[row] != frames), None)
        if wrong is not None:
            return "mask-length", f"{wrong} masks for {frames} frames"
        sizes = {store.sizes[row] for row in rows if row is not None} - {(0, 0)}
        return ("mask-size", f"its targets have masks of {sorted(sizes)} (height, width)") if len(sizes) > 1 else None


class TruthReader:
    """Reads ground-truth masks in the process that scores. Tracks of a few videos are remembered."""

    def __init__(self, index: Path, foregrounds: Path | None) -> None:
        self._track = lru_cache(maxsize=64)(TrackStore(index).track)
        self._foregrounds = TrackStore(foregrounds) if foregrounds else None
        self._foreground = lru_cache(maxsize=4)(self._foregrounds.track) if self._foregrounds else None

    def target(self, anno_ids: tuple[str, ...], frames: int, size: Size) -> MaskTrack:
        """The union of the targets; empty where an expression means nothing in its video."""
        return MaskTrack.merge(self.objects(anno_ids, size) or [_empty(frames, size)])

    def objects(self, anno_ids: tuple[str, ...], size: Size) -> list[MaskTrack]:
        """The targets one by one."""
        return [_sized(self._track(anno_id), size) for anno_id in anno_ids]

    def foreground(self, video: str, others: tuple[str, ...], frames: int, size: Size) -> MaskTrack:
        """All that is annotated in a video: what the set says, else the union of the objects it names."""
        if self._foreground is not None and self._foregrounds is not None and video in self._foregrounds.rows:
            return _sized(self._foreground(video), size)
        return self.target(others, frames, size)


def read_truth(source: Source, directory: Path) -> Truth:
    """Index a split below `directory`, or use the index that is there; DataError where its masks are held out."""
    if not source.has_masks:
        raise DataError(
            f"{source.name} {source.split}: this split comes without masks, its ground truth is held out by a server; "
            f"write the archive for it with: vtscot submit --source {source.name} --split {source.split}"
        )
    return Truth(source, ensure_index(source, directory, check_frames=False))


def write_foregrounds(source: Source, directory: Path) -> Path | None:
    """Store the foreground of every video below `directory`; None where the source has none to give."""
    if not isinstance(source, HasForegrounds):
        return None
    directory.mkdir(parents=True, exist_ok=True)
    with whole_file(directory / MASKS) as file, TrackWriter(file) as writer:
        for video, entries in source.foregrounds():
            track = MaskTrack.from_coco([_plain(entry) for entry in entries])
            size = track.height, track.width
            writer.add(video, size, track.masks, masks.measure(track.masks, *size))
    writer.write_table(directory / TRACKS, {})
    return directory


def within(track: MaskTrack, window: tuple[int, int] | None) -> MaskTrack:
    """The track with nothing outside of frames first to last, both inclusive."""
    if window is None:
        return track
    kept = tuple(counts if window[0] <= i <= window[1] else None for i, counts in enumerate(track.masks))
    return MaskTrack(track.height, track.width, kept)


def at_frames(track: MaskTrack, counted: tuple[int, ...] | None) -> MaskTrack:
    """The counted frames of a track."""
    if counted is None:
        return track
    return MaskTrack(track.height, track.width, tuple(track.masks[i] for i in counted))


def _sized(track: MaskTrack, size: Size) -> MaskTrack:
    """A track without any mask takes the size of its video."""
    return track if (track.height, track.width) != (0, 0) else _empty(len(track), size)


def _empty(frames: int, size: Size) -> MaskTrack:
    return MaskTrack(*size, (None,) * frames)


def _plain(entry: RawEntry) -> object:
    if isinstance(entry, list):
        return [_plain(part) for part in entry]
    return None if entry is None else {"size": list(entry.size), "counts": entry.counts}
