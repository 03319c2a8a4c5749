"""What can go wrong between a request and its answer, and what to do about it.

| seen | then |
|---|---|
| 401, 402, 403, 404, quota used up, no server where none ever answered | `EndpointError`: every request would fail |
| 429, 408, 409, 5xx, time-out, connection lost or refused, a body that is no chat completion | sent again |
| any other 4xx | `TeacherError`, reason `bad-request`, not retryable |
"""

from __future__ import annotations

import email.utils
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

_CURES: Final = {
    401: "the key was refused: check the variable OPENAI_API_KEY",
    402: "it wants to be paid first",
    403: "the key may not use this: check the variable OPENAI_API_KEY and the model's access rights",
    404: "no such model or path: check --model and --base-url (it usually ends in /v1)",
}
_AGAIN: Final = (408, 409, 429)
_QUOTA: Final = "insufficient_quota"


@dataclass(frozen=True)
class Fault:
    """One failed attempt. `cure` is set where going on is pointless, `unreachable` where there was no server.

    `detail` may be long, and may repeat what was sent to the server, the API key included.
    """

    reason: str
    detail: str
    again: bool
    cure: str | None = None
    unreachable: bool = False
    refusal: bool = False  # perhaps about the form of the request: the message tells
    wait_s: float | None = None


TIME_OUT: Final = Fault("time-out", "no answer within the time-out", again=True)


def classify(error: APIError) -> Fault:
    """The fault behind an exception of the openai package."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APIStatusError):
        return by_status(error.status_code, _message(error), error.response.headers)
    if isinstance(error, APITimeoutError):
        return TIME_OUT
    cause = error.__cause__ or error
    detail = f"{type(cause).__name__}: {str(cause) or 'connection lost'}"
    unreachable = isinstance(error, APIConnectionError) and type(cause).__name__ in ("ConnectError", "ConnectTimeout")
    return Fault("connection", detail, again=True, unreachable=unreachable)


def _message(error: APIStatusError) -> str:
    """What the server says, and which parameter it means."""
    body = error.body
    if not isinstance(body, dict):
        return str(body or error.message)
    named = [str(body[name]) for name in ("param", "code") if body.get(name)]
    message = str(body.get("message") or body.get("detail") or body)
    return f"{message} ({', '.join(named)})" if named else message


def by_status(status: int, message: str, headers: Mapping[str, str]) -> Fault:
    """The fault behind a status other than 200."""
    detail = f"HTTP {status}: {message}"
    if status == 429 and _QUOTA in message:
        return Fault("rate-limited", detail, again=False, cure="the account's quota is used up")
    if status in _CURES:
        return Fault("refused", detail, again=False, cure=_CURES[status])
    if status in _AGAIN or status >= 500:
        reason = {429: "rate-limited", 408: "time-out"}.get(status, "server-error")
        return Fault(reason, detail, again=True, wait_s=retry_after(headers, time.time()), refusal=status in (500, 501))
    return Fault("bad-request", detail, again=False, refusal=True)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server wants us to wait (from `retry-after-ms` or `Retry-After`, seconds or an HTTP date)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    """A plain non-negative decimal; None for anything else (so no infinities and no NaN)."""
    return float(text) if text is not None and re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", text) else None


def pause(key: str, attempt: int, base_s: float, cap_s: float, wait_s: float | None) -> float:
    """Seconds before attempt number `attempt` (1 is the first retry): exponential backoff with full jitter.

    The jitter comes from the request's key, so it is the same on every run and spread over requests. A time that the
    server named is waited in full, and the jitter comes on top.
    """
    digest = hashlib.sha256(f"{key}/{attempt}".encode()).digest()
    jitter = int.from_bytes(digest[:8], "big") / 2**64
    backoff = min(cap_s, base_s * 2.0 ** min(attempt, 30)) * jitter
    return backoff if wait_s is None else wait_s + min(backoff, base_s)


def brief(text: str, length: int = 300) -> str:
    """`text` as one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def shown_url(url: str) -> str:
    """A URL without user, password, query and fragment: fit for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
