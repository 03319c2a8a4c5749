"""What requests cost: estimated before they are sent, counted by the server afterwards.

Prices are per million tokens, in whatever currency `max_cost` is in. Text counts a token per four bytes, an image one
per `pixels_per_token` pixels; servers that count tokens are believed instead.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtscot.endpoint.answers import usage_of
from vtscot.errors import CostError

if TYPE_CHECKING:
    from vtscot.endpoint.request import Request
    from vtscot.endpoint.settings import EndpointSettings
    from vtscot.ledger import Usage


@dataclass(frozen=True)
class Tokens:
    """Tokens in and out of a model."""

    input: int
    output: int

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.input + other.input, self.output + other.output)


def text_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4)


def expected(request: Request, settings: EndpointSettings) -> Tokens:
    """What a request should take: its rendered text, its pictures as large as they go out, a usual answer."""
    texts = [request.system, json.dumps(request.schema), *(part for part in request.content if isinstance(part, str))]
    images = sum(math.ceil(picture.pixels / settings.pixels_per_token) for picture in request.pictures)
    return Tokens(sum(map(text_tokens, texts)) + images, settings.expected_output_tokens)


def counted(raw: bytes, guess: Tokens) -> Tokens:
    """What a completion took: as the server counts, else as expected and by the length of the answer."""
    prompt, completion = usage_of(raw)
    return Tokens(prompt or guess.input, completion or math.ceil(len(raw) / 4))


def price(tokens: Tokens, settings: EndpointSettings, *, batch: bool = False) -> float | None:
    """The cost of tokens; None where the settings hold no prices."""
    if settings.input_price is None or settings.output_price is None:
        return None
    whole = (tokens.input * settings.input_price + tokens.output * settings.output_price) / 1e6
    return whole * (settings.batch_price_factor if batch else 1.0)


def spent_before(usage: Usage, settings: EndpointSettings) -> float:
    """The cost of all answers of a ledger; 0 without prices."""
    batch = Tokens(usage.batch_input_tokens, usage.batch_output_tokens)
    chat = Tokens(usage.input_tokens - batch.input, usage.output_tokens - batch.output)
    return (price(chat, settings) or 0.0) + (price(batch, settings, batch=True) or 0.0)


class Purse:
    """The money of a run: what was spent, over all builds of it, and what the requests on their way will cost."""

    def __init__(self, settings: EndpointSettings, spent: float = 0.0) -> None:
        self._settings = settings
        self.spent = spent
        self.held = 0.0
        self.reached = False  # a request was held back: no further one is sent

    def hold(self, guess: Tokens, *, batch: bool) -> float:
        """Set the expected cost of a request aside; raises CostError where that would exceed the limit."""
        cost = price(guess, self._settings, batch=batch) or 0.0
        limit = self._settings.max_cost
        if limit is not None and (self.reached or self.spent + self.held + cost > limit):
            self.reached = True
            raise CostError(limit, self.spent)
        self.held += cost
        return cost

    def release(self, held: float) -> None:
        """The request has ended, paid or not."""
        self.held -= held

    def pay(self, tokens: Tokens, *, batch: bool) -> None:
        """An answer came and has to be paid for, whatever it is worth."""
        self.spent += price(tokens, self._settings, batch=batch) or 0.0
