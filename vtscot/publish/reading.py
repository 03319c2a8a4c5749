"""The other way round from `rows.py`: rows of a dataset as episodes, images and masks. Needs no torch.

`read_episode(row)` of the row of a record is the record's episode; images are the JPEGs of the row. Rows are
untrusted: whatever does not fit raises DataError that names the row.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from pydantic import ValidationError

from vtscot.errors import DataError, EpisodeError, FrameError, MaskError
from vtscot.frames import MAX_PIXELS, PIL_FAULTS, Pixels
from vtscot.grammar import parse_turn
from vtscot.masks import Rle
from vtscot.publish.card import REJECTED
from vtscot.publish.rows import Row
from vtscot.records import Episode, Observation, ShownFrame

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

GROUPS: Final = 8  # row groups that are kept: some 32 MB each
COLUMNS: Final = (  # what is read of a row: later columns may be missing in older datasets
    *("id", "source", "split", "video", "expression", "anno_ids", "num_frames", "width", "height", "turns", "messages"),
    *("frames", "images", "decoded_frames", "decoded_masks", "mask_height", "mask_width", "kept"),
)
T = TypeVar("T")


def read_episode(row: Row) -> Episode:
    """The episode of a row; DataError naming the row where its columns hold none."""
    return _in_row(row, _episode, row)


def read_masks(row: Row) -> tuple[Rle | None, ...] | None:
    """One mask per turn, on the frame it is decoded on: None where the target is not seen there, or there is none.

    None for a row whose masks are not in the dataset. DataError for a mask that is none.
    """
    if not row["anno_ids"]:
        return (None,) * int(row["turns"])
    if row["mask_height"] is None or row["mask_width"] is None or row["decoded_masks"] is None:
        return None
    size = [row["mask_height"], row["mask_width"]]
    return _in_row(row, _masks, row["decoded_masks"], size)


@dataclass(frozen=True, eq=False)
class RowFrames:
    """The frames of a video of which a row holds images: each as large as it was shown; see `frames.Frames`."""

    row: Row

    def __len__(self) -> int:
        return int(self.row["num_frames"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the frames that were shown; the others are not known to a row."""
        known = {frame["index"]: frame["name"] for frame in self.row["frames"]}
        return tuple(known.get(i, "") for i in range(len(self)))

    def size(self, i: int) -> tuple[int, int]:
        """(width, height) of the video's frames before they were shrunk."""
        _ = self._jpeg(i, None)
        return int(self.row["width"]), int(self.row["height"])

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        """Frame i as it was shown with `max_pixels`; without, the largest image of it. FrameError for no such image."""
        from PIL import Image

        where = f"row {self.row['id']}: the image of frame {i}"
        try:
            with Image.open(io.BytesIO(self._jpeg(i, max_pixels)), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise FrameError(f"{where} claims {image.width} x {image.height} pixels: refused")
                return image.convert("RGB")
        except (*PIL_FAULTS, Image.DecompressionBombError) as error:
            raise FrameError(f"{where} cannot be decoded: {error}") from error

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        """The same as (H, W, 3) uint8."""
        return np.array(self.image(i, max_pixels))

    def digest(self, i: int) -> str:
        """SHA-256 (hex) of the largest image of frame i."""
        return hashlib.sha256(self._jpeg(i, None)).hexdigest()

    def _jpeg(self, i: int, max_pixels: int | None) -> bytes:
        shown = [
            (frame["max_pixels"], image["bytes"])
            for frame, image in zip(self.row["frames"], self.row["images"] or (), strict=False)
            if frame["index"] == i and max_pixels in (None, frame["max_pixels"])
        ]
        if not shown:
            size = "" if max_pixels is None else f" of at most {max_pixels} pixels"
            raise FrameError(f"row {self.row['id']} holds no image of frame {i}{size}")
        return bytes(max(shown, key=lambda pair: pair[0])[1])


class Rows:
    """The kept rows of parquet shards by number, read when they are asked for; a few row groups stay in memory."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.total = 0  # rows, kept or not
        self.ids: list[str] = []
        self.splits: list[str] = []
        self._places: list[tuple[Path, int, int]] = []  # shard, row group, row in it
        for shard in shards:
            self._index(shard)
        self._group = lru_cache(maxsize=GROUPS)(_read_group)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, i: int) -> Row:
        """Row number i with the columns in `COLUMNS`."""
        shard, group, offset = self._places[i]
        row: Row = self._group(shard, group).slice(offset, 1).to_pylist()[0]
        return row

    def lacking(self) -> int:
        """Number of rows without images or masks, as rows are whose licence keeps these at home."""
        groups = sorted({(shard, group) for shard, group, _ in self._places})
        return sum(_lacking(shard, group) for shard, group in groups)

    def _index(self, shard: Path) -> None:
        for group, table in _scan(shard):
            self.total += len(table)
            columns = (table.column(name).to_pylist() for name in ("id", "split", "kept"))
            for offset, (name, split, kept) in enumerate(zip(*columns, strict=True)):
                if kept:
                    self.ids.append(name)
                    self.splits.append(split)
                    self._places.append((shard, group, offset))


def find_shards(directory: Path) -> list[Path]:
    """The parquet files of a dataset's folder, without those of rejected rows; DataError where there is none."""
    found = sorted(p for p in directory.rglob("*.parquet") if p.relative_to(directory).parts[0] != REJECTED)
    if not found:
        raise DataError(f"{directory} holds no parquet files: is it a dataset of `vtscot build`, and whole?")
    return found


def _scan(shard: Path) -> Iterator[tuple[int, pa.Table]]:
    """Row groups of a shard with the columns that tell which rows there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{shard} has no column {missing[0]!r}: it is no dataset of this vtscot")
            for group in range(file.num_row_groups):
                yield group, file.read_row_group(group, columns=["id", "split", "kept"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shard} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error


def _read_group(shard: Path, group: int) -> pa.Table:
    return _columns(shard, group, list(COLUMNS))


def _lacking(shard: Path, group: int) -> int:
    import pyarrow.compute as pc

    table = _columns(shard, group, ["kept", "anno_ids", "decoded_masks", "images"])
    targets = pc.greater(pc.list_value_length(table.column("anno_ids")), 0)
    no_masks = pc.and_(targets, pc.is_null(table.column("decoded_masks")))
    nothing = pc.or_(no_masks, pc.is_null(table.column("images")))
    return int(pc.sum(pc.and_(table.column("kept"), nothing)).as_py() or 0)


def _columns(shard: Path, group: int, names: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            return file.read_row_group(group, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shard} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error


def _episode(row: Row) -> Episode:
    shown: dict[int, list[ShownFrame]] = {}
    for frame in row["frames"]:
        part = ShownFrame(index=frame["index"], role=frame["role"], max_pixels=frame["max_pixels"])
        shown.setdefault(frame["turn"], []).append(part)
    replies = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
    return Episode(
        query_id=row["id"],
        expression=row["expression"],
        num_frames=row["num_frames"],
        observations=tuple(Observation(frames=tuple(shown[turn])) for turn in sorted(shown)),
        turns=tuple(parse_turn("".join(part["text"] or "" for part in reply)) for reply in replies),
    )


def _masks(decoded: Sequence[str | None], size: list[int]) -> tuple[Rle | None, ...]:
    return tuple(None if counts is None else Rle.from_coco({"size": size, "counts": counts}) for counts in decoded)


def _in_row(row: Row, read: Callable[..., T], *arguments: Any) -> T:
    try:
        return read(*arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"row {row['id']}: {where + ': ' if where else ''}{first['msg']}") from error
    except (EpisodeError, MaskError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"row {row['id']}: {error}") from error
