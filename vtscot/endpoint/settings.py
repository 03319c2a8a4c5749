"""How to reach and use an OpenAI-compatible endpoint.

Only some of these settings decide what is asked (`asks`); the rest is transport and may change between two runs of
the same directory without paying anything again.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from vtscot.records import Frozen

ASKED: Final = ("model", "max_output_tokens", "temperature")


class EndpointSettings(Frozen):
    """Model, sampling and transport. Times are seconds; `base_url` None is the provider's own endpoint.

    `max_attempts` bounds how often one request is sent until an answer comes; `max_answers` bounds how many answers to
    one question are paid for, the unusable ones included, over all runs of a directory.
    """

    model: str | None = None
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    max_output_tokens: int = Field(default=2048, gt=0)
    temperature: float | None = Field(default=0.7, ge=0, le=2)
    concurrency: int = Field(default=16, ge=1, le=1024)
    timeout_s: float = Field(default=180, gt=0)
    max_attempts: int = Field(default=6, ge=1)
    max_answers: int = Field(default=3, ge=1)
    backoff_s: float = Field(default=1, gt=0)
    max_wait_s: float = Field(default=120, gt=0)

    def asks(self) -> dict[str, object]:
        """The settings that decide what is asked: part of every request's key."""
        return {name: getattr(self, name) for name in ASKED}
