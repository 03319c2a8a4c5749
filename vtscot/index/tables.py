"""The index of a split: its annotations read once, checked, and stored so that every later stage reads tables.

`videos.jsonl`, `expressions.jsonl`, `faults.jsonl`, `tracks.parquet`, `masks.parquet` and, written last, `index.json`
with a digest of the annotation files by which a stale index is told. (SHA-256 of 400 MB takes a quarter of a second;
unlike a modification time it survives copies and is the same on every machine.)
Every expression of the annotation files is in `queries` or in `skipped`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vtscot.errors import DataError
from vtscot.files import write_bytes
from vtscot.index.store import TrackStore
from vtscot.records import Frozen, Query, Video
from vtscot.sources.base import Fault, Source
from vtscot.tracks import MaskTrack, TrackTable

FORMAT = 1
_FAULTS = TypeAdapter(Fault)


class IndexedVideo(Frozen):
    """A video and the objects whose tracks can be used, in the order in which its expressions name them."""

    video: Video
    objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """What is known of a split. Areas and boxes are in memory; masks are read when they are asked for.

    Queries come video by video, and several ask for the same objects: the tracks read last are remembered.
    """

    directory: Path
    source: str
    split: str
    digest: str
    entries: tuple[IndexedVideo, ...]
    expressions: tuple[Query, ...]
    faults: tuple[Fault, ...]
    store: TrackStore

    @cached_property
    def videos(self) -> dict[str, Video]:
        """Videos by name, in the order of the file."""
        return {entry.video.name: entry.video for entry in self.entries}

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """The expressions that can be worked on, in the order of the file."""
        skipped = {query.id for query, _, _ in self.skipped}
        return tuple(query for query in self.expressions if query.id not in skipped)

    @cached_property
    def skipped(self) -> tuple[tuple[Query, str, str], ...]:
        """(query, reason, detail) of every expression that cannot be used."""
        return tuple((fault.query, fault.kind, fault.detail) for fault in self.faults if fault.query and fault.fatal)

    def objects(self, video_name: str) -> tuple[str, ...]:
        """anno_ids of the video whose tracks can be used."""
        return self._objects.get(video_name, ())

    def others(self, query: Query) -> tuple[str, ...]:
        """anno_ids of the other objects of the query's video, sorted.

        What stands behind an `@` in an anno_id is a stretch of time: tracks of a target at another time are left out.
        """
        targets = {anno_id.partition("@")[0] for anno_id in query.anno_ids}
        return tuple(sorted(name for name in self.objects(query.video) if name.partition("@")[0] not in targets))

    def table(self, anno_id: str) -> TrackTable:
        """Area and box per frame of one track, as views into the index; DataError for an unknown track."""
        return self.store.table(anno_id)

    def tables(self) -> Iterator[tuple[str, TrackTable]]:
        """(anno_id, table) of all tracks, in the order of the annotation file."""
        return ((anno_id, self.store.table(anno_id)) for anno_id in self.store.rows)

    def video_tables(self, video_name: str) -> dict[str, TrackTable]:
        """Tables of all usable objects of a video."""
        return {anno_id: self.store.table(anno_id) for anno_id in self.objects(video_name)}

    def track(self, anno_id: str) -> MaskTrack:
        """The masks of one track, read from disk; DataError for an unknown track."""
        return self._track(anno_id)

    def target(self, query: Query) -> MaskTrack | None:
        """The union of a query's target masks, read from disk; None where it means nothing in the video."""
        return self._union(query.anno_ids) if query.anno_ids else None

    @cached_property
    def _track(self) -> Callable[[str], MaskTrack]:
        return lru_cache(maxsize=64)(self.store.track)

    @cached_property
    def _union(self) -> Callable[[tuple[str, ...]], MaskTrack]:
        track = self._track  # not `self`: the index would hold itself until the garbage collector comes by
        return lru_cache(maxsize=8)(lambda names: MaskTrack.merge([track(name) for name in names]))

    @cached_property
    def _objects(self) -> dict[str, tuple[str, ...]]:
        return {entry.video.name: entry.objects for entry in self.entries}

    def __reduce__(self) -> tuple[Any, ...]:
        return open_index, (self.directory,)  # a worker process reads the files: nothing large is pickled


def open_index(directory: Path) -> Index:
    """Open what `build_index` wrote. DataError where it is absent, broken or of another version."""
    head = read_head(directory)
    try:
        entries = tuple(IndexedVideo.model_validate_json(line) for line in _lines(directory / "videos.jsonl"))
        expressions = tuple(Query.model_validate_json(line) for line in _lines(directory / "expressions.jsonl"))
        faults = tuple(_FAULTS.validate_json(line) for line in _lines(directory / "faults.jsonl"))
    except ValidationError as error:
        raise DataError(f"{directory}: the index is broken ({error.title}); delete it to build it anew") from None
    store = TrackStore(directory)
    return Index(directory, head["source"], head["split"], head["digest"], entries, expressions, faults, store)


def source_digest(source: Source, *, check_frames: bool) -> str:
    """SHA-256 over the names and contents of the annotation files, the source, the split and the version."""
    head = json.dumps([FORMAT, source.name, source.split, check_frames])
    total = hashlib.sha256(head.encode())
    for path in source.files():
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        total.update(f"\n{path.name} {content}".encode())
    return total.hexdigest()


def write_lines(path: Path, rows: Iterable[Frozen | Fault]) -> None:
    """Write records as JSON lines."""
    lines = (_FAULTS.dump_json(row) if isinstance(row, Fault) else row.model_dump_json().encode() for row in rows)
    write_bytes(path, b"".join(line + b"\n" for line in lines))


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); delete the index to build it anew"
        ) from None


def read_head(directory: Path) -> dict[str, str]:
    path = directory / "index.json"
    try:
        head = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{directory}: no index is here; build it with vtscot index") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete the index to build it anew") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DataError(f"{path}: made by another version of vtscot; delete the index to build it anew")
    return head
