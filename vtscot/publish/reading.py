"""The other way round from `rows.py`: rows of a dataset as episodes, images and masks. Needs no torch.

`read_episode(row)` of the row of a record is the record's episode; images are the JPEGs of the row. Rows are
untrusted: whatever does not fit raises DataError that names the row.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from pydantic import ValidationError

from vtscot.errors import DataError, EpisodeError, FrameError, MaskError
from vtscot.frames import MAX_PIXELS, PIL_FAULTS, FolderFrames, Frames, Pixels
from vtscot.grammar import parse_turn
from vtscot.masks import Rle
from vtscot.publish.card import REJECTED
from vtscot.publish.columns import check_columns
from vtscot.publish.rows import Row
from vtscot.records import Episode, Observation, ShownFrame

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL.Image import Image

GROUPS: Final = 8  # row groups that are kept: some 32 MB each
COLUMNS: Final = (  # what is read of a row: later columns may be missing in older datasets
    *("id", "source", "split", "video", "expression", "anno_ids", "num_frames", "width", "height", "turns", "messages"),
    *("frames", "images", "decoded_frames", "decoded_masks", "mask_height", "mask_width", "kept"),
)
SHARD: Final = re.compile(r"(?P<split>\w+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.parquet")
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


def names_files(row: Row) -> bool:
    """Whether the images of a row are files at home, as `vtscot hydrate` names them, and not in the row."""
    return any(image["bytes"] is None for image in row["images"] or ())


def open_row_frames(row: Row, root: Path | None) -> Frames:
    """The frames of a row: its images, or the files they name, which must be below `root`.

    DataError for a path that leads elsewhere: rows may come from anybody.
    """
    if not names_files(row):
        return RowFrames(row)
    folders = {
        _folder(row, frame["name"], image["path"]) for frame, image in zip(row["frames"], row["images"], strict=False)
    }
    if root is None or len(folders) != 1 or not (folder := folders.pop()).is_relative_to(root) or ".." in folder.parts:
        raise DataError(f"row {row['id']} names files that are not of its hydrated source; hydrate the dataset again")
    names = {frame["index"]: frame["name"] for frame in row["frames"]}
    return FolderFrames(folder, [names.get(i, "") for i in range(row["num_frames"])])


def _folder(row: Row, name: str, path: str | None) -> Path:
    """The folder that holds the video's frames, from the path of one: that ends in the frame's name."""
    parts = len(Path(name).parts)
    file = Path(path or "")
    if parts == 0 or (*file.parts[:-1], file.stem)[-parts:] != Path(name).parts:
        raise DataError(f"row {row['id']}: the file of frame {name!r} has another name; hydrate the dataset again")
    return file.parents[parts - 1]


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

    def lacking(self) -> dict[str, int]:
        """Number of rows without images or masks by source, as rows are whose licence keeps these at home."""
        counts: Counter[str] = Counter()
        for shard, group in sorted({(shard, group) for shard, group, _ in self._places}):
            counts.update(_lacking(shard, group))
        return dict(sorted(counts.items()))

    def _index(self, shard: Path) -> None:
        for group, table in _scan(shard):
            self.total += len(table)
            columns = (table.column(name).to_pylist() for name in ("id", "split", "kept"))
            for offset, (name, split, kept) in enumerate(zip(*columns, strict=True)):
                if kept:
                    self.ids.append(name)
                    self.splits.append(split_of(shard) or split)
                    self._places.append((shard, group, offset))


def split_of(shard: Path) -> str | None:
    """The split that a shard belongs to, by its name; a row's column `split` is that of its source."""
    match = SHARD.fullmatch(shard.name)
    return match["split"] if match else None


def find_shards(directory: Path) -> list[Path]:
    """The parquet files of a dataset's folder, without those of rejected rows; DataError where there is none."""
    found = sorted(p for p in directory.rglob("*.parquet") if p.relative_to(directory).parts[0] != REJECTED)
    if not found:
        raise DataError(f"{directory} holds no parquet files: is it a dataset of `vtscot build`, and whole?")
    return found


def read_schema(shard: Path) -> pa.Schema:
    """The columns of a shard; DataError where it is no parquet file."""
    with _opened(shard) as file:
        return file.schema_arrow


def read_columns(shard: Path, names: list[str] | None) -> Iterator[pa.Table]:
    """The row groups of a shard with these columns (None: all), one at a time."""
    with _opened(shard) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def _scan(shard: Path) -> Iterator[tuple[int, pa.Table]]:
    """Row groups of a shard with the columns that tell which rows there are."""
    check_columns(read_schema(shard), COLUMNS, shard)
    yield from enumerate(read_columns(shard, ["id", "split", "kept"]))


def _read_group(shard: Path, group: int) -> pa.Table:
    return read_group(shard, group, list(COLUMNS))


def _lacking(shard: Path, group: int) -> list[str]:
    """The source of every kept row that lacks images or masks."""
    import pyarrow.compute as pc

    table = read_group(shard, group, ["source", "kept", "anno_ids", "decoded_masks", "images"])
    targets = pc.greater(pc.list_value_length(table.column("anno_ids")), 0)
    no_masks = pc.and_(targets, pc.is_null(table.column("decoded_masks")))
    nothing = pc.or_(no_masks, pc.is_null(table.column("images")))
    sources: list[str] = table.column("source").filter(pc.and_(table.column("kept"), nothing)).to_pylist()
    return sources


def read_group(shard: Path, group: int, names: list[str] | None) -> pa.Table:
    """One row group of a shard with these columns (None: all)."""
    with _opened(shard) as file:
        return file.read_row_group(group, columns=names)


@contextmanager
def _opened(shard: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            yield file
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
