"""The one client of an OpenAI-compatible endpoint: every answer is in the ledger before anyone reads it.

`ask` looks into the ledger first; what is there is not sent again. A completion that cannot be used (cut off, broken
JSON, against the schema) stays there too, and another one is asked for under the next answer number, at most
`max_answers` over all runs: resuming replays the same answers and pays only for what is missing, and a higher
`max_answers` asks again. A body that is no completion at all (an error page) is kept but never counts as an answer.

The API key lives in the HTTP client only; it is struck out of everything that is stored or said.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel

from vtscot.endpoint.answers import BadAnswer, envelope_fault, read_answer, usage_of
from vtscot.endpoint.dialect import Dialect, body
from vtscot.endpoint.faults import TIME_OUT, Fault, brief, classify, pause, shown_url
from vtscot.endpoint.images import ImageStore
from vtscot.endpoint.request import Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import EndpointError, TeacherError, UsageError
from vtscot.ledger import Ledger

if TYPE_CHECKING:
    from openai import AsyncOpenAI

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
KEY_VARIABLE: Final = "OPENAI_API_KEY"
NO_KEY: Final = "none"  # what local servers are sent, which want no key


@dataclass
class Stats:
    """What this client did so far."""

    sent: int = 0
    answered: int = 0
    from_ledger: int = 0
    unusable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class ChatClient:
    """Asks questions and reads their answers. Use one per event loop; close it at the end.

    `offline` never sends: what is not in the ledger is a TeacherError with the reason `not-in-ledger`.
    """

    def __init__(
        self, settings: EndpointSettings, ledger: Ledger, *, api_key: str | None = None, offline: bool = False
    ) -> None:
        if settings.model is None:
            raise UsageError("the endpoint needs a model: name one with --model")
        self.settings = settings
        self.ledger = ledger
        self.stats = Stats()
        self._offline = offline
        self._key = api_key if offline else _checked_key(api_key or os.environ.get(KEY_VARIABLE), settings)
        self._images = ImageStore()
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._asking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._dialect = Dialect()
        self._proven = False  # an answer in this dialect could be used
        self._reached = False
        self._unreachable = 0  # in a row
        self._client: AsyncOpenAI | None = None

    async def ask(self, request: Request, model: type[M], check: Callable[[M], T]) -> T:
        """The answer to a request as `model`, then as `check` returns it (which may raise BadAnswer).

        Raises TeacherError where no usable answer came, EndpointError where none will, RunError where it cannot be
        stored, FrameError where an image cannot be read.
        """
        bad = BadAnswer("empty", "no answer")
        for answer in range(self.settings.max_answers):
            key = request.key(self.settings.asks(), answer)
            raw, dialect = await self._answer(request, key, answer)
            try:
                result = check(read_answer(raw, model))
            except BadAnswer as error:
                bad = error
                self.stats.unusable += 1
                self._disappointed(error, dialect)
                if not error.again:
                    break
            else:
                self._proven = self._proven or dialect == self._dialect
                return result
        raise TeacherError(f"{request.label}: {bad}", reason=bad.reason, retryable=bad.again)

    async def close(self) -> None:
        """Close connections and threads."""
        self._images.close()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _answer(self, request: Request, key: str, answer: int) -> tuple[bytes, Dialect | None]:
        """A chat completion for the key: from the ledger, else from the server; and the dialect it was asked in."""
        async with self._asking.setdefault(key, asyncio.Lock()):  # two queries may ask the same
            stored = self.ledger.answer(key)
            if stored is not None and envelope_fault(stored) is None:
                self.stats.from_ledger += 1
                return stored, None
            if self._offline:
                raise TeacherError(f"{request.label}: the ledger has no answer", reason="not-in-ledger", retryable=True)
            urls = await self._images.urls(request.pictures)  # before the slot: others are in flight meanwhile
            async with self._slots:
                return await self._send(request, urls, key, answer)

    async def _send(self, request: Request, urls: Sequence[str], key: str, answer: int) -> tuple[bytes, Dialect]:
        """Send until a chat completion comes and is stored; the slot is kept while waiting, to slow down with it."""
        settings, attempt = self.settings, 0
        while True:
            dialect = self._dialect
            content = body(request, urls, key, settings, dialect)
            raw, fault = await self._try(request, content, key, answer)
            if fault is None:
                return raw, dialect
            if fault.refusal and self._adapted(dialect, fault):
                continue
            attempt += 1
            if not fault.again or attempt >= settings.max_attempts or (fault.wait_s or 0) > settings.max_wait_s:
                raise self._error(request, fault)
            await asyncio.sleep(pause(key, attempt, settings.backoff_s, settings.max_wait_s, fault.wait_s))

    async def _try(self, request: Request, content: bytes, key: str, answer: int) -> tuple[bytes, Fault | None]:
        """One attempt: the raw body, stored, and what is wrong with it."""
        begun = time.monotonic()
        raw, fault = await self._post(content)
        if fault is not None:
            return raw, fault
        latency = time.monotonic() - begun
        await self.ledger.astore(key, request.summary(self.settings.asks(), answer), raw, latency_s=latency)
        fault = envelope_fault(raw)
        if fault is None:
            self._count(raw)
        return raw, fault

    async def _post(self, content: bytes) -> tuple[bytes, Fault | None]:
        """The body of the server's answer, without the key should the server repeat it."""
        import httpx2
        from openai import APIError

        self.stats.sent += 1
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self._http().post("/chat/completions", content=content, cast_to=httpx2.Response)
        except TimeoutError:
            return b"", TIME_OUT
        except APIError as error:
            fault = classify(error)
            fault = replace(fault, detail=self._struck(fault.detail))
            self._note(reached=fault.reason not in ("connection", "time-out"), unreachable=fault.unreachable)
            return b"", fault
        self._note(reached=True, unreachable=False)
        return self._struck_bytes(response.content), None

    def _http(self) -> AsyncOpenAI:
        if self._client is None:
            import httpx2
            from openai import AsyncOpenAI

            url, timeout = self.settings.base_url, self.settings.timeout_s
            try:
                self._client = AsyncOpenAI(api_key=self._key, base_url=url, max_retries=0, timeout=timeout)
            except httpx2.InvalidURL as error:
                raise UsageError(f"--base-url {shown_url(url or '')} is not an address: {error}") from error
        return self._client

    def _count(self, raw: bytes) -> None:
        prompt, completion = usage_of(raw)
        self.stats.answered += 1
        self.stats.input_tokens += prompt
        self.stats.output_tokens += completion

    def _note(self, *, reached: bool, unreachable: bool) -> None:
        self._reached = self._reached or reached
        self._unreachable = self._unreachable + 1 if unreachable else 0

    def _adapted(self, sent: Dialect, fault: Fault) -> bool:
        """Whether there is another form of request to try after this refusal."""
        if sent != self._dialect:
            return True  # another request has learnt it meanwhile
        plainer = sent.after_refusal(fault.detail)
        if plainer is None:
            return False
        self._dialect, self._proven = plainer, False
        return True

    def _disappointed(self, bad: BadAnswer, dialect: Dialect | None) -> None:
        """Go on plainer where a server takes the JSON schema and then ignores it."""
        if bad.reason in ("not-json", "schema") and dialect == self._dialect and not self._proven:
            self._dialect = self._dialect.plainer(bad.reason) or self._dialect

    def _error(self, request: Request, fault: Fault) -> EndpointError | TeacherError:
        url, detail = self._shown_url(), brief(fault.detail)
        if fault.cure is not None:
            return EndpointError(f"{url} (model {self.settings.model}): {detail}: {fault.cure}")
        if fault.unreachable and (not self._reached or self._unreachable > self.settings.concurrency):
            return EndpointError(f"no server answers at {url} ({detail}): start it, or name another with --base-url")
        return TeacherError(f"{request.label}: {url}: {detail}", reason=fault.reason, retryable=fault.again)

    def _shown_url(self) -> str:
        return shown_url(str(self._http().base_url))

    def _struck(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key and self._key != NO_KEY else text

    def _struck_bytes(self, raw: bytes) -> bytes:
        return raw.replace(self._key.encode(), b"***") if self._key and self._key != NO_KEY else raw


def _checked_key(key: str | None, settings: EndpointSettings) -> str:
    """The key to send; raises EndpointError where there is none and one is needed, without ever showing it."""
    key = (key or "").strip()
    if not key and settings.base_url is None and "OPENAI_BASE_URL" not in os.environ:
        raise EndpointError(
            f"no API key: set the variable {KEY_VARIABLE}, or name a server of your own with --base-url"
        )
    if not key.isascii() or not all(character.isprintable() and character != " " for character in key):
        raise EndpointError(f"the variable {KEY_VARIABLE} holds characters that no key has: set it again")
    return key or NO_KEY
