"""Blind verification of episodes; `open_grounder` knows the grounders by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtscot.errors import UsageError
from vtscot.verify.base import Grounder
from vtscot.verify.judge import open_judge
from vtscot.verify.verifier import CHECKS, verify

if TYPE_CHECKING:
    from vtscot.endpoint.client import ChatClient

__all__ = ["CHECKS", "open_grounder", "open_judge", "verify"]


def open_grounder(name: str, client: ChatClient | None, seed: int = 0) -> Grounder:
    """The grounder of that name; one that asks a model does so through `client`, which stays its owner's."""
    if name == "words":
        from vtscot.verify.words import WordsGrounder

        return WordsGrounder()
    if name == "openai" and client is not None:
        from vtscot.verify.openai import OpenAIGrounder

        return OpenAIGrounder(client, seed=seed)
    raise UsageError(f"no grounder {name!r} here; there are words and openai, which needs an endpoint")
