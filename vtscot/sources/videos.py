"""The `videos` object that the expression files of the field share: frames and expressions per video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtscot.errors import DataError
from vtscot.records import Query, Video
from vtscot.sources.base import Fault
from vtscot.sources.documents import JsonObject
from vtscot.sources.expressions import AnnoId, Read, duplicates, entries, fault_of, read_expression
from vtscot.sources.names import bad_name, encodable, printable


@dataclass(slots=True)
class Annotations:
    """What an expressions file holds, in its order; ids of expressions are unique, whatever the file says.

    `expressions` are all there are, `queries` those that can be used; each of the others has a fatal fault.
    """

    videos: list[Video] = field(default_factory=list)
    expressions: list[Query] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)

    def add(self, read: Read) -> None:
        """Append one expression. The first thing wrong with it is the reason: one fatal fault each."""
        query = self._unique(read.query)
        self.expressions.append(query)
        fatal = next((fault for fault in read.faults if fault.fatal), None)
        if fatal:
            self.faults.append(replace(fatal, query=query, exp_id=query.exp_id))
        else:
            self.queries.append(query)
            self.faults.extend(read.faults)

    def _unique(self, query: Query) -> Query:
        while query.id in self._ids:  # repeated keys; the loop ends, as every turn makes the id longer
            query = query.model_copy(update={"exp_id": f"{query.exp_id}#"})
        self._ids.add(query.id)
        return query


def read_videos(
    path: Path,
    document: JsonObject,
    source: str,
    split: str,
    has_masks: bool,
    *,
    slashes: bool = False,
    anno_id: AnnoId | None = None,
) -> Annotations:
    """Read `document["videos"]`; DataError where it is not an object.

    `slashes`: video keys may hold them. `anno_id` names the tracks where the file names objects only.
    """
    videos = document.get("videos")
    if not isinstance(videos, JsonObject):
        raise DataError(f'{path}: no object under "videos"; is it the file of expressions?')
    found = Annotations()
    for key, body in videos.items():
        video = _video(source, split, key, body)
        fault = _video_fault(video, key, body, slashes)
        if fault:
            _refuse(found, video, body, fault)
        else:
            _read_video(found, video, body, has_masks, anno_id)
    for key, body in videos.repeated:
        video = _video(source, split, key, body)
        note = Fault("duplicate-video", "its key came before: the first stands", video=video.name, fatal=False)
        _refuse(found, video, body, note)
    return found


def bodies(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """(key, body) of all videos that are objects, repeated keys included: for what a dataset says in its own words."""
    videos = document.get("videos")
    if isinstance(videos, JsonObject):
        yield from ((key, body) for key, body in [*videos.items(), *videos.repeated] if isinstance(body, JsonObject))


def entry_objects(listed: object) -> Iterator[JsonObject]:
    """Expressions of a video that are objects, repeated ids included."""
    yield from (entry for _, entry, _ in entries(listed) or () if isinstance(entry, JsonObject))


def _video(source: str, split: str, key: str, body: object) -> Video:
    name = key.encode("utf-8", "replace").decode() or "?"
    frames = body.get("frames") if isinstance(body, dict) else None
    usable = isinstance(frames, list) and all(isinstance(frame, str) and encodable(frame) for frame in frames)
    height, width = (body.get(side) if isinstance(body, dict) else None for side in ("height", "width"))
    sized = type(height) is int and type(width) is int and min(height, width) > 0
    return Video(
        source=source,
        split=split,
        name=name,
        frames=tuple(frames or ()) if usable else (),
        height=height if sized else None,
        width=width if sized else None,
    )


def _read_video(found: Annotations, video: Video, body: JsonObject, has_masks: bool, anno_id: AnnoId | None) -> None:
    found.videos.append(video)
    listed = entries(body.get("expressions"))
    if listed is None:
        found.faults.append(Fault("wrong-type", "its expressions are neither an object nor a list", video=video.name))
        return
    reads = [
        read_expression(video, exp_id, entry, repeated=again, needs_targets=has_masks, anno_id=anno_id)
        for exp_id, entry, again in listed
    ]
    for read in duplicates(reads, keep_all=not has_masks):
        found.add(read)


def _video_fault(video: Video, key: str, body: object, slashes: bool) -> Fault | None:
    if bad_name(key, slashes=slashes):
        return Fault("bad-name", f"video {printable(key)!r} {bad_name(key, slashes=slashes)}", video=video.name)
    if not isinstance(body, JsonObject):
        return Fault("wrong-type", "the video is no object", video=video.name)
    if not video.frames:
        return Fault("no-frames", "its frames are missing, empty or no list of names", video=video.name)
    for i, frame in enumerate(video.frames):
        if bad_name(frame):
            return Fault("bad-name", f"frame {printable(frame)!r} {bad_name(frame)}", video=video.name, frame=i)
    return None


def _refuse(found: Annotations, video: Video, body: object, fault: Fault) -> None:
    """The video as a whole cannot be used: a fault for it, and one for each of its expressions."""
    found.faults.append(fault)
    listed = entries(body.get("expressions")) if isinstance(body, JsonObject) else None
    for exp_id, entry, again in listed or ():
        read = read_expression(video, exp_id, entry, repeated=again, needs_targets=False)
        found.add(Read(read.query, (fault_of(read.query, fault.kind, fault.detail),)))
