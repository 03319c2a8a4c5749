"""The rows of a batch write their replies together, one token at a time, until each has ended its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from vtscot.grammar import closing
from vtscot.policy.cache import Context
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.sampling import Sampling, next_tokens, turn_uniforms

_HALF: Final = "\ufffd"  # what a character decodes to of which some bytes are still to come


@dataclass(eq=False)
class Reply:
    """One reply as it grows. It is open until its end-of-message token, or `limit` tokens."""

    limit: int
    seed: int
    on_text: Callable[[str], None] | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: Tensor = field(default_factory=lambda: torch.zeros(0))  # (T,)
    seg_hidden: Tensor | None = None  # (hidden,) where the last [SEG] was read
    ended: bool = False
    unread: bool = False  # the last token is not yet in the cache
    told: int = 0  # tokens that `on_text` has been given
    closing: list[int] = field(default_factory=list)  # tokens that end the turn, where these are not to be drawn
    forced: int = 0  # tokens that were such

    @property
    def open(self) -> bool:
        """True while more is to be written."""
        return not self.ended and len(self.ids) < self.limit


def reply_text(ids: Sequence[int], processor: PolicyProcessor) -> str:
    """The text of a reply, without its end-of-message token."""
    kept = [i for i in ids if i != processor.message_end_id]
    decoded: str = processor.tokenizer.decode(kept, skip_special_tokens=False)
    return decoded


def closing_ids(ids: Sequence[int], processor: PolicyProcessor) -> list[int]:
    """The tokens of the open tags' ends and of the message's, where a reply has come to its mask; else none."""
    tags = closing(reply_text(ids, processor))
    if tags is None:
        return []
    encoded: list[int] = processor.tokenizer.encode(tags, add_special_tokens=False)
    return [*encoded, processor.message_end_id]


def barred_tokens(policy: Any, processor: PolicyProcessor) -> Tensor:
    """(V,) bool: special tokens that no reply holds, and rows of the matrix behind the last token."""
    barred = torch.zeros(policy.get_output_embeddings().weight.shape[0], dtype=torch.bool)
    barred[list(processor.unsampled_ids)] = True
    barred[len(processor.tokenizer) :] = True
    return barred


class Writer:
    """Writes replies with one policy and one way of sampling."""

    def __init__(self, policy: Any, processor: PolicyProcessor, sampling: Sampling) -> None:
        self.policy, self.processor, self.sampling = policy, processor, sampling
        self.barred = self._barred()  # (V,) -inf where a token must not be sampled

    def write(self, context: Context, hidden: Tensor, replies: Sequence[Reply]) -> None:
        """Fill `replies`, one per row of `context`, whose last hidden states are `hidden` (B, hidden).

        The hidden state at a `[SEG]` is where it is read, so a reply cut right behind one is read to its end. Gradients
        are the caller's to switch off.
        """
        uniforms = self._uniforms(replies)
        chosen: list[Tensor] = []
        while True:
            logits = self._closed(self._logits(hidden), replies)
            tokens, logprobs = next_tokens(logits, self.sampling, uniforms[:, len(chosen)])
            chosen.append(logprobs)
            reads = [self._append(reply, token) for reply, token in zip(replies, tokens.tolist(), strict=True)]
            if not any(reads):
                break
            hidden = context.step(tokens, reads)
            for row, reply in enumerate(replies):
                if reads[row]:
                    self._read(reply, hidden[row])
            if not any(reply.open for reply in replies):
                break
        written = torch.stack(chosen, dim=1).cpu()
        for row, reply in enumerate(replies):
            context.counters.generated_tokens += len(reply.ids)
            reply.logprobs = written[row, : len(reply.ids)].clone()

    def _append(self, reply: Reply, token: int) -> bool:
        """Take a token where the reply is open; whether it is to be read before the end of the turn."""
        if not reply.open:
            return False
        reply.ids.append(token)
        reply.ended = token == self.processor.message_end_id
        reply.unread = True
        reply.forced += bool(reply.closing)
        reply.closing = reply.closing[1:]
        if token == self.processor.seg_id and self.sampling.guided:
            reply.closing = closing_ids(reply.ids, self.processor)
        self._tell(reply)
        return reply.open or token == self.processor.seg_id

    def _closed(self, logits: Tensor, replies: Sequence[Reply]) -> Tensor:
        """`logits` (B, V) where nothing but the next token of what closes a turn can be drawn."""
        for row, reply in enumerate(replies):
            if reply.closing:
                logits[row] = -torch.inf
                logits[row, reply.closing[0]] = 0.0
        return logits

    def _read(self, reply: Reply, hidden: Tensor) -> None:
        reply.unread = False
        if reply.ids[-1] == self.processor.seg_id:
            reply.seg_hidden = hidden

    def _tell(self, reply: Reply) -> None:
        """Give `on_text` what is new, in whole characters."""
        if reply.on_text is None:
            return
        text = reply_text(reply.ids[reply.told :], self.processor)
        if text and not (reply.open and text.endswith(_HALF)):
            reply.on_text(text)
            reply.told = len(reply.ids)

    def _uniforms(self, replies: Sequence[Reply]) -> Tensor:
        """(B, limit) numbers to draw by; nothing is drawn when greedy."""
        count = max(reply.limit for reply in replies)
        if self.sampling.greedy:
            return torch.zeros(len(replies), count)
        drawn = [turn_uniforms(reply.seed, reply.limit) for reply in replies]
        return torch.stack([torch.cat([row, row.new_zeros(count - len(row))]) for row in drawn]).to(self.policy.device)

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.policy.vlm.lm_head(hidden).float() + self.barred
        return logits

    def _barred(self) -> Tensor:
        """(V,) what is added to the logits: -inf where a token must not be sampled."""
        barred = barred_tokens(self.policy, self.processor)
        return torch.zeros(len(barred)).masked_fill(barred, -torch.inf).to(self.policy.device)
