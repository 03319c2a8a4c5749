"""The ledger of a run: paid answers and the outcome of every query, in one SQLite file (WAL, synchronous FULL).

A write is committed and synced when its call returns (`store`, `save_outcome`) or its awaitable is done
(`astore`, `asave_outcome`). One thread writes: what is waiting when it looks goes into one commit, so that many
answers share one sync and an event loop never waits for the disk. Reads come from a second connection.

One process writes a ledger: an advisory lock on `NAME.lock` dies with the process. All errors are RunError.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vtscot.errors import RunError
from vtscot.records import Outcome

VERSION: Final = 2
BATCH: Final = 256  # writes per commit, at most
_SCHEMA: Final = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, summary TEXT NOT NULL, response BLOB NOT NULL, latency_s REAL, stored REAL NOT NULL);
CREATE TABLE outcomes (
    query_id TEXT PRIMARY KEY, input_digest TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, outcome TEXT NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_BATCHES: Final = """
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, requests TEXT NOT NULL, file_id TEXT, batch_id TEXT, made REAL NOT NULL);
"""  # some ledgers of version 1 have it already
_MIGRATIONS: Final = (_SCHEMA, _BATCHES)  # what makes a ledger of version 0 (nothing), 1, .. one of the next version
_USAGE: Final = """
WITH texts AS (SELECT CAST(response AS TEXT) AS body, summary FROM answers),
     valid AS (SELECT CASE WHEN json_valid(body) THEN body ELSE '{}' END AS body,
                      CASE WHEN json_valid(summary) THEN summary ELSE '{}' END AS summary FROM texts),
     counts AS (
        SELECT coalesce(nullif(json_extract(body, '$.usage.prompt_tokens'), 0),
                        iif(json_type(body, '$.choices') = 'array', json_extract(summary, '$.tokens[0]'), 0)) AS input,
               coalesce(nullif(json_extract(body, '$.usage.completion_tokens'), 0),
                        iif(json_type(body, '$.choices') = 'array', json_extract(summary, '$.tokens[1]'), 0)) AS output,
               coalesce(json_extract(summary, '$.batch'), 0) AS batch FROM valid)
SELECT count(*), sum(input), sum(output), sum(batch * input), sum(batch * output) FROM counts
"""
_Write = tuple[str, tuple[object, ...], "Future[None]"]


@dataclass(frozen=True)
class Usage:
    """The tokens of all stored answers, as the server counted them, else as they were estimated."""

    answers: int
    input_tokens: int
    output_tokens: int
    batch_input_tokens: int = 0  # of these, through the Batch API
    batch_output_tokens: int = 0


@dataclass(frozen=True)
class OpenBatch:
    """A file of requests on its way: `requests` are summaries by key. The ids are known once the server gave them."""

    name: str
    requests: dict[str, str]
    file_id: str | None = None
    batch_id: str | None = None


def explain(error: BaseException, path: Path) -> RunError:
    """The RunError for a failure of SQLite or the file system at `path`, with the way out."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"no space left for {path}: free some space and run the same command again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return RunError(f"{path} is damaged ({error}): restore it from a copy, or choose another --run")
    return RunError(f"cannot use {path} ({error}): check disk and permissions, then run the same command again")


class Ledger:
    """The open ledger at `path`, made if need be, and migrated where an older vtscot made it.

    `read_only` takes no lock and writes nothing; it reads older ledgers as they are.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = None if read_only else _lock(path)
        self._reading = threading.Lock()
        self._writer: _Writer | None = None
        try:
            if not read_only:
                self._writer = _Writer(path)
            self._reader = _connect(path, read_only=True)
            _version(self._reader, path)
        except BaseException:
            self._release()
            raise

    def answer(self, key: str) -> bytes | None:
        """The raw response stored for a request's key."""
        row = self._row("SELECT response FROM answers WHERE key = ?", key)
        return None if row is None else bytes(row[0])

    def summaries(self) -> Iterator[tuple[str, str]]:
        """Key and summary of every stored answer, ordered by key."""
        last = ""
        while rows := self._rows("SELECT key, summary FROM answers WHERE key > ? ORDER BY 1 LIMIT 4096", last):
            yield from rows
            last = rows[-1][0]

    def store(self, key: str, summary: str, response: bytes, *, latency_s: float | None = None) -> None:
        """Commit a raw response, in the place of an older one with the same key."""
        self._store(key, summary, response, latency_s).result()

    async def astore(self, key: str, summary: str, response: bytes, *, latency_s: float | None = None) -> None:
        """`store` for an event loop. Once called it happens, even where the waiting task is cancelled."""
        await asyncio.wrap_future(self._store(key, summary, response, latency_s))

    def check(self) -> None:
        """Raises what the last write met, where it failed: nothing more should be paid for then."""
        if self._writer is not None and self._writer.failure is not None:
            raise self._writer.failure

    def usage(self) -> Usage:
        """Sums over all stored answers."""
        row = self._row(_USAGE) or (0, 0, 0, 0, 0)
        return Usage(row[0], *(int(value or 0) for value in row[1:]))

    async def asave_batch(self, batch: OpenBatch) -> None:
        """Commit what is known of a batch, in the place of what was known before."""
        sql = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?)"
        text = json.dumps(batch.requests)
        await asyncio.wrap_future(self._write(sql, batch.name, text, batch.file_id, batch.batch_id, time.time()))

    async def adrop_batch(self, name: str) -> None:
        """Commit that nothing is awaited of a batch any more."""
        await asyncio.wrap_future(self._write("DELETE FROM batches WHERE name = ?", name))

    def open_batches(self) -> list[OpenBatch]:
        """The batches whose answers are not all here, oldest first."""
        if self._row("SELECT 1 FROM sqlite_master WHERE name = 'batches'") is None:
            return []  # version 1, open for reading only
        rows = self._rows("SELECT name, requests, file_id, batch_id FROM batches ORDER BY made, name")
        return [OpenBatch(name, json.loads(text), file_id, batch_id) for name, text, file_id, batch_id in rows]

    def outcome(self, query_id: str, input_digest: str) -> Outcome | None:
        """How the query ended, where it was worked on with the same input."""
        row = self._row("SELECT outcome FROM outcomes WHERE query_id = ? AND input_digest = ?", query_id, input_digest)
        return None if row is None else _outcome(row[0], self.path)

    def save_outcome(self, outcome: Outcome, input_digest: str) -> None:
        """Commit how a query ended, in the place of an earlier outcome of it."""
        self._save(outcome, input_digest).result()

    async def asave_outcome(self, outcome: Outcome, input_digest: str) -> None:
        """`save_outcome` for an event loop."""
        await asyncio.wrap_future(self._save(outcome, input_digest))

    def outcomes(self) -> Iterator[Outcome]:
        """All outcomes, ordered by query id: the same order whatever order they came in."""
        last = ""
        while rows := self._rows(
            "SELECT query_id, outcome FROM outcomes WHERE query_id > ? ORDER BY 1 LIMIT 256", last
        ):
            yield from (_outcome(text, self.path) for _, text in rows)
            last = rows[-1][0]

    def setting(self, name: str) -> str | None:
        """A value kept with the run."""
        row = self._row("SELECT value FROM settings WHERE name = ?", name)
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        """Commit a value, in the place of an older one."""
        self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value).result()

    def close(self) -> None:
        """Finish what is being written, and let go of the lock."""
        self._reader.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _store(self, key: str, summary: str, response: bytes, latency_s: float | None) -> Future[None]:
        sql = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)"
        return self._write(sql, key, summary, response, latency_s, time.time())

    def _save(self, outcome: Outcome, input_digest: str) -> Future[None]:
        sql = "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?)"
        text = outcome.model_dump_json()
        return self._write(sql, outcome.query.id, input_digest, outcome.state, outcome.reason, text)

    def _write(self, sql: str, *values: object) -> Future[None]:
        if self._writer is None:
            raise RunError(f"{self.path} is open for reading only, or closed")
        return self._writer.submit(sql, values)

    def _row(self, sql: str, *values: object) -> Any:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            with self._reading:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _Writer:
    """The thread that commits: a queue in front of one connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failure: RunError | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._connection = _create(path)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, sql: str, values: tuple[object, ...]) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # from here on it cannot be cancelled: a paid answer gets stored
        self._queue.put((sql, values, future))
        return future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):  # a full disk keeps the WAL from being merged; the WAL itself is whole
            self._connection.close()

    def _run(self) -> None:
        open_ = True
        while open_:
            first = self._queue.get()
            batch = [] if first is None else [first]
            open_ = first is not None
            while open_ and len(batch) < BATCH and not self._queue.empty():
                item = self._queue.get()
                open_ = item is not None
                batch += [item] if item is not None else []
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Write]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values, _ in batch:
                self._connection.execute(sql, values)
            self._connection.execute("COMMIT")
        except Exception as error:  # whoever waits must hear of it, whatever it is
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            self.failure = explain(error, self._path)
            for *_, future in batch:
                future.set_exception(explain(error, self._path))
        else:
            self.failure = None
            for *_, future in batch:
                future.set_result(None)


def _lock(path: Path) -> int:
    """Take the lock of a ledger; the descriptor holds it until it is closed or the process ends."""
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise explain(error, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise RunError(
            f"{path.parent} is in use by another vtscot process (pid {holder or 'unknown'}):"
            " wait until it ends, or choose another --run"
        ) from error
    with contextlib.suppress(OSError):  # the pid is for the message only; a full disk must not hide behind it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = path.resolve().as_uri() + ("?mode=ro" if read_only else "")
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _create(path: Path) -> sqlite3.Connection:
    connection = _connect(path, read_only=False)
    try:
        version = _version(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if version < VERSION:
            steps = "".join(_MIGRATIONS[version:])
            connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={VERSION}; COMMIT;")
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except RunError:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a ledger; RunError where a newer vtscot made it."""
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise explain(error, path) from error
    if version > VERSION:
        raise RunError(
            f"{path} was made by a newer vtscot (its version is {version}, this one reads up to {VERSION}):"
            " pip install -U vtscot, or choose another --run"
        )
    return version


def _outcome(text: str, path: Path) -> Outcome:
    try:
        return Outcome.model_validate_json(text)
    except ValueError as error:
        raise RunError(f"{path} holds an outcome that this vtscot cannot read: choose another --run") from error
