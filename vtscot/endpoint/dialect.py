"""What a server understands of the chat-completions dialect, learnt from its refusals.

A request starts in the richest form. A server that names a parameter when it refuses gets the next plainer form:
JSON schema, then JSON object with the schema in the text, then text with the schema in the text;
`max_completion_tokens` for `max_tokens`; no seed or temperature where it wants none.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from vtscot.endpoint.request import Picture, Request, sent_seed
from vtscot.endpoint.settings import EndpointSettings
from vtscot.prompts import render_prompt

Format = Literal["json_schema", "json_object", "text"]
PLAINER: Final[dict[Format, Format]] = {"json_schema": "json_object", "json_object": "text"}
_FORMAT: Final = re.compile(r"response_format|json_schema|json_object|structured|guided|grammar", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dialect:
    """One form of request."""

    format: Format = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    without: frozenset[str] = frozenset()

    def after_refusal(self, message: str) -> Dialect | None:
        """The form to try after a refusal with this message; None where the message is about something else."""
        if "max_completion_tokens" in message and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        for name in ("temperature", "seed"):
            if name in message and name not in self.without:
                _log.warning("the server refuses %s: going on without it (%s)", name, message[:200])
                return replace(self, without=self.without | {name})
        return self.plainer(message[:200]) if _FORMAT.search(message) else None

    def plainer(self, why: str) -> Dialect | None:
        """The next plainer answer format, if there is one."""
        if self.format not in PLAINER:
            return None
        format_ = PLAINER[self.format]
        _log.warning(
            "the server gives no %s: going on with %s and the schema in the text (%s)", self.format, format_, why
        )
        return replace(self, format=format_)


def body(request: Request, urls: Sequence[str], key: str, settings: EndpointSettings, dialect: Dialect) -> bytes:
    """The HTTP body of a request; `urls` are its pictures in order."""
    remaining = iter(urls)
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": next(remaining)}}
        if isinstance(part, Picture)
        else {"type": "text", "text": part}
        for part in request.content
    ]
    if dialect.format != "json_schema":
        schema = json.dumps(request.schema, sort_keys=True)
        parts.append({"type": "text", "text": render_prompt("endpoint/schema.j2", schema=schema)})
    message: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": _joined(parts)}],
        dialect.limit: request.max_output_tokens or settings.max_output_tokens,
    }
    if settings.temperature is not None and "temperature" not in dialect.without:
        message["temperature"] = settings.temperature
    if "seed" not in dialect.without:
        message["seed"] = sent_seed(key)
    if dialect.format == "json_object":
        message["response_format"] = {"type": "json_object"}
    elif dialect.format == "json_schema":
        named = {"name": request.schema_name, "schema": request.schema, "strict": True}
        message["response_format"] = {"type": "json_schema", "json_schema": named}
    return json.dumps(message).encode()


def _joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
    """Content without images as one string: servers of text models read nothing else."""
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n\n".join(part["text"] for part in parts)
