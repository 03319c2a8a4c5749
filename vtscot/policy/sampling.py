"""How the next token is chosen from logits: greedy, or drawn with temperature and top-p.

Every sample of every turn draws from a generator of its own, seeded by names: what is drawn depends neither on the
batch a sample is in nor on what was drawn before.
"""

from __future__ import annotations

import hashlib

import torch
from pydantic import Field
from torch import Tensor

from vtscot.records import Frozen


class Sampling(Frozen):
    """`temperature` 0 takes the likeliest token; `top_p` keeps the likeliest tokens that hold this much probability.

    `guided`: the tags that close a turn are those that opened it, and are not drawn (`grammar.closing`).
    """

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    guided: bool = False

    @property
    def greedy(self) -> bool:
        """True where nothing is drawn."""
        return self.temperature == 0


def turn_seed(seed: int, query_id: str, sample: int, turn: int) -> int:
    """The seed of one turn of one sample: 63 bits of a SHA-256 over the names."""
    digest = hashlib.sha256(f"{seed}\n{query_id}\n{sample}\n{turn}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def turn_uniforms(seed: int, count: int) -> Tensor:
    """(count,) float64 in [0, 1), one per token, from a generator on the CPU: the same on every device."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def next_tokens(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B,) drawn from `logits` (B, V) by `uniforms` (B,) in [0, 1), and their log-probabilities (B,).

    A log-probability is that of the distribution with temperature (1 where greedy) but before top-p: what a policy
    gradient needs. Logits of -inf are never drawn.
    """
    scaled = logits.float() if sampling.greedy else logits.float() / sampling.temperature
    logprobs = scaled.log_softmax(-1)
    chosen = logprobs.argmax(-1) if sampling.greedy else _draw(logprobs, sampling.top_p, uniforms)
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]


def _draw(logprobs: Tensor, top_p: float, uniforms: Tensor) -> Tensor:
    """By inversion, likeliest first: the token in whose share of the kept probability the uniform number falls."""
    descending, order = logprobs.sort(dim=-1, descending=True, stable=True)
    probabilities = descending.double().exp()
    before = probabilities.cumsum(-1) - probabilities
    kept = probabilities.masked_fill(before >= top_p, 0.0)
    kept[:, 0] = probabilities[:, 0]  # always one, whatever is rounded
    cumulative = kept.cumsum(-1)
    target = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    last = (kept > 0).sum(-1, keepdim=True) - 1  # a product that was rounded up points behind it
    place = (cumulative <= target).sum(-1, keepdim=True).minimum(last)
    return order.gather(-1, place)[:, 0]
