"""A dataset on disk as a list of its rows: what is counted of each, what tells it from others, and where it stands.

Files are read as they are and trusted in nothing: a column that is missing, shards that the card does not state, a
row that does not hold what it should, all raise DataError with the place and the way out. Images and masks are read
only when a row is asked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vtscot.errors import DataError
from vtscot.publish.columns import arrow_schema, check_columns
from vtscot.publish.figures import Counted
from vtscot.publish.locate import find_dataset
from vtscot.publish.metadata import read_metadata, read_recipes, stated_rows
from vtscot.publish.reading import SHARD, read_columns, read_group, read_schema
from vtscot.publish.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

TOLD: Final = (
    *("id", "source", "split", "video", "expression", "anno_ids", "num_frames", "turns", "selections", "keyframe_iou"),
    *("ceiling", "kept", "reason", "checks", "licence", "redistributable", "vtscot", "teacher", "grounder"),
    *("segmenter", "recipe", "prompts"),
)
"""The columns that are read of every row."""
TEXTS: Final = ("id", "source", "split", "video", "expression", "licence", "vtscot", "teacher")
MARK: Final = "hydrated.json"
GROUPS: Final = 8  # row groups that stay in memory: some 32 MB each
Key = tuple[str, str, str, str, tuple[str, ...]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a dataset without its images: place, names and what is counted."""

    shard: Path
    group: int
    offset: int
    config: str
    split: str  # of the dataset; that of the source is part of `counted.video`
    id: str
    key: Key
    licence: str
    free: bool
    vtscot: str
    counted: Counted

    @property
    def source(self) -> str:
        return self.key[0]

    @property
    def video(self) -> str:
        """Its name in the source."""
        return self.key[2]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that was opened; `name` is what the user calls it."""

    name: str
    directory: Path
    schema: pa.Schema
    entries: tuple[Entry, ...]
    recipes: dict[str, dict[str, object]]


def open_dataset(name: str) -> Dataset:
    """Open what RUN or DATASET means.

    DataError where there is none, where it has no rows, or where its shards are not those that its card states.
    """
    directory = find_dataset(name)
    if (directory / MARK).exists():
        raise DataError(
            f"{name} is hydrated, and stays at home: take the dataset that it was made from, and hydrate the result"
        )
    metadata = read_metadata(directory / "README.md")
    shards = _shards(directory)
    if not shards:
        _check_counts((), stated_rows(metadata), directory)
        raise DataError(f"{directory} holds no rows: no query led to an episode")
    schema = read_schema(shards[0])
    entries = tuple(entry for shard in shards for entry in _entries(shard, schema, shards[0]))
    _check_counts(entries, stated_rows(metadata), directory)
    ours = arrow_schema()
    same = schema.names == ours.names and differing_column(ours, schema) is None
    return Dataset(name, directory, ours if same else schema, entries, read_recipes(metadata))


def differing_column(one: pa.Schema, other: pa.Schema) -> str | None:
    """The first column that two schemas do not share, with its types; None where they are the same."""
    for field in one:
        if field.name not in other.names:
            return f"column {field.name!r} is missing"
        if not other.field(field.name).type.equals(field.type):
            return f"column {field.name!r} is {other.field(field.name).type}, not {field.type}"
    return next((f"column {name!r} is not known" for name in other.names if name not in one.names), None)


class RowReader:
    """Whole rows of entries, as plain data; a few row groups stay in memory."""

    def __init__(self) -> None:
        self._group = lru_cache(maxsize=GROUPS)(_whole_group)

    def row(self, entry: Entry) -> Row:
        """All columns of the row, images as the bytes they are."""
        row: Row = self._group(entry.shard, entry.group).slice(entry.offset, 1).to_pylist()[0]
        return row

    def rows(self, entries: Sequence[Entry]) -> Iterator[Row]:
        """The rows of `entries` in their order."""
        return map(self.row, entries)


def _whole_group(shard: Path, group: int) -> pa.Table:
    return read_group(shard, group, None)


def _shards(directory: Path) -> list[Path]:
    """All shards; DataError where one is missing or has a name of its own."""
    found = sorted(directory.rglob("*.parquet"))
    totals: Counter[tuple[Path, str, int]] = Counter()
    for path in found:
        match = SHARD.fullmatch(path.name)
        if match is None or path.parent.parent != directory:
            raise DataError(f"{path} is no shard of vtscot (CONFIG/SPLIT-00000-of-00001.parquet); move it away")
        totals[path.parent, match["split"], int(match["total"])] += 1
    for (folder, split, total), count in totals.items():
        if count != total:
            raise DataError(f"{folder}: {count} of {total} shards of {split!r} are there; get the dataset again, whole")
    return found


def _entries(shard: Path, schema: pa.Schema, first: Path) -> Iterator[Entry]:
    found = read_schema(shard)
    check_columns(found, TOLD, shard)
    if (difference := differing_column(schema, found)) is not None:
        raise DataError(f"{shard}: {difference}, unlike {first}: the two were written by different versions of vtscot")
    for group, table in enumerate(read_columns(shard, list(TOLD))):
        for offset, row in enumerate(table.to_pylist()):
            yield in_row(row, shard, lambda row=row, place=(shard, group, offset): _entry(row, *place))  # type: ignore[misc]


def in_row(row: Row, where: Path, read: Callable[[], T]) -> T:
    """What `read` makes of a row; DataError naming the row where it cannot."""
    try:
        return read()
    except (DataError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = " ".join(str(error).split())[:300]
        raise DataError(f"{where}: row {str(row.get('id'))[:120]}: {what}; was it edited by hand?") from error


def _entry(row: Row, shard: Path, group: int, offset: int) -> Entry:
    for name in TEXTS:
        if not isinstance(row[name], str):
            raise ValueError(f"column {name!r} holds no text")
    match = SHARD.fullmatch(shard.name)
    assert match is not None, "other names are refused above"
    return Entry(
        shard=shard,
        group=group,
        offset=offset,
        config=shard.parent.name,
        split=match["split"],
        id=row["id"],
        key=(row["source"], row["split"], row["video"], _normal(row["expression"]), tuple(sorted(row["anno_ids"]))),
        licence=row["licence"],
        free=bool(row["redistributable"]),
        vtscot=row["vtscot"],
        counted=_counted(row),
    )


def _normal(expression: str) -> str:
    """An expression without case, outer punctuation and odd white space."""
    return " ".join(expression.split()).casefold().strip(" .!?,;:\"'")


def _counted(row: Row) -> Counted:
    window = row["selections"][-1]
    length = window["end"] - window["start"] + 1
    if not 0 < length <= row["num_frames"]:
        raise ValueError(f"a window of {length} frames in a video of {row['num_frames']}")
    target = bool(row["anno_ids"])
    return Counted(
        video=f"{row['source']}/{row['split']}/{row['video']}",
        kept=bool(row["kept"]),
        reason=None if row["kept"] else str(row["reason"]),
        turns=int(row["turns"]),
        window=length,
        num_frames=int(row["num_frames"]),
        iou=_score(row["keyframe_iou"]) if target else None,
        ceiling=_score(row["ceiling"]) if target else None,
        leaky=any(check["name"] == "leakage" and not check["passed"] for check in _checks(row["checks"])),
        teacher=row["teacher"],
        grader=f"{row['grounder']} + {row['segmenter']}",
        recipe=str(row["recipe"]),
        prompts=str(row["prompts"]),
    )


def _score(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"an IoU of {value}")
    return value


def _checks(text: str) -> list[dict[str, Any]]:
    checks = json.loads(text)
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        raise ValueError("column 'checks' holds no list of checks")
    return checks


def _check_counts(entries: Sequence[Entry], stated: dict[tuple[str, str], int], directory: Path) -> None:
    found = Counter((entry.config, entry.split) for entry in entries)
    for part in sorted({*found, *stated}):
        if stated and stated.get(part, 0) != found[part]:
            raise DataError(
                f"{directory}: README.md states {stated.get(part, 0)} rows of {'/'.join(part)}, the files hold"
                f" {found[part]}: they were changed by hand; make the dataset again (vtscot rebuild RUN)"
            )
