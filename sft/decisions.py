"""Words of a reply that decide something each: the yes or no after a frame's number in the brief style, a fraction of a
place.

Where a reply decides many times in a row, true earlier decisions are the easiest clue to the next one: a policy learns
to go on as before instead of looking, and repeats its first slip when it writes by itself. In the same way a mask can
be drawn from the words of a true place without a look at the frame. So in a share of the replies the decisions of a
kind are read at random while what is to be said stays true: then only looking helps. What follows the last decision of
such a reply is not learned from where it should be believed to follow from them (`followed`).

The draws come from the seed, the record, the epoch, the turn and the kind: the same everywhere and after a resume.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED, Encoded

from .recipe import DecisionSettings


@dataclass(frozen=True)
class Kind:
    """Decisions of one kind, their words as tokens."""

    settings: DecisionSettings
    ids: Tensor  # (W,) int64


class Decisions:
    """Finds the decisions of a reply by their tokens, and draws others of their kind in their place."""

    def __init__(self, settings: Sequence[DecisionSettings], processor: PolicyProcessor, seed: int) -> None:
        """Words that are several tokens of the policy are `left_out`: it decides them in several steps."""
        self._seed = seed
        self.kinds: list[Kind] = []
        left_out: list[str] = []
        for one in settings:
            tokens = {word: processor.tokenizer.encode(word, add_special_tokens=False) for word in one.words}
            left_out += [word for word, ids in tokens.items() if len(ids) != 1]
            single = [ids[0] for ids in tokens.values() if len(ids) == 1]
            if single:
                self.kinds.append(Kind(one, torch.tensor(single, dtype=torch.long)))
        self.left_out = tuple(left_out)

    def weighed(self, weights: Tensor | None, vocabulary: int) -> Tensor | None:
        """Weights (V,) of the tokens that are to be said, those of decisions times the `weight` of their kind."""
        for kind in self.kinds:
            if kind.settings.weight != 1:
                weights = torch.ones(vocabulary) if weights is None else weights.clone()
                weights[kind.ids] *= kind.settings.weight
        return weights

    def drawn(self, encoded: Encoded, epoch: int) -> Encoded:
        """The same record, in some of its replies with decisions drawn at random where they are read."""
        drawing = [(number, kind) for number, kind in enumerate(self.kinds) if kind.settings.random]
        if not drawing:
            return encoded
        ids, labels = encoded.input_ids.clone(), encoded.labels.clone()
        for turn, (start, end) in enumerate(encoded.turn_spans):
            for number, kind in drawing:
                draw = self._generator(encoded.query_id, epoch, turn, number)
                where = start + torch.isin(ids[start:end], kind.ids).nonzero()[:, 0]
                if len(where) and float(torch.rand((), generator=draw)) < kind.settings.random:
                    ids[where] = kind.ids[torch.randint(len(kind.ids), (len(where),), generator=draw)].to(ids)
                    if kind.settings.followed:
                        labels[int(where[-1]) + 1 : end] = IGNORED
        return dataclasses.replace(encoded, input_ids=ids, labels=labels)

    def _generator(self, query_id: str, epoch: int, turn: int, kind: int) -> Generator:
        text = f"vtscot-decisions/{self._seed}/{query_id}/{epoch}/{turn}" + (f"/{kind}" if kind else "")
        digest = hashlib.sha256(text.encode()).digest()
        return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
