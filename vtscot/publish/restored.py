"""What rows of a dataset tell of their records: enough to show them again, on a card and in a report.

Rows do not hold the boxes of the grounder, so restored groundings have none (and count as gradable: rows do not say).
A frame that is not in the rows, as those of third-party sources, is a grey picture that says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import ValidationError

from vtscot.budget import fit
from vtscot.errors import DataError, FrameError
from vtscot.publish.context import PublishContext
from vtscot.publish.example import Example, ranked
from vtscot.publish.opened import Entry, RowReader, in_row
from vtscot.publish.reading import RowFrames, read_episode
from vtscot.publish.rows import Row
from vtscot.records import Grounding, Outcome, Plan, Provenance, Query, Record, Verdict
from vtscot.sources.base import Licence
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from PIL.Image import Image

    from vtscot.frames import Pixels

VIDEOS: Final = 2  # whose rows stay open
MOST_GREY: Final = 512 * 288  # pixels of a picture that stands for a frame


def example_of(entries: Sequence[Entry], licences: Mapping[str, Licence], reader: RowReader) -> Example | None:
    """The episode that the card of these rows shows; with frames where its licence allows to pass them on."""

    def order(entry: Entry) -> tuple[bool, bool, bool, float, str]:
        free = licences[entry.source].redistributable
        return ranked(entry.id, free, bool(entry.key[-1]), entry.counted.turns, entry.counted.iou)

    kept = [entry for entry in entries if entry.counted.kept]
    if not kept:
        return None
    best = min(kept, key=order)
    row = reader.row(best)
    shown = licences[best.source].redistributable and bool(row["images"])
    return in_row(row, best.shard, lambda: _example(row, shown, best.shard))


def _example(row: Row, shown: bool, where: Path) -> Example:
    return Example(
        source=row["source"],
        video=row["video"],
        expression=row["expression"],
        episode=read_episode(row),
        plan=read_plan(row, where),
        keyframe_iou=row["keyframe_iou"],
        frames=RowFrames(row) if shown else None,
        track=read_track(row) if shown else None,
    )


def read_plan(row: Row, where: Path) -> Plan:
    """The plan of a row; DataError naming the row where its column holds none."""
    try:
        return Plan.model_validate_json(row["plan"])
    except ValidationError as error:
        raise DataError(f"{where}: row {row['id']}: its plan is none: {error.errors()[0]['msg']}") from error


def read_track(row: Row) -> MaskTrack | None:
    """The target's masks of a row; None where it has none, or they are not in the dataset."""
    if row["track"] is None or row["mask_height"] is None or row["mask_width"] is None:
        return None
    size = [row["mask_height"], row["mask_width"]]
    return MaskTrack.from_coco([None if c is None else {"size": size, "counts": c} for c in row["track"]])


def outcome_of(entry: Entry, reader: RowReader) -> Outcome:
    """The outcome that a row was made of, its groundings without boxes; DataError naming the row."""
    row = reader.row(entry)
    return in_row(row, entry.shard, lambda: _outcome(row, entry.shard))


def _outcome(row: Row, where: Path) -> Outcome:
    query = Query(**{name: row[name] for name in Query.model_fields})
    verdict = Verdict(
        kept=row["kept"],
        reason=row["reason"],
        checks=json.loads(row["checks"]),
        groundings=_groundings(row),
        grounder=row["grounder"],
        segmenter=row["segmenter"],
    )
    record = Record(
        query=query,
        plan=read_plan(row, where),
        episode=read_episode(row),
        verdict=verdict,
        provenance=Provenance(**{name: row[name] for name in Provenance.model_fields}),
    )
    return Outcome(query=query, state="kept" if verdict.kept else "rejected", reason=verdict.reason, record=record)


def _groundings(row: Row) -> tuple[Grounding, ...]:
    scores = zip(row["decoded_frames"], row["ious"], row["ceilings"], strict=True)
    graded = [
        Grounding(turn=turn, frame=frame, iou=iou, ceiling=ceiling, gradable=True)
        for turn, (frame, iou, ceiling) in enumerate(scores)
        if iou is not None and ceiling is not None
    ]
    if not graded:
        return ()
    along = {"window_iou": row["window_iou"], "window_ceiling": row["window_ceiling"]}
    return (*graded[:-1], Grounding.model_validate(graded[-1].model_dump() | along))


def context_of(
    entries: Sequence[Entry], licences: Mapping[str, Licence], settings: Mapping[str, object], reader: RowReader
) -> PublishContext:
    """What a report of these rows needs besides their outcomes."""
    by_id = {entry.id: entry for entry in entries}
    by_video: dict[str, list[Entry]] = {}
    for entry in entries:
        by_video.setdefault(entry.counted.video, []).append(entry)

    def tracks(query: Query) -> MaskTrack | None:
        entry = by_id[query.id]
        return in_row(reader.row(entry), entry.shard, lambda: read_track(reader.row(entry)))

    return PublishContext(
        licences=licences,
        frames=lru_cache(maxsize=VIDEOS)(lambda video: ShownFrames([reader.row(one) for one in by_video[video]])),
        tracks=tracks,
        settings=settings,
        seconds={},
        prompts=", ".join(sorted({entry.counted.prompts for entry in entries})),
        version=", ".join(sorted({entry.vtscot for entry in entries})),
        teacher=", ".join(sorted({entry.counted.teacher for entry in entries})),
        boxes=False,
    )


class ShownFrames:
    """The frames of a video of which its rows hold images, any of them; see `frames.Frames`."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._first = rows[0]
        self._rows: dict[int, RowFrames] = {}
        largest: dict[int, int] = {}
        for row in rows:
            for frame, image in zip(row["frames"], row["images"] or (), strict=False):
                index = frame["index"]
                if image["bytes"] and frame["max_pixels"] > largest.get(index, 0):
                    largest[index], self._rows[index] = frame["max_pixels"], RowFrames(row)

    def __len__(self) -> int:
        return int(self._first["num_frames"])

    @property
    def names(self) -> tuple[str, ...]:
        """Of no use here: rows name the frames that were shown."""
        return ("",) * len(self)

    def size(self, i: int) -> tuple[int, int]:
        """(width, height) of the video's frames before they were shrunk."""
        width, height = int(self._first["width"]), int(self._first["height"])
        if width <= 0 or height <= 0:
            raise FrameError(f"row {self._first['id']}: frames of {width} x {height} pixels")
        return width, height

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        """Frame i with at most `max_pixels` pixels, or a grey picture where no row holds it."""
        from PIL import Image

        if i not in self._rows:
            return _grey(fit(*self.size(i), min(max_pixels or MOST_GREY, MOST_GREY)), i)
        image = self._rows[i].image(i)
        size = fit(image.width, image.height, max_pixels or image.width * image.height)
        return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        """The same as (H, W, 3) uint8."""
        return np.array(self.image(i, max_pixels))

    def digest(self, i: int) -> str:
        """SHA-256 (hex) of the pixels that are there."""
        return hashlib.sha256(self.image(i).tobytes()).hexdigest()


def _grey(size: tuple[int, int], i: int) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", size, (52, 55, 61))
    font: Any = ImageFont.load_default(max(9, size[1] // 9))
    centre = size[0] / 2, size[1] / 2
    ImageDraw.Draw(picture).text(centre, f"frame {i}\nstays at home", (163, 168, 176), font, "mm", align="center")
    return picture
