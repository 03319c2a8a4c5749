"""Files of records, one record at a time: JSON lists, JSON lines and parquet. Untrusted; nothing is decoded twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vtscot.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class Unreadable:
    """A record that is no JSON; `why` says what is wrong with it."""

    def __init__(self, why: str) -> None:
        self.why = why


def records(path: Path) -> Iterator[Any]:
    """The records of a file, by its ending; one that cannot be decoded comes as `Unreadable`.

    DataError where the file as a whole is no list of records: missing, truncated, of another kind.
    """
    try:
        if path.suffix == ".parquet":
            yield from _rows(path)
        elif path.suffix == ".jsonl":
            yield from _lines(path)
        else:
            yield from map(_decoded, _raw(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _raw(path: Path) -> list[msgspec.Raw]:
    """The elements of one JSON list, each still text."""
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be a file of records") from None
    except msgspec.ValidationError:
        raise DataError(f"{path}: a JSON list of records is needed, but it is another value") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not usable JSON{_place(error)}; is the download complete?") from None


def _decoded(raw: msgspec.Raw | bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        return Unreadable("it is nested too deeply")
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        return Unreadable(f"it is no usable JSON ({' '.join(str(error).split())[:120]})")


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield _decoded(line)


def _place(error: Exception) -> str:
    found = re.search(r"byte (\d+)", str(error))
    return f" at byte {found[1]}" if found else " (it ends early)" if "truncated" in str(error) else ""


def _rows(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield from _group(file, group)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error


def _group(file: pq.ParquetFile, group: int) -> Iterator[Any]:
    table = file.read_row_group(group)
    for start in range(0, len(table), 16):  # images are large: a few rows as Python values at a time
        yield from table.slice(start, 16).to_pylist()
