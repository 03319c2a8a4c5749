"""The one client of an OpenAI-compatible endpoint: every answer is in the ledger before anyone reads it.

`ask` looks into the ledger first; what is there is not sent again. A completion that cannot be used (cut off, broken
JSON, against the schema) stays there too, and another one is asked for under the next answer number, at most
`max_answers` over all runs: resuming replays the same answers and pays only for what is missing, and a higher
`max_answers` asks again. A body that is no completion at all (an error page) is kept but never counts as an answer.

With `batch`, and as long as an earlier build's batches are open, requests travel in files (`vtscot.endpoint.batch`);
keys, answers and what becomes of them are the same.

The API key lives in the HTTP client only; it is struck out of everything that is stored or said.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from vtscot.endpoint.answers import BadAnswer, envelope_fault, read_answer
from vtscot.endpoint.batch import Batches
from vtscot.endpoint.dialect import Dialect, body
from vtscot.endpoint.faults import TIME_OUT, Fault, brief, classify, pause, shown_url
from vtscot.endpoint.images import ImageStore
from vtscot.endpoint.price import Purse, Tokens, counted, expected, spent_before
from vtscot.endpoint.request import Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import EndpointError, TeacherError, UsageError
from vtscot.ledger import Ledger

if TYPE_CHECKING:
    from openai import AsyncOpenAI

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_Try = Callable[[Request, Dialect, str, int], Awaitable[tuple[bytes, Fault | None]]]
KEY_VARIABLE: Final = "OPENAI_API_KEY"
NO_KEY: Final = "none"  # what local servers are sent, which want no key


@dataclass
class Stats:
    """What this client did so far."""

    sent: int = 0
    answered: int = 0
    from_ledger: int = 0
    unusable: int = 0
    faults: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class ChatClient:
    """Asks questions and reads their answers. Use one per event loop; close it at the end.

    `offline` never sends: what is not in the ledger is a TeacherError with the reason `not-in-ledger`.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        ledger: Ledger,
        *,
        api_key: str | None = None,
        offline: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if settings.model is None:
            raise UsageError("the endpoint needs a model: name one with --model")
        self.settings = settings
        self.ledger = ledger
        self.stats = Stats()
        self.purse = Purse(settings, 0.0 if offline else _spent(ledger, settings))
        self._offline = offline
        self._say = say
        self._batches: Batches | None = None
        self._looked = False  # for batches of an earlier build
        self._key = api_key if offline else _checked_key(api_key or os.environ.get(KEY_VARIABLE), settings)
        self._secrets = _secrets(self._key, settings.base_url)
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
        """Close connections and threads. Batches on their way go on at the server."""
        if self._batches is not None:
            await self._batches.close()
            self._batches = None
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
            if (batches := self._open_batches()) is not None and (self.settings.batch or batches.holds(key)):
                return await self._insist(request, key, answer, partial(self._enqueue, batches))
            held = self.purse.hold(expected(request, self.settings), batch=False)
            try:
                urls = await self._images.urls(request.pictures)  # before the slot: others are in flight meanwhile
                async with self._slots:  # kept while waiting, to slow down with the server
                    self.ledger.check()
                    return await self._insist(request, key, answer, partial(self._try, urls))
            finally:
                self.purse.release(held)

    def _open_batches(self) -> Batches | None:
        """The batches of this client: those it makes, and those that an earlier build left open."""
        if not self._looked:
            self._looked = True
            if self.settings.batch or self.ledger.open_batches():
                self._batches = Batches(self)
                self._batches.resume()
        return self._batches

    async def _insist(self, request: Request, key: str, answer: int, attempt_once: _Try) -> tuple[bytes, Dialect]:
        """Send until a chat completion comes and is stored."""
        settings, attempt = self.settings, 0
        while True:
            dialect = self._dialect
            raw, fault = await attempt_once(request, dialect, key, answer)
            if fault is None:
                return raw, dialect
            self.stats.faults += 1
            if fault.refusal and self._adapted(dialect, fault):
                continue
            attempt += 1
            if not fault.again or attempt >= settings.max_attempts or (fault.wait_s or 0) > settings.max_wait_s:
                raise self._error(request, fault)
            await asyncio.sleep(pause(key, attempt, settings.backoff_s, settings.max_wait_s, fault.wait_s))

    async def _try(
        self, urls: Sequence[str], request: Request, dialect: Dialect, key: str, answer: int
    ) -> tuple[bytes, Fault | None]:
        """One attempt: the raw body, stored, and what is wrong with it."""
        begun = time.monotonic()
        raw, fault = await self._post(body(request, urls, key, self.settings, dialect))
        if fault is not None:
            return raw, fault
        latency = time.monotonic() - begun
        guess = expected(request, self.settings)
        tokens = guess.input, len(raw) // 4
        await self.ledger.astore(
            key, request.summary(self.settings.asks(), answer, tokens=tokens), raw, latency_s=latency
        )
        fault = envelope_fault(raw)
        if fault is None:
            self._count(raw, guess, batch=False)
        return raw, fault

    async def _enqueue(
        self, batches: Batches, request: Request, dialect: Dialect, key: str, answer: int
    ) -> tuple[bytes, Fault | None]:
        """One attempt in a batch; the money for it is set aside until it has ended."""
        if batches.holds(key):
            return await batches.result(key)
        guess = expected(request, self.settings)
        held = self.purse.hold(guess, batch=True)
        try:
            with batches.preparing():
                urls = await self._images.urls(request.pictures)
                content = body(request, urls, key, self.settings, dialect)
            tokens = guess.input, guess.output
            batches.add(key, content, request.summary(self.settings.asks(), answer, tokens=tokens, batch=True))
            self.stats.sent += 1
            return await batches.result(key)
        finally:
            self.purse.release(held)

    async def take(self, key: str, summary: str, raw: bytes) -> Fault | None:
        """Store an answer that came in a batch."""
        await self.ledger.astore(key, summary, raw)
        fault = envelope_fault(raw)
        if fault is None:
            self._count(raw, Tokens(*json.loads(summary)["tokens"]), batch=True)
        return fault

    def say(self, text: str) -> None:
        """Tell whoever watches."""
        if self._say is not None:
            self._say(text)

    async def _post(self, content: bytes) -> tuple[bytes, Fault | None]:
        """The body of the server's answer, without the key should the server repeat it."""
        import httpx2
        from openai import APIError

        self.stats.sent += 1
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self.http().post("/chat/completions", content=content, cast_to=httpx2.Response)
        except TimeoutError:
            return b"", TIME_OUT
        except APIError as error:
            fault = classify(error)
            fault = replace(fault, detail=self._struck(fault.detail))
            self._note(reached=fault.reason not in ("connection", "time-out"), unreachable=fault.unreachable)
            return b"", fault
        self._note(reached=True, unreachable=False)
        return self.struck(response.content), None

    def http(self) -> AsyncOpenAI:
        """The HTTP client; nothing else holds the key for long."""
        if self._client is None:
            import httpx2
            from openai import AsyncOpenAI

            url, timeout = self.settings.base_url, self.settings.timeout_s
            try:
                self._client = AsyncOpenAI(api_key=self._key, base_url=url, max_retries=0, timeout=timeout)
            except httpx2.InvalidURL as error:
                raise UsageError(f"--base-url {shown_url(url or '')} is not an address: {error}") from error
        return self._client

    def _count(self, raw: bytes, guess: Tokens, *, batch: bool) -> None:
        tokens = counted(raw, guess)
        self.stats.answered += 1
        self.stats.input_tokens += tokens.input
        self.stats.output_tokens += tokens.output
        self.purse.pay(tokens, batch=batch)

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
        return shown_url(str(self.http().base_url))

    def _struck(self, text: str) -> str:
        return self.struck(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def struck(self, raw: bytes) -> bytes:
        """`raw` without the key, should the server repeat it, as it is or as JSON or a URL spell it."""
        for spelling in self._secrets:
            raw = raw.replace(spelling, b"***")
        return raw


def _spent(ledger: Ledger, settings: EndpointSettings) -> float:
    """What the run's answers have cost so far; they are only counted where there are prices."""
    return spent_before(ledger.usage(), settings) if settings.input_price is not None else 0.0


def _secrets(key: str | None, url: str | None) -> tuple[bytes, ...]:
    """All that is struck out, in every spelling, the longest first: the key, and the address's password and query."""
    parts = urlsplit(url or "")
    texts = [text for text in (key if key != NO_KEY else None, parts.password, parts.query) if text]
    spellings = {spelt for text in texts for spelt in (text, json.dumps(text)[1:-1], quote(text, safe=""))}
    return tuple(text.encode() for text in sorted(spellings, key=lambda text: (-len(text), text)))


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
