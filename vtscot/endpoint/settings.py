"""How to reach and use an OpenAI-compatible endpoint.

Only some of these settings decide what is asked (`asks`); the rest is transport and may change between two runs of
the same directory without paying anything again.
"""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from vtscot.records import Frozen

ASKED: Final = ("model", "max_output_tokens", "temperature")


class EndpointSettings(Frozen):
    """Model, sampling, transport and money. Times are seconds; `base_url` None is the provider's own endpoint.

    `max_attempts` bounds how often one request is sent until an answer comes; `max_answers` bounds how many answers to
    one question are paid for, the unusable ones included, over all runs of a directory.

    Prices are per million tokens; `max_cost` bounds what all builds of a run spend together. With `batch`, requests go
    through the Batch API: once none has come for `batch_quiet_s`, those that wait are uploaded in files of at most
    `batch_requests` lines and `batch_bytes` bytes, and asked about every `batch_poll_s`.
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
    input_price: float | None = Field(default=None, ge=0)
    output_price: float | None = Field(default=None, ge=0)
    batch_price_factor: float = Field(default=0.5, ge=0)
    pixels_per_token: int = Field(default=1024, gt=0)  # of Qwen3-VL: 32x32 pixels are one token
    expected_output_tokens: int = Field(default=300, gt=0)
    expected_latency_s: float = Field(default=8, gt=0)
    max_cost: float | None = Field(default=None, ge=0)
    batch: bool = False
    batch_quiet_s: float = Field(default=5, gt=0)
    batch_poll_s: float = Field(default=30, gt=0)
    batch_requests: int = Field(default=10_000, ge=1, le=50_000)
    batch_bytes: int = Field(default=150_000_000, ge=1_000)

    @model_validator(mode="after")
    def _a_limit_needs_prices(self) -> Self:
        if self.max_cost is not None and (self.input_price is None or self.output_price is None):
            raise ValueError("--max-cost needs prices: set teacher.input_price and teacher.output_price")
        return self

    def asks(self) -> dict[str, object]:
        """The settings that decide what is asked: part of every request's key."""
        return {name: getattr(self, name) for name in ASKED}
