"""Words of a reply that decide something each, such as the yes or no after a frame's number in the brief style.

Where a reply decides many times in a row, true earlier decisions are the easiest clue to the next one: a policy learns
to go on as before instead of looking, and repeats its first slip when it writes by itself. A mask that follows true
words about its place is read off them, and lost when they are wrong. So in a share of the replies the decisions
are read at random while what is to be said, and the mask, stay true: then only looking helps. What follows the last
decision of such a reply is not learned from where it is believed to follow from them (`followed`).

The draws come from the seed, the group of words, the record, the epoch and the turn: the same on every machine and
after a resume.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED, Encoded

from .recipe import DecisionSettings


class Decisions:
    """Finds the decisions of a reply by their tokens, group by group, and draws others of the group in their place."""

    def __init__(self, groups: Mapping[str, DecisionSettings], processor: PolicyProcessor, seed: int) -> None:
        """Words that are several tokens of the policy are `left_out`: it decides them in several steps."""
        self._groups, self._seed = groups, seed
        encode = processor.tokenizer.encode
        words = dict.fromkeys(word for group in groups.values() for word in group.words)
        tokens = {word: encode(word, add_special_tokens=False) for word in words}
        self.left_out = tuple(word for word, ids in tokens.items() if len(ids) != 1)
        self.ids = {
            name: torch.tensor([tokens[word][0] for word in group.words if len(tokens[word]) == 1], dtype=torch.long)
            for name, group in groups.items()
        }

    def weighed(self, weights: Tensor | None, vocabulary: int) -> Tensor | None:
        """Weights (V,) of the tokens that are to be said, those of decisions times the `weight` of their group."""
        for name, group in self._groups.items():
            if len(self.ids[name]) and group.weight != 1:
                weights = torch.ones(vocabulary) if weights is None else weights.clone()
                weights[self.ids[name]] *= group.weight
        return weights

    def drawn(self, encoded: Encoded, epoch: int) -> Encoded:
        """The same record, in some of its replies with decisions drawn at random where they are read."""
        for name, group in self._groups.items():
            if len(self.ids[name]) and group.random:
                encoded = self._drawn(encoded, name, epoch)
        return encoded

    def _drawn(self, encoded: Encoded, name: str, epoch: int) -> Encoded:
        group, own = self._groups[name], self.ids[name]
        ids, labels = encoded.input_ids.clone(), encoded.labels.clone()
        for turn, (start, end) in enumerate(encoded.turn_spans):
            draw = self._generator(name, encoded.query_id, epoch, turn)
            where = start + torch.isin(ids[start:end], own).nonzero()[:, 0]
            if len(where) and float(torch.rand((), generator=draw)) < group.random:
                ids[where] = own[torch.randint(len(own), (len(where),), generator=draw)].to(ids)
                if group.followed:
                    labels[int(where[-1]) + 1 : end] = IGNORED
        return dataclasses.replace(encoded, input_ids=ids, labels=labels)

    def _generator(self, name: str, query_id: str, epoch: int, turn: int) -> Generator:
        text = f"vtscot-decisions/{self._seed}/{name}/{query_id}/{epoch}/{turn}"
        digest = hashlib.sha256(text.encode()).digest()
        return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
