"""How the next token is chosen from logits: greedy, or drawn with temperature and top-p.

Every sample of every turn draws from a generator of its own, seeded by names: what is drawn depends neither on the
batch a sample is in nor on what was drawn before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Generator, Tensor

from vtscot.records import Frozen


class Sampling(Frozen):
    """`temperature` 0 takes the likeliest token; `top_p` keeps the likeliest tokens that hold this much probability."""

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


def turn_seed(seed: int, query_id: str, sample: int, turn: int) -> int:
    """The seed of one turn of one sample: 63 bits of a SHA-256 over the names."""
    digest = hashlib.sha256(f"{seed}\n{query_id}\n{sample}\n{turn}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def turn_generator(seed: int, query_id: str, sample: int, turn: int) -> Generator:
    """A generator on the CPU, whatever the model's device: the same numbers on every machine."""
    return Generator().manual_seed(turn_seed(seed, query_id, sample, turn))


def next_tokens(logits: Tensor, sampling: Sampling, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
    """Tokens (B,) drawn from `logits` (B, V), one generator per row, and their log-probabilities (B,).

    The log-probability is that of the distribution with temperature (1 where greedy) but before top-p: what a policy
    gradient needs. Logits of -inf are never drawn.
    """
    scaled = logits.float() if sampling.greedy else logits.float() / sampling.temperature
    logprobs = scaled.log_softmax(-1)
    chosen = logprobs.argmax(-1) if sampling.greedy else _draw(logprobs, sampling.top_p, generators)
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]


def _draw(logprobs: Tensor, top_p: float, generators: Sequence[Generator]) -> Tensor:
    """By inversion: the token in whose share of the kept probability a uniform number falls; likeliest first."""
    sorted_logprobs, order = logprobs.sort(dim=-1, descending=True, stable=True)
    probabilities = sorted_logprobs.double().exp()
    before = probabilities.cumsum(-1) - probabilities
    kept = probabilities.masked_fill(before >= top_p, 0.0)
    cumulative = kept.cumsum(-1)
    uniform = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators])
    target = uniform.to(logprobs.device)[:, None] * cumulative[:, -1:]
    last = (kept > 0).sum(-1, keepdim=True) - 1  # a product that was rounded up points behind it
    place = (cumulative <= target).sum(-1, keepdim=True).minimum(last)
    return order.gather(-1, place)[:, 0]
