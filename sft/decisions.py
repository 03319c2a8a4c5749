"""Words of a reply that decide something each, such as the yes or no after a frame's number in the brief style.

Where a reply decides many times in a row, true earlier decisions are the easiest clue to the next one: a policy learns
to go on as before instead of looking, and repeats its first slip when it writes by itself. So in a share of the
replies the earlier decisions are read at random while what is to be said stays true: then only looking helps. What
follows the last decision of such a reply is not learned from, since it should be believed to follow from them.

The draws come from the seed, the record, the epoch and the turn: the same on every machine and after a resume.
"""

from __future__ import annotations

import dataclasses
import hashlib

import torch
from torch import Generator, Tensor

from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED, Encoded

from .recipe import DecisionSettings


class Decisions:
    """Finds the decisions of a reply by their tokens, and draws others in their place."""

    def __init__(self, settings: DecisionSettings, processor: PolicyProcessor, seed: int) -> None:
        """Words that are several tokens of the policy are `left_out`: it decides them in several steps."""
        self._settings, self._seed = settings, seed
        tokens = {word: processor.tokenizer.encode(word, add_special_tokens=False) for word in settings.words}
        self.ids = torch.tensor([ids[0] for ids in tokens.values() if len(ids) == 1], dtype=torch.long)
        self.left_out = tuple(word for word, ids in tokens.items() if len(ids) != 1)

    def weighed(self, weights: Tensor | None, vocabulary: int) -> Tensor | None:
        """Weights (V,) of the tokens that are to be said, those of decisions times `weight`."""
        if not len(self.ids) or self._settings.weight == 1:
            return weights
        weighed = torch.ones(vocabulary) if weights is None else weights.clone()
        weighed[self.ids] *= self._settings.weight
        return weighed

    def drawn(self, encoded: Encoded, epoch: int) -> Encoded:
        """The same record, in some of its replies with decisions drawn at random where they are read."""
        if not len(self.ids) or not self._settings.random:
            return encoded
        ids, labels = encoded.input_ids.clone(), encoded.labels.clone()
        for turn, (start, end) in enumerate(encoded.turn_spans):
            draw = self._generator(encoded.query_id, epoch, turn)
            where = start + torch.isin(ids[start:end], self.ids).nonzero()[:, 0]
            if len(where) and float(torch.rand((), generator=draw)) < self._settings.random:
                ids[where] = self.ids[torch.randint(len(self.ids), (len(where),), generator=draw)].to(ids)
                labels[int(where[-1]) + 1 : end] = IGNORED
        return dataclasses.replace(encoded, input_ids=ids, labels=labels)

    def _generator(self, query_id: str, epoch: int, turn: int) -> Generator:
        text = f"vtscot-decisions/{self._seed}/{query_id}/{epoch}/{turn}"
        digest = hashlib.sha256(text.encode()).digest()
        return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
