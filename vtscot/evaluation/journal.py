"""`episodes.jsonl`: one line per answered query, on the disk before the next query is worked on.

A line that a crash cut off is dropped when the journal is opened again; where a query has several lines, as after a
failure, the last one counts. `eval.json` beside it says what the answers were made with: answers of other settings
never stand in one journal. One process writes it at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Self

from pydantic import ValidationError

from vtscot import __version__
from vtscot.errors import RunError, UsageError
from vtscot.evaluation.answers import Answer
from vtscot.files import write_text
from vtscot.progress import Progress

LINES: Final = "episodes.jsonl"
HEAD: Final = "eval.json"
FORMAT: Final = 1
_SHOWN: Final = 4  # differences that an error names


class Journal:
    """The answers so far. A context: its end gives the folder free for others."""

    def __init__(self, directory: Path, settings: Mapping[str, Any], *, resume: bool, say: Progress) -> None:
        """Begin in `directory`, or go on with what is there.

        UsageError where answers are there and `resume` is not said; RunError where they were made with other settings
        (and which), where a line is no answer, or where another process is at work.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / LINES
        self._file: IO[bytes] = self.path.open("a+b")
        try:
            _lock(self._file, directory)
            if not resume:
                check_fresh(directory)
            if self._file.tell():
                _agree(directory, settings)
            else:
                head = {"format": FORMAT, "vtscot": __version__, "settings": dict(settings)}
                write_text(directory / HEAD, json.dumps(head, indent=1) + "\n")
            self._places: dict[str, tuple[int, int]] = {}  # of the last line about a query
            self._failed: set[str] = set()
            self._read(say)
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> frozenset[str]:
        """Ids of the queries that need no more work: failed ones are tried again."""
        return frozenset(self._places.keys() - self._failed)

    def add(self, answer: Answer) -> None:
        """Append an answer; it is on the disk when this returns."""
        start = self._file.seek(0, os.SEEK_END)
        line = answer.model_dump_json().encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # a disk that is full: what did get written goes
                os.ftruncate(self._file.fileno(), start)
            raise
        self._note(answer, start, len(line))

    def answers(self, ids: Iterable[str]) -> Iterator[Answer]:
        """The answers to these queries, in this order, read one at a time; ids without one are passed over."""
        for query_id in ids:
            if query_id in self._places:
                start, length = self._places[query_id]
                self._file.seek(start)
                yield Answer.model_validate_json(self._file.read(length))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self, say: Progress) -> None:
        self._file.seek(0)
        start = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                say.note(f"{self.path}: line {number} was cut off and is dropped; its query is answered again")
                os.ftruncate(self._file.fileno(), start)
                return
            try:
                self._note(Answer.model_validate_json(line), start, len(line))
            except ValidationError as error:
                raise RunError(
                    f"{self.path}: line {number} is no answer ({error.errors()[0]['msg']}); remove it and resume"
                ) from None
            start += len(line)

    def _note(self, answer: Answer, start: int, length: int) -> None:
        self._places[answer.query_id] = start, length
        (self._failed.add if answer.failed else self._failed.discard)(answer.query_id)


def check_fresh(directory: Path) -> None:
    """UsageError where a folder holds answers already."""
    path = directory / LINES
    if path.is_file() and path.stat().st_size:
        raise UsageError(f"{directory} holds episodes already: go on with --resume, or choose another --out")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What changed between two sets of settings, `key: old -> new` each; nested ones as `outer.inner`."""
    old, new = _flat(before), _flat(after)
    keys = [*old, *(key for key in new if key not in old)]
    return [f"{key}: {_brief(old.get(key))} -> {_brief(new.get(key))}" for key in keys if old.get(key) != new.get(key)]


def _agree(directory: Path, settings: Mapping[str, Any]) -> None:
    path = directory / HEAD
    try:
        head = json.loads(path.read_bytes())
        made, written = head["settings"], head["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is missing or broken ({error}): choose another --out") from None
    if written != FORMAT:
        raise RunError(f"{path} was made by another vtscot (format {written}, this one reads {FORMAT})")
    changed = differences(made, settings)
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise RunError(
            f"{directory} was made with other settings: {'; '.join(changed[:_SHOWN])}{more}."
            " Give the settings it was made with, or another --out"
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _brief(value: object) -> str:
    """A value as JSON; of a digest the first characters."""
    text = json.dumps(value)
    return f"{text[:13]}..." if isinstance(value, str) and len(value) == 64 else text


def _lock(file: IO[bytes], directory: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunError(
            f"{directory} is in use by another vtscot process: wait until it ends, or choose another --out"
        ) from None
