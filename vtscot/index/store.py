"""Tracks on disk: `masks.parquet`, one row per (track, frame), and `tracks.parquet`, one row per track.

Areas and boxes of all tracks are small (40 bytes a row) and are kept in memory; the RLE counts stay on disk, in row
groups that never cut a track, so that reading one track reads one row group. Same tracks, same bytes. Nothing is
compressed: counts are dense already, and zstd (level 1) would make them half as large for a third more time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from vtscot.errors import DataError
from vtscot.files import whole_file
from vtscot.masks import Floats, Ints, Measured
from vtscot.tracks import MaskTrack, TrackTable

MASKS, TRACKS = "masks.parquet", "tracks.parquet"
GROUP_ROWS = 1024  # a group ends with the track that fills it: some 0.7 MB of counts are read for one track
_BOX = ("x", "y", "width", "height")


class TrackWriter:
    """Writes `masks.parquet` into an open file, track by track, and then `tracks.parquet`.

    A context: its end writes the last tracks and the footer, unless it ends with an error. The file stays open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        integers = [(name, pa.int32()) for name in ("track", "frame", "area", *_BOX)]
        self._schema = pa.schema([*integers, ("counts", pa.binary())])
        self._writer = pq.ParquetWriter(
            file, self._schema, compression="NONE", use_dictionary=False, write_statistics=False, store_schema=False
        )
        self._columns: dict[str, list[Any]] = {"anno_id": [], "height": [], "width": [], "frames": [], "group": []}
        self._group = 0
        self._clear()

    def add(
        self, anno_id: str, size: tuple[int, int] | None, counts: Sequence[bytes | None], measured: Measured
    ) -> None:
        """Append a track: one entry of `counts` (None: no mask) and one row of `measured` per frame.

        `size` is (height, width), or None for a track without any mask, whose size only its video tells.
        """
        row = (anno_id, *(size or (0, 0)), len(counts), self._group)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self._counts += counts
        self._measured.append(measured)
        if len(self._counts) >= GROUP_ROWS:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self._counts:
                self._flush()
            self._writer.close()
        else:
            with suppress(OSError):  # pyarrow closes now or when it is collected; that error came from here already
                self._writer.close()

    def write_table(self, path: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
        """Write `tracks.parquet`; `sizes` are (height, width) of tracks that were added without."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for row, anno_id in enumerate(self._columns["anno_id"]):
            if anno_id in sizes:
                self._columns["height"][row], self._columns["width"][row] = sizes[anno_id]
        integers = [(name, pa.int32()) for name in ("height", "width", "frames", "group")]
        table = pa.table(self._columns, schema=pa.schema([("anno_id", pa.string()), *integers]))
        with whole_file(path) as file:
            pq.write_table(table, file, compression="NONE", write_statistics=False, store_schema=False)

    def _clear(self) -> None:
        self._counts: list[bytes | None] = []
        self._measured: list[Measured] = []
        self._first = len(self._columns["frames"])

    def _flush(self) -> None:
        import pyarrow as pa

        lengths = self._columns["frames"][self._first :]
        tracks = np.repeat(np.arange(self._first, self._first + len(lengths), dtype=np.int32), lengths)
        frames = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
        areas = np.concatenate([m.areas for m in self._measured]).astype(np.int32)
        boxes = np.concatenate([m.boxes for m in self._measured]).astype(np.int32)
        numbers = [pa.array(column) for column in (tracks, frames, areas, *boxes.T.copy())]
        table = pa.table([*numbers, pa.array(self._counts, pa.binary())], schema=self._schema)
        self._writer.write_table(table, row_group_size=len(self._counts))
        self._group += 1
        self._clear()


class TrackStore:
    """Reads what `TrackWriter` wrote below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / MASKS
        columns = _parquet(directory / TRACKS).read().to_pydict()
        self.sizes: list[tuple[int, int]] = list(zip(columns["height"], columns["width"], strict=True))
        self.lengths: list[int] = columns["frames"]
        self._groups: list[int] = columns["group"]
        self._starts = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        self.rows: dict[str, int] = {anno_id: row for row, anno_id in enumerate(columns["anno_id"])}
        masks = _parquet(self._path)
        self._metadata = masks.metadata
        if self._metadata.num_rows != self._starts[-1]:
            raise DataError(f"{self._path}: not of the same index as {TRACKS}; delete the index to build it anew")
        self._area, self._box = _measures(masks)

    def table(self, anno_id: str) -> TrackTable:
        """Areas and boxes of one track: views, nothing is copied or read."""
        row = self.row(anno_id)
        rows = slice(self._starts[row], self._starts[row + 1])
        return TrackTable(*self.sizes[row], self._area[rows], self._box[rows])

    def track(self, anno_id: str) -> MaskTrack:
        """One track with its masks, read from its row group."""
        row = self.row(anno_id)
        group = self._groups[row]
        first = self._groups.index(group)
        start = int(self._starts[row] - self._starts[first])
        column = _parquet(self._path, self._metadata).read_row_group(group, columns=["counts"]).column("counts")
        return MaskTrack(*self.sizes[row], tuple(column.slice(start, self.lengths[row]).to_pylist()))

    def row(self, anno_id: str) -> int:
        """Position of a track in the file."""
        if anno_id not in self.rows:
            raise DataError(f"{self._path}: no track {anno_id!r}; is the index of this split?")
        return self.rows[anno_id]


def _parquet(path: Path, metadata: Any = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, metadata=metadata)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete the index to build it anew") from None


def _measures(masks: Any) -> tuple[Ints, Floats]:
    """Areas (N,) and boxes (N, 4) of the whole file, a batch at a time."""
    rows = masks.metadata.num_rows
    area, box = np.zeros(rows, np.int64), np.zeros((rows, 4), np.float64)
    start = 0
    for batch in masks.iter_batches(1 << 16, columns=["area", *_BOX], use_threads=False):
        end = start + len(batch)
        area[start:end] = batch.column(0).to_numpy()
        for i in range(4):
            box[start:end, i] = batch.column(i + 1).to_numpy()
        start = end
    area.flags.writeable = box.flags.writeable = False
    return area, box
