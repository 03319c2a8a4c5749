"""What rows of a dataset tell of their records: enough to show them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from vtscot.errors import DataError
from vtscot.publish.example import Example, ranked
from vtscot.publish.opened import Entry, RowReader, in_row
from vtscot.publish.reading import RowFrames, read_episode
from vtscot.publish.rows import Row
from vtscot.records import Plan
from vtscot.sources.base import Licence
from vtscot.tracks import MaskTrack


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
