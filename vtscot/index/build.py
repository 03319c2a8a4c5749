"""Builds an index: one pass over the annotations, every track measured on its RLE, every query judged.

A query is skipped, with the kind of the fault as the reason, where its video, its expression or one of its target
tracks cannot be used. A broken track that is nobody's target is left out of its video's objects and noted.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from vtscot import masks
from vtscot.errors import DataError, MaskError
from vtscot.files import whole_file, write_text
from vtscot.index.store import MASKS, TRACKS, TrackWriter
from vtscot.index.tables import FORMAT, Index, IndexedVideo, open_index, read_head, source_digest, write_lines
from vtscot.masks import Rle
from vtscot.records import Query, Video
from vtscot.sources.base import Fault, RawEntry, RawMask, RawTrack, Source
from vtscot.sources.expressions import fault_of

Size = tuple[int, int]  # (height, width)
Seen = tuple[Size | None, int, bool]  # of a track: size (None without any mask), frames, ever visible


def build_index(source: Source, directory: Path, *, check_frames: bool = True) -> Index:
    """Read all of `source` once and write the index to `directory`, replacing what is there.

    `check_frames`: also see that every frame is on disk and has the size of the masks. DataError where the
    annotation files cannot be read at all; whatever else is wrong ends in `faults`.
    """
    try:
        write_index(source, directory, check_frames=check_frames)
    except OSError as error:
        raise DataError(f"{directory}: the index cannot be written ({error.strerror or error})") from None
    return open_index(directory)


def ensure_index(source: Source, directory: Path, *, check_frames: bool = True) -> Index:
    """The index in `directory` if it is of these annotation files and this version; else built anew."""
    try:
        head = read_head(directory)
        if head["digest"] == source_digest(source, check_frames=check_frames):
            return open_index(directory)
    except DataError:
        pass  # absent or of another version: built anew
    return build_index(source, directory, check_frames=check_frames)


def write_index(source: Source, directory: Path, *, check_frames: bool) -> None:
    """Write all files of the index; `index.json` goes first and comes last, so that a half-made index is none."""
    (directory / "index.json").unlink(missing_ok=True)
    videos = {video.name: video for video in source.videos()}
    queries = list(source.queries())
    expressions = list(source.expressions())
    named = _named(videos, expressions)
    video_faults = _inspect(source, videos) if check_frames else []
    wanted = {anno_id for annos in named.values() for anno_id in annos}
    with whole_file(directory / MASKS) as file, TrackWriter(file) as writer:
        tracks, track_faults = _read_tracks(source, wanted, writer)
    faults = [*source.faults, *video_faults, *track_faults]
    judge = _Judge(videos, named, tracks, faults, source.has_masks)
    writer.write_table(directory / TRACKS, judge.sizes)
    reasons = [(query, judge.reason(query)) for query in queries]
    write_lines(directory / "videos.jsonl", judge.entries())
    write_lines(directory / "expressions.jsonl", expressions)
    skips = [fault_of(query, *reason) for query, reason in reasons if reason is not None]
    write_lines(directory / "faults.jsonl", [*faults, *judge.notes, *skips])
    digest = source_digest(source, check_frames=check_frames)
    head = {"digest": digest, "format": FORMAT, "source": source.name, "split": source.split}
    write_text(directory / "index.json", json.dumps(head, indent=2, sort_keys=True) + "\n")


def _inspect(source: Source, videos: dict[str, Video]) -> list[Fault]:
    """Fill in the size of the frames of all videos; what is wrong with their frames."""
    faults = []
    for name, video in videos.items():
        videos[name], found = source.inspect(video)
        faults += found
    return faults


def _named(videos: dict[str, Video], queries: list[Query]) -> dict[str, tuple[str, ...]]:
    """anno_ids per video in the order in which its expressions, usable or not, name them."""
    named: dict[str, dict[str, None]] = {name: {} for name in videos}
    for query in queries:
        named.get(query.video, {}).update(dict.fromkeys(query.anno_ids))
    return {name: tuple(annos) for name, annos in named.items()}


def _read_tracks(source: Source, wanted: set[str], writer: TrackWriter) -> tuple[dict[str, Seen], list[Fault]]:
    """Measure and write every wanted track that is valid; a fault for each that is not."""
    tracks: dict[str, Seen] = {}
    faults = []
    for anno_id, entries in source.tracks(wanted):
        try:
            size, counts = _counts(entries)
            measured = masks.measure(counts, *(size or (1, 1)))
            if not measured.valid.all():
                raise _FrameError(int(measured.valid.argmin()), "its counts are no RLE of the size it states")
        except MaskError as error:
            frame = error.frame if isinstance(error, _FrameError) else None
            faults.append(Fault("mask-invalid", str(error), anno_id=anno_id, frame=frame))
            continue
        writer.add(anno_id, size, counts, measured)
        tracks[anno_id] = (size, len(counts), bool(measured.areas.any()))
    return tracks, faults


class _FrameError(MaskError):
    def __init__(self, frame: int, message: str) -> None:
        super().__init__(f"frame {frame}: {message}")
        self.frame = frame


def _counts(entries: RawTrack) -> tuple[Size | None, list[bytes | None]]:
    """The one size of a track's masks and their compressed counts, unchecked but for what had to be converted."""
    found = [e if e is None or type(e) is RawMask else _united(i, e) for i, e in enumerate(entries)]
    sizes = {mask.size for mask in found if mask is not None}
    if len(sizes) > 1:
        known = [(mask.size, i) for i, mask in enumerate(found) if mask is not None]
        other, frame = next((size, i) for size, i in known if size != known[0][0])
        raise _FrameError(frame, f"a mask of {other} among masks of {known[0][0]} (height, width)")
    counts = [
        None if mask is None else mask.counts.encode() if type(mask.counts) is str else _packed(frame, mask)
        for frame, mask in enumerate(found)
    ]
    return (sizes.pop() if sizes else None), counts


def _united(frame: int, entry: RawEntry) -> RawMask | None:
    """Several RLEs of one frame as one; None for an empty list."""
    parts = entry if isinstance(entry, list) else []
    try:
        rles = [Rle.from_coco({"size": list(part.size), "counts": part.counts}) for part in parts]
        union = masks.union(rles) if rles else None
    except MaskError as error:
        raise _FrameError(frame, str(error)) from None
    return RawMask(union.size, union.counts.decode("ascii")) if union else None


def _packed(frame: int, mask: RawMask) -> bytes:
    """Compressed counts of an RLE that lists its runs."""
    try:
        return Rle.from_coco({"size": list(mask.size), "counts": mask.counts}).counts
    except MaskError as error:
        raise _FrameError(frame, str(error)) from None


class _Judge:
    """Decides which tracks of a video and which queries can be used."""

    def __init__(
        self,
        videos: dict[str, Video],
        named: dict[str, tuple[str, ...]],
        tracks: dict[str, Seen],
        faults: list[Fault],
        has_masks: bool,
    ) -> None:
        self.videos = videos
        self.named = named
        self.tracks = tracks
        self.has_masks = has_masks
        self.broken_videos: dict[str, Fault] = {}
        self.broken_tracks: dict[str, Fault] = {}
        for fault in faults:
            if fault.fatal and fault.anno_id is not None:
                self.broken_tracks.setdefault(fault.anno_id, fault)
            elif fault.fatal and fault.exp_id is None and fault.video is not None:
                self.broken_videos.setdefault(fault.video, fault)
        self.sizes: dict[str, Size] = {}  # of tracks without any mask, by what their video says
        self.notes: list[Fault] = []
        self.unusable: dict[tuple[str, str], Fault] = {}  # (video, anno_id)
        for name, video in videos.items() if has_masks else ():
            self._check_tracks(name, video)

    def entries(self) -> list[IndexedVideo]:
        """Videos with the objects that can be used."""
        return [
            IndexedVideo(video=video, objects=tuple(a for a in self.named[name] if self._usable(name, a)))
            for name, video in self.videos.items()
        ]

    def reason(self, query: Query) -> tuple[str, str] | None:
        """(kind, detail) of what rules the query out, or None."""
        fault = self.broken_videos.get(query.video)
        if fault:
            return fault.kind, fault.detail
        if not self.has_masks:
            return "no-masks", "the split comes without masks: its ground truth is held out"
        for anno_id in query.anno_ids:
            fault = self.unusable.get((query.video, anno_id))
            if fault:
                return fault.kind, f"target {anno_id}: {fault.detail}"
        if query.anno_ids and not any(self.tracks[anno_id][2] for anno_id in query.anno_ids):
            return "never-visible", "its targets are in no frame of the video"
        return None

    def _usable(self, video: str, anno_id: str) -> bool:
        return self.has_masks and (video, anno_id) not in self.unusable

    def _check_tracks(self, name: str, video: Video) -> None:
        size, said_by = self._size(name, video)
        for anno_id in self.named[name]:
            fault = self._track_fault(anno_id, video, size, said_by)
            if fault:
                self.unusable[name, anno_id] = replace(fault, video=name)
                if anno_id not in self.broken_tracks:
                    self.notes.append(replace(fault, video=name))
            elif size and self.tracks[anno_id][0] is None:
                self.sizes[anno_id] = size

    def _size(self, name: str, video: Video) -> tuple[Size | None, str]:
        """The size the masks of a video must have: that of its frames, or else of most of its tracks."""
        if video.height and video.width:
            return (video.height, video.width), "the frames have"
        known = (self.tracks[anno][0] for anno in self.named[name] if anno in self.tracks)
        counted = Counter(size for size in known if size)
        return (counted.most_common(1)[0][0] if counted else None), "most tracks of the video have"

    def _track_fault(self, anno_id: str, video: Video, size: Size | None, said_by: str) -> Fault | None:
        if anno_id in self.broken_tracks:
            return self.broken_tracks[anno_id]
        if anno_id not in self.tracks:
            return Fault("unknown-anno", "no masks are given for it", anno_id=anno_id)
        own, frames, _ = self.tracks[anno_id]
        if frames != len(video.frames):
            return Fault("mask-length", f"{frames} masks for {len(video.frames)} frames", anno_id=anno_id)
        if size is None:
            return Fault("never-visible", "no frame of the video has any mask", anno_id=anno_id)
        if own not in (None, size):
            detail = f"masks of {own} where {said_by} {size} (height, width)"
            return Fault("mask-size", detail, anno_id=anno_id)
        return None
