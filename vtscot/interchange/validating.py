"""`validate`: every rule that a file of one of the formats breaks, by record and field. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from vtscot.errors import DataError, UsageError
from vtscot.interchange.chat_rules import check_sharegpt, check_trl
from vtscot.interchange.documents import Unreadable, records
from vtscot.interchange.rules import Broken, check_released, check_rl

Check = Callable[[Any], Iterator[Broken]]
FORMATS: Final = ("videoseg-o3", "videoseg-o3-rl", "sharegpt", "trl")


class Finding(NamedTuple):
    """What record number `record` (from 0) breaks: a rule, in a field ("" is the record as a whole)."""

    record: int
    field: str
    rule: str
    detail: str

    def line(self) -> str:
        """As commands print it."""
        return f"record {self.record}: {self.field + ': ' if self.field else ''}{self.rule}: {self.detail}"


def findings(path: Path, format: str, count: Callable[[], None] = lambda: None) -> Iterator[Finding]:  # noqa: A002
    """What is wrong with a file, in the order of its records; `count` is called once for each of them.

    DataError where it is no list of records at all, UsageError for an unknown format.
    """
    check = _check(path, format)
    for number, record in enumerate(records(path)):
        count()
        if isinstance(record, Unreadable):
            yield Finding(number, "", "json", record.why)
        else:
            yield from (Finding(number, *broken) for broken in check(record))


def detect(path: Path) -> str:
    """The format of a file, by its first record that tells; DataError where none does."""
    for record in records(path):
        if isinstance(record, list):
            return "videoseg-o3-rl"
        if isinstance(record, dict):
            if {"cot_trace", "video_name", "sample_frame_indice"} & record.keys():
                return "videoseg-o3"
            if "messages" in record:
                return "trl"
            if "conversations" in record:
                return "sharegpt"
    raise DataError(f"{path}: its records are of no known format; say which with --format: {', '.join(FORMATS)}")


def _check(path: Path, format: str) -> Check:  # noqa: A002
    checks: dict[str, Check] = {
        "videoseg-o3": check_released,
        "videoseg-o3-rl": check_rl,
        "sharegpt": partial(check_sharegpt, folder=path.parent),
        "trl": partial(check_trl, folder=path.parent),
    }
    if format not in checks:
        raise UsageError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    return checks[format]
