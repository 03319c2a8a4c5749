"""The archive that a benchmark's server takes: one PNG (mode L, 0 and 255) per expression and frame, and no gap.

Same predictions, same bytes: members stand in the order of the annotation file and carry no time.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from vtscot.errors import DataError, UsageError
from vtscot.evaluation.predictions import Asked, Place, Predictions, refusal
from vtscot.files import whole_file
from vtscot.masks import Bools
from vtscot.progress import Progress, Silent
from vtscot.records import Query, Video
from vtscot.sources.base import Source
from vtscot.sources.names import printable
from vtscot.tracks import MaskTrack


@dataclass(frozen=True)
class Server:
    """What a server takes: `prefix` stands before `<video>/<expression>/<frame>.png`.

    `without` names, for a split, the other split whose videos its file holds as well but its server does not take.
    """

    prefix: str = ""
    without: Mapping[str, str] = field(default_factory=dict)


SERVERS: Final = MappingProxyType(
    {"mevis": Server(), "ref-youtube-vos": Server("Annotations/", MappingProxyType({"valid": "test"}))}
)
_SHOWN: Final = 5
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can hold


@dataclass(frozen=True)
class Submission:
    """What was written, and how many predictions were not asked for."""

    path: Path
    expressions: int
    frames: int
    extra: tuple[str, ...]


def server_of(source: str) -> Server:
    """The server of a set; UsageError where it has none."""
    if source not in SERVERS:
        raise UsageError(f"{source} has no server to submit to; sets with one: {', '.join(sorted(SERVERS))}")
    return SERVERS[source]


def submit(
    source: Source,
    predictions: Predictions,
    out: Path,
    progress: Progress | None = None,
    *,
    without: Source | None = None,
) -> Submission:
    """Write the archive for the server of `source`; videos that `without` holds as well are not asked for.

    UsageError for a set without a server; DataError where predictions are missing or not of the frames' size, in
    which case nothing is written.
    """
    server_of(source.name)
    others = {video.name for video in without.videos()} if without is not None else set()
    videos = {video.name: video for video in source.videos()}
    queries = [query for query in source.expressions() if query.video not in others]
    places = _places(source, predictions, queries, videos)
    say = progress or Silent()
    say.stage("submit", len(queries))
    frames = 0
    with whole_file(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for query, place in zip(queries, places, strict=True):
            frames += _write(archive, source, predictions, videos, query, place)
            say.advance()
    extra = tuple(predictions.others({(query.video, query.exp_id) for query in queries}, ()))
    return Submission(out, len(queries), frames, extra)


def _places(source: Source, predictions: Predictions, queries: list[Query], videos: dict[str, Video]) -> list[Place]:
    """Where each prediction is; DataError where some are missing, or a video cannot be used."""
    unusable = [f"{q.video}/{q.exp_id}" for q in queries if q.video not in videos or q.exp_id.endswith("#")]
    if unusable or not queries:
        what = f"its expressions {_some(unusable)} cannot be used" if unusable else "it has no expressions"
        raise DataError(f"{source.name} {source.split}: {what}; is the annotation file as it was downloaded?")
    places = [predictions.find(query.video, query.exp_id) for query in queries]
    missing = [f"{q.video}/{q.exp_id}" for q, place in zip(queries, places, strict=True) if place is None]
    if missing:
        lost = len({query.video for query, place in zip(queries, places, strict=True) if place is None})
        raise DataError(
            f"{predictions.path}: incomplete: {len(missing)} of {len(queries)} expressions in {lost} videos are "
            f"missing: {_some(missing)}; nothing was written"
        )
    return [place for place in places if place is not None]


def _write(
    archive: zipfile.ZipFile,
    source: Source,
    predictions: Predictions,
    videos: dict[str, Video],
    query: Query,
    place: Place,
) -> int:
    """Write the frames of one expression; how many there were."""
    video = _sized(source, videos, query.video)
    asked = Asked(video.name, query.exp_id, video.frames, (video.height or 0, video.width or 0))
    track = predictions.read(place, asked).track
    if len(track) != len(video.frames):
        raise refusal(predictions.path, asked, f"{len(track)} frames for {len(video.frames)}")
    for name, png in _pngs(track, video.frames):
        member = zipfile.ZipInfo(f"{server_of(source.name).prefix}{video.name}/{query.exp_id}/{name}.png", _EPOCH)
        member.external_attr = 0o644 << 16
        member.create_system = 3  # Unix, wherever this runs
        archive.writestr(member, png)
    return len(track)


def _sized(source: Source, videos: dict[str, Video], name: str) -> Video:
    """The video with the size of its frames, which is looked up once; DataError where no frame is on disk."""
    video = videos[name]
    if not (video.height and video.width):
        video, faults = source.inspect(video)
        if not (video.height and video.width):
            detail = faults[0].detail if faults else "the size of its frames is not known"
            raise DataError(f"{source.name} {source.split}: video {printable(name)}: {detail}")
        videos[name] = video
    return video


def _pngs(track: MaskTrack, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    blank = encode_png(np.zeros((track.height, track.width), np.bool_))
    for i, name in enumerate(names):
        yield name, encode_png(track.decode(i, order="C")) if track.masks[i] is not None else blank


def encode_png(mask: Bools) -> bytes:
    """A (H, W) mask as a PNG of mode L, 0 and 255."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _some(things: list[str]) -> str:
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(printable(thing) for thing in things[:_SHOWN]) + more
