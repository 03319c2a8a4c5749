"""What goes wrong between here and the Hub, as one line that says what to do, and whether waiting may mend it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from vtscot.errors import PublishError

LOG_IN: Final = "run `hf auth login`, or set HF_TOKEN"
PATIENCE: Final = 330.0
"""Longest wait, in seconds, that a push takes upon itself: the Hub counts requests in windows of five minutes."""

_WINDOW: Final = re.compile(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")  # no request left of this window, seconds to the next


class HubError(PublishError):
    """The Hub refuses, or is not reached; `wait` is how long to wait before trying again, None where that is vain."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def endpoint() -> str:
    """The Hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@contextmanager
def explained(repo: str, doing: str) -> Iterator[None]:
    """Turn what the client raises into a HubError."""
    import httpx2
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a repository (user/name): {_line(error)}") from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        message, wait = _explain(error, repo)
        raise HubError(f"{doing} ({repo}) failed: {message}", wait=wait) from error


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, where there is one."""
    for cause in _causes(error):
        if (response := getattr(cause, "response", None)) is not None:
            return int(response.status_code)
    return None


def _explain(error: BaseException, repo: str) -> tuple[str, float | None]:
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if response is not None:
            return _status(response, cause, repo)
        if isinstance(cause, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set: unset it to reach the Hub", None
        if isinstance(cause, httpx2.TimeoutException):
            return f"{endpoint()} did not answer in time; run the same command again to go on", 2.0
        if isinstance(cause, (httpx2.TransportError, ConnectionError)):
            return f"cannot reach {endpoint()} ({_line(cause)}); run the same command again to go on", 2.0
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read ({error.strerror}): was the run built again in between?", None
    return _line(error), None


def _status(response: Any, error: BaseException, repo: str) -> tuple[str, float | None]:
    code, line = response.status_code, _line(error)
    if code == 429:
        return _limited(response)
    if code >= 500 or code == 408:
        return f"the Hub has a problem of its own ({code}); run the same command again later", 2.0
    if code in (409, 412):
        return f"somebody else changed {repo} meanwhile ({code}); run the same command again", 1.0
    if code == 403 and "disabled" in line.lower():
        return f"pull requests are switched off in {repo} (403); switch them on in its settings, or use --branch", None
    refused = {
        401: f"the Hub does not accept the token (401); {LOG_IN}",
        403: f"the token has no right to write to {repo} (403); use a token with write access, another --repo, or"
        " propose the dataset to its owner with --open-pr",
        404: f"no such repository, or no right to see it (404); check the name in --repo {repo}",
    }
    return refused.get(code, f"the Hub refuses it ({code}): {line}"), None


def _limited(response: Any) -> tuple[str, float | None]:
    """Rate limit: for how long, as the answer's headers say."""
    told = response.headers.get("Retry-After", "")
    counted = _WINDOW.search(response.headers.get("RateLimit", ""))
    seconds = int(told) if told.isdigit() else int(counted[1]) if counted else None
    when = f"in {seconds} s" if seconds is not None else f"after {told}" if told else "later"
    wait = None if seconds is not None and seconds > PATIENCE else float(seconds or 30) + 1
    return f"the Hub's rate limit is reached (429); try again {when}: what has arrived is not sent again", wait


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
