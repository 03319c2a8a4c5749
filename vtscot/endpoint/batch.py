"""Requests through the Batch API: files of many, uploaded once, asked about until they are done.

A batch is written into the ledger before anything is uploaded, and its id as soon as the server gives one. A build that
is killed in between looks for the batch, then for the file, by the name it gave them; only where the server knows
neither is the file sent (again). Answers are stored under the keys of their requests, exactly as those of chat
completions; what fails alone (an expired line, a 5xx) goes into the next batch.

    RUN/batches/NAME.jsonl     the file, until its batch has ended
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeVar

from vtscot.endpoint.faults import Fault, brief, by_status, classify, pause
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import EndpointError
from vtscot.ledger import Ledger, OpenBatch

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

T = TypeVar("T")
Result = tuple[bytes, Fault | None]
URL: Final = "/v1/chat/completions"
ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
FULL: Final = frozenset({"token_limit_exceeded", "rate_limit_exceeded", "quota_exceeded"})
"""Why a server takes no further batch now, but will later."""

SLOW_S: Final = 600.0  # for a file of many megabytes
LISTED: Final = 100  # of the latest batches and files, where one is looked for by its name


class Office(Protocol):
    """What a client does for its batches."""

    settings: EndpointSettings
    ledger: Ledger

    def http(self) -> AsyncOpenAI: ...

    def struck(self, raw: bytes) -> bytes: ...

    async def take(self, key: str, summary: str, raw: bytes) -> Fault | None: ...

    def say(self, text: str) -> None: ...


@dataclass
class _Spool:
    """A file that is being filled."""

    path: Path
    file: IO[bytes]
    size: int = 0
    requests: dict[str, str] = field(default_factory=dict)


class Batches:
    """The batches of one client. Use it in one event loop; what is on its way when it is closed stays on its way."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._settings = office.settings
        self._folder = office.ledger.path.parent / "batches"
        self._spool: _Spool | None = None
        self._waiting: dict[str, asyncio.Future[Result]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet: asyncio.Task[None] | None = None
        self._last = 0.0
        self._preparing = 0

    def resume(self) -> None:
        """Go on with the batches that an earlier build left open."""
        known = self._office.ledger.open_batches()
        for path in self._folder.glob("*.jsonl"):
            if path.stem not in {batch.name for batch in known}:
                path.unlink()  # was never sent
        for batch in known:
            self._office.say(f"batch {batch.batch_id or batch.name}: {len(batch.requests)} requests are on their way")
            for key in batch.requests:
                self._expect(key)
            self._start(self._carry(batch, found=False))

    def holds(self, key: str) -> bool:
        """Whether the request is in a batch already."""
        return key in self._waiting

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """While a request is made ready, no file is closed."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._last = time.monotonic()

    async def result(self, key: str) -> Result:
        """The answer to a request that `holds`, stored; or what is wrong with it."""
        return await asyncio.shield(self._waiting[key])

    def add(self, key: str, content: bytes, summary: str) -> None:
        """Put a request (the body of a chat completion) into the file that goes next."""
        line = b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (key.encode(), URL.encode(), content)
        if self._spool is not None and self._spool.size + len(line) > self._settings.batch_bytes:
            self._submit()
        spool = self._spool or self._open()
        spool.file.write(line)
        spool.size += len(line)
        spool.requests[key] = summary
        self._expect(key)
        self._last = time.monotonic()
        if len(spool.requests) >= self._settings.batch_requests:
            self._submit()
        elif self._quiet is None or self._quiet.done():
            self._quiet = self._start(self._when_quiet())

    async def close(self) -> None:
        """Stop asking. Open batches stay in the ledger; a file that was not sent is dropped."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._spool is not None:
            self._spool.file.close()
            self._spool.path.unlink(missing_ok=True)
            self._spool = None

    def _expect(self, key: str) -> None:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody asks
        self._waiting[key] = future

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _open(self) -> _Spool:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"vtscot-{hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:24]}.jsonl"
        self._spool = _Spool(path, path.open("wb"))
        return self._spool

    async def _when_quiet(self) -> None:
        """Close the file once nothing has come for a while, and nothing is being made ready."""
        while self._spool is not None:
            left = self._last + self._settings.batch_quiet_s - time.monotonic()
            if left <= 0 and not self._preparing:
                self._submit()
                return
            await asyncio.sleep(max(left, 0.02))

    def _submit(self) -> None:
        if self._spool is not None:
            self._spool.file.close()
            batch = OpenBatch(self._spool.path.stem, self._spool.requests)
            self._spool = None
            self._start(self._carry(batch, found=True))

    async def _carry(self, batch: OpenBatch, *, found: bool) -> None:
        """One batch to its end; `found`: it is new, so that there is nothing to look for at the server."""
        try:
            results = await self._results(batch, new=found)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            for key in batch.requests:
                self._waiting.pop(key).set_exception(error)
        else:
            for key in batch.requests:
                self._waiting.pop(key).set_result(results[key])

    async def _results(self, batch: OpenBatch, *, new: bool) -> Mapping[str, Result]:
        """Upload, wait and store; a server that is full for now is asked again later."""
        if new:
            await self._office.ledger.asave_batch(batch)
        elif batch.batch_id is None:
            batch = await self._lost(batch)
        while True:
            if batch.batch_id is None and not (batch := await self._send(batch)).batch_id:
                return await self._drop(batch, dict.fromkeys(batch.requests, _LOST))
            ended = await self._poll(batch)
            if ended.status != "failed" or not self._full(ended):
                break
            self._office.say(f"batch {batch.batch_id}: the server is full for now; it is asked again")
            await asyncio.sleep(self._settings.batch_poll_s)
            batch = replace(batch, batch_id=None)
        return await self._drop(batch, await self._collect(batch, ended))

    async def _lost(self, batch: OpenBatch) -> OpenBatch:
        """What the server knows of a batch whose id never came back."""
        if (batch_id := await self._find(batch.name)) is not None:
            return await self._known(replace(batch, batch_id=batch_id))
        if batch.file_id is None and (file_id := await self._find_file(batch.name)) is not None:
            return await self._known(replace(batch, file_id=file_id))
        return batch

    async def _send(self, batch: OpenBatch) -> OpenBatch:
        """Upload the file and have it worked on; unchanged where the file is gone."""
        if batch.file_id is None:
            path = self._folder / f"{batch.name}.jsonl"
            if not path.exists():
                return batch
            upload = await self._call(
                lambda http: http.files.create(file=(path.name, path), purpose="batch", timeout=SLOW_S),
                again=lambda: self._find_file(batch.name),
            )
            batch = await self._known(replace(batch, file_id=upload if isinstance(upload, str) else upload.id))
        file_id = batch.file_id or ""
        made = await self._call(
            lambda http: http.batches.create(
                input_file_id=file_id, endpoint=URL, completion_window="24h", metadata={"vtscot": batch.name}
            ),
            again=lambda: self._find(batch.name),
        )
        batch = await self._known(replace(batch, batch_id=made if isinstance(made, str) else made.id))
        self._office.say(f"batch {batch.batch_id}: {len(batch.requests)} requests sent")
        return batch

    async def _known(self, batch: OpenBatch) -> OpenBatch:
        await self._office.ledger.asave_batch(batch)
        return batch

    async def _find(self, name: str) -> str | None:
        """The id of the batch that was given this name, if the server has it and tells."""
        page = await self._call(lambda http: http.batches.list(limit=LISTED), optional=True)
        batches = page.data if page is not None else []
        usable = [one for one in batches if one.status != "failed" and (one.metadata or {}).get("vtscot") == name]
        return usable[0].id if usable else None

    async def _find_file(self, name: str) -> str | None:
        page = await self._call(lambda http: http.files.list(purpose="batch", limit=LISTED), optional=True)
        return next(
            (one.id for one in (page.data if page is not None else []) if one.filename == f"{name}.jsonl"), None
        )

    async def _poll(self, batch: OpenBatch) -> Batch:
        """The batch once it has ended."""
        told, batch_id = "", batch.batch_id or ""
        while True:
            now: Batch = await self._call(lambda http: http.batches.retrieve(batch_id))
            counts = now.request_counts
            done = f", {counts.completed} of {counts.total} done, {counts.failed} failed" if counts else ""
            if (state := f"batch {batch_id}: {now.status}{done}") != told:
                self._office.say(told := state)
            if now.status in ENDED:
                return now
            await asyncio.sleep(self._settings.batch_poll_s)

    def _full(self, ended: Batch) -> bool:
        errors = ended.errors.data if ended.errors is not None else None
        return any(error.code in FULL for error in errors or ())

    async def _collect(self, batch: OpenBatch, ended: Batch) -> dict[str, Result]:
        """Store the answers; what has none, with what is wrong."""
        if ended.status == "failed":
            errors = (ended.errors.data if ended.errors is not None else None) or []
            why = "; ".join(f"{error.code}: {error.message}" for error in errors[:3]) or "no reason given"
            await self._drop(batch, {})
            raise EndpointError(f"the server refuses batch {ended.id}: {brief(self._told(why))}")
        missing = Fault("batch-incomplete", f"batch {ended.id} is {ended.status} and has no line for it", again=True)
        results: dict[str, Result] = dict.fromkeys(batch.requests, (b"", missing))
        for file_id in filter(None, (ended.error_file_id, ended.output_file_id)):
            text = await self._download(file_id)
            for line in self._office.struck(text).splitlines():
                key, raw, fault = read_line(line)
                if key not in batch.requests:
                    continue
                if fault is None:
                    fault = await self._office.take(key, batch.requests[key], raw)
                results[key] = raw, fault
        return results

    async def _download(self, file_id: str) -> bytes:
        content = await self._call(lambda http: http.files.content(file_id, timeout=SLOW_S))
        return bytes(content.content)

    async def _drop(self, batch: OpenBatch, results: dict[str, Result]) -> dict[str, Result]:
        await self._office.ledger.adrop_batch(batch.name)
        (self._folder / f"{batch.name}.jsonl").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        return results

    def _told(self, text: str) -> str:
        return self._office.struck(text.encode()).decode("utf-8", "replace")

    async def _call(
        self,
        make: Callable[[AsyncOpenAI], Awaitable[T]],
        *,
        again: Callable[[], Awaitable[str | None]] | None = None,
        optional: bool = False,
    ) -> Any:
        """What the server answers, asked again where it may pass; `again` finds what an earlier try has made.

        `optional`: None in the place of an error, for what not every server has.
        """
        from openai import APIError

        settings, attempt = self._settings, 0
        while True:
            try:
                return await make(self._office.http())
            except APIError as error:
                fault = classify(error)
            attempt += 1
            if not fault.again or attempt >= settings.max_attempts:
                if optional:
                    return None
                way_out = fault.cure or "open batches are kept: run the same command again"
                way_out = "is there a Batch API? if not, leave out --batch" if "HTTP 404" in fault.detail else way_out
                raise EndpointError(f"Batch API: {brief(self._told(fault.detail))}: {way_out}")
            await asyncio.sleep(pause(str(attempt), attempt, settings.backoff_s, settings.max_wait_s, fault.wait_s))
            if again is not None and (made := await again()) is not None:
                return made


_LOST: Final[Result] = (b"", Fault("batch-lost", "the file of a batch is gone", again=True))


def read_line(line: bytes) -> tuple[str, bytes, Fault | None]:
    """A line of an output or error file: the request's key, the raw completion, or what is wrong with it."""
    try:
        value = json.loads(line)
        key = str(value["custom_id"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return "", b"", Fault("not-json", f"a line of a batch is no answer: {brief(repr(line[:80]))}", again=True)
    response, error = value.get("response"), value.get("error")
    if isinstance(response, dict) and response.get("status_code") == 200:
        return key, json.dumps(response.get("body"), ensure_ascii=False, separators=(",", ":")).encode(), None
    if isinstance(response, dict):
        status, body = response.get("status_code"), response.get("body")
        told = body.get("error") if isinstance(body, dict) else None
        named = told if isinstance(told, dict) else {"message": json.dumps(body)}
        message = " ".join(str(named[name]) for name in ("message", "param", "code") if named.get(name))
        return key, b"", by_status(status if isinstance(status, int) else 500, message, {})
    told = error if isinstance(error, dict) else {}
    reason = str(told.get("code") or "batch-error")
    return key, b"", Fault(brief(reason, 60), str(told.get("message") or "no reason given"), again=True)
