"""What writes thoughts; `open_teacher` knows the back ends by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtscot.errors import UsageError
from vtscot.teacher.base import Mode, PassTokens, Style, Teacher

if TYPE_CHECKING:
    from vtscot.endpoint.client import ChatClient


def open_teacher(
    name: str,
    client: ChatClient | None,
    style: Style = "full",
    *,
    mode: Mode = "passes",
    tokens: PassTokens | None = None,
) -> Teacher:
    """The teacher of that name; one that asks a model does so through `client` and closes it.

    `style` is how the oracle writes; `mode` and `tokens` are how a model is asked.
    """
    if name == "oracle":
        from vtscot.teacher.oracle import OracleTeacher

        return OracleTeacher(style=style)
    if name == "openai" and client is not None:
        from vtscot.teacher.openai import OpenAITeacher

        return OpenAITeacher(client, mode, tokens)
    raise UsageError(f"no teacher {name!r} here; there are oracle and openai, which needs an endpoint")
