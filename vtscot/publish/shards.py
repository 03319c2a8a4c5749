"""Rows into parquet shards, the same bytes for the same rows.

A split is cut into shards of at most `SHARD_ROWS` rows and, as weighed by `weight`, about `SHARD_BYTES`; a shard
into row groups of `GROUP_ROWS` and `GROUP_BYTES`, which also bounds the memory. Names follow the Hub's way:
`<split>-00000-of-00001.parquet`. A split without rows has no shard: `datasets` refuses to load an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vtscot.errors import PublishError
from vtscot.publish.columns import arrow_schema
from vtscot.publish.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SHARD_ROWS: Final = 10_000
SHARD_BYTES: Final = 256 * 2**20
GROUP_ROWS: Final = 64
GROUP_BYTES: Final = 32 * 2**20


def weight(row: Row) -> int:
    """About the bytes of a row: its images, its masks and a flat sum for the text."""
    images = sum(len(image["bytes"] or b"") for image in row["images"] or ())
    masks = sum(len(counts) for counts in row["track"] or () if counts is not None)
    return images + masks + 8192


def groups(rows: Iterable[Row], max_rows: int, max_bytes: int) -> Iterator[list[Row]]:
    """Cut `rows` into runs; a run ends before the row that would take it over a limit."""
    group: list[Row] = []
    filled = 0
    for row in rows:
        size = weight(row)
        if group and (len(group) == max_rows or filled + size > max_bytes):
            yield group
            group, filled = [], 0
        group.append(row)
        filled += size
    if group:
        yield group


def write_split(rows: Iterable[Row], directory: Path, split: str, schema: pa.Schema | None = None) -> list[Path]:
    """Write the shards of one split into `directory`; returns their paths.

    `schema` is that of the rows where it is not `columns.arrow_schema()`, as rows of a dataset that was read have it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts = _write_parts(rows, directory, split, arrow_schema() if schema is None else schema)
    shards = [directory / f"{split}-{i:05d}-of-{len(parts):05d}.parquet" for i in range(len(parts))]
    for part, shard in zip(parts, shards, strict=True):
        part.replace(shard)
    return shards


def _write_parts(rows: Iterable[Row], directory: Path, split: str, schema: pa.Schema) -> list[Path]:
    parts: list[Path] = []
    count = size = 0
    with ExitStack() as opened:
        for group in groups(rows, GROUP_ROWS, GROUP_BYTES):
            added = sum(map(weight, group))
            if not parts or count + len(group) > SHARD_ROWS or size + added > SHARD_BYTES:
                opened.close()
                parts.append(directory / f".{split}-{len(parts):05d}.part")
                writer = opened.enter_context(_open(parts[-1], schema))
                count = size = 0
            _append(writer, group, schema)
            count, size = count + len(group), size + added
    return parts


def _open(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        path, schema, version="2.6", data_page_version="1.0", compression="zstd", write_page_index=True
    )


def _append(writer: pq.ParquetWriter, rows: list[Row], schema: pa.Schema) -> None:
    import pyarrow as pa

    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise PublishError(f"rows {rows[0]['id']} to {rows[-1]['id']} do not fit the schema: {error}") from error
    writer.write_table(table, row_group_size=len(rows))
