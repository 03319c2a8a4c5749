"""Who writes the replies of a batch of rollouts: the policy with its own cache, or an engine that has its weights.

Both read what is shown to every row and fill the rows' replies. The cache knows the hidden states at `[SEG]`; an engine
gives tokens only, so the masks of its rollouts are left to one pass of the policy over the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vtscot.policy.cache import Context, Counters, Slice
from vtscot.policy.writing import Reply, Writer


class Scribe(Protocol):
    """Reads and writes for the rows of a batch, in order."""

    def write(self, replies: Sequence[Reply]) -> None:
        """Fill `replies`, one per row."""

    def go_on(self, rows: Sequence[int], slices: Sequence[Slice]) -> None:
        """Only these rows go on, and each reads its slice."""


class Engine(Protocol):
    """Writes replies to prompts that it reads anew, or keeps what it likes of them. `window`: most tokens of both."""

    window: int

    def write(self, prompts: Sequence[Slice], replies: Sequence[Reply], counters: Counters) -> None:
        """Fill the ids of `replies`; PolicyError where it cannot."""


class CacheScribe:
    """The policy itself: `context` has read all that was shown, `hidden` (B, hidden) is where the replies begin."""

    def __init__(self, writer: Writer, context: Context, hidden: Tensor) -> None:
        self.writer, self.context, self.hidden = writer, context, hidden

    def write(self, replies: Sequence[Reply]) -> None:
        """Token by token, all rows together."""
        self.writer.write(self.context, self.hidden, replies)

    def go_on(self, rows: Sequence[int], slices: Sequence[Slice]) -> None:
        """Into the cache."""
        self.context.select(rows)
        self.hidden = self.context.extend(slices)


class EngineScribe:
    """An engine, told at every turn all that a row has read and written."""

    def __init__(self, engine: Engine, prompts: Sequence[Slice], counters: Counters) -> None:
        self.engine, self.prompts, self.counters = engine, list(prompts), counters

    def write(self, replies: Sequence[Reply]) -> None:
        """By the engine; what was written is part of the next prompt."""
        self.engine.write(self.prompts, replies, self.counters)
        self.prompts = [_joined(prompt, _said(reply)) for prompt, reply in zip(self.prompts, replies, strict=True)]

    def go_on(self, rows: Sequence[int], slices: Sequence[Slice]) -> None:
        """Behind what was read before."""
        self.prompts = [_joined(self.prompts[row], part) for row, part in zip(rows, slices, strict=True)]


def _said(reply: Reply) -> Slice:
    ids = torch.tensor(reply.ids, dtype=torch.int64)
    return Slice(ids, torch.zeros_like(ids), torch.zeros(0, 3, dtype=torch.int64), ())


def _joined(one: Slice, other: Slice) -> Slice:
    return Slice(
        torch.cat([one.input_ids, other.input_ids]),
        torch.cat([one.mm_token_type_ids, other.mm_token_type_ids]),
        torch.cat([one.image_grid_thw, other.image_grid_thw]),
        (*one.images, *other.images),
    )
