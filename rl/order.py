"""Which queries make which batch of rollouts: a function of the recipe and the ids, whatever the machine or a resume.

An epoch is a permutation of the queries; what is left over at its end and does not fill a batch waits for the next one,
so that no batch asks the same query twice.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from vtscot.errors import UsageError

from .recipe import RlRecipe


class Order(Sampler[int]):  # type: ignore[misc]
    """Numbers of queries for TRL's loader: each G times, and each batch again for every batch of the loss."""

    def __init__(self, ids: Sequence[str], recipe: RlRecipe, steps_per_generation: int) -> None:
        if len(ids) < recipe.group.prompts:
            raise UsageError(
                f"group.prompts {recipe.group.prompts} of a step are more than the {len(ids)} queries there are;"
                " change it with --set group.prompts="
            )
        self._ids, self._recipe = ids, recipe
        self._repeats = recipe.iterations * steps_per_generation
        self._batches = math.ceil(recipe.max_steps / recipe.iterations)

    def __len__(self) -> int:
        group = self._recipe.group
        return self._batches * self._repeats * group.prompts * group.size

    def __iter__(self) -> Iterator[int]:
        for number in range(self._batches):
            queries = self.batch(number)
            for _ in range(self._repeats):
                for query in queries:
                    yield from (query,) * self._recipe.group.size

    def batch(self, number: int) -> list[int]:
        """The queries of the batch of that number."""
        prompts, seed = self._recipe.group.prompts, self._recipe.seed
        epoch, place = divmod(number, len(self._ids) // prompts)
        names = [hashlib.sha256(f"epoch/{seed}/{epoch}/{name}".encode()).digest() for name in self._ids]
        order = sorted(range(len(names)), key=lambda i: names[i])
        return order[place * prompts : (place + 1) * prompts]
