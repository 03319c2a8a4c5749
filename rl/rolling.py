"""One batch of rollouts: G episodes per query, with their rewards; and which of them failed.

The seeds of an episode come from the recipe's seed, the number of the batch, the query and the sample: the same on
every machine, for any number of processes, and after a resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vtscot.errors import VtscotError
from vtscot.policy.cache import Counters
from vtscot.policy.features import FeatureStore
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.rollout import Ask, Rollout, roll
from vtscot.policy.sampling import Sampling
from vtscot.policy.scribe import Engine

from .advantages import sound
from .masking import with_masks
from .queries import Task, Tasks
from .recipe import RlRecipe
from .trials import Trialled, trial


@dataclass(frozen=True, eq=False)
class Generation:
    """The rollouts of one process, `size` per query in a row; None stands for one that failed, `failures` say why."""

    rows: tuple[Trialled | None, ...]
    size: int
    store: FeatureStore
    failures: tuple[tuple[str, str], ...] = ()


class LearningEngine(Engine, Protocol):
    """An engine that is given the policy's weights."""

    def learn(self, sampling: Sampling) -> None:
        """Take them as they are now, and draw what is written from now on in this way."""

    def close(self) -> None:
        """Give back what it holds; it is not used any more."""


class Roller:
    """Rolls out groups with one policy, whatever it has learned in the meantime. An `engine` writes instead of it."""

    def __init__(
        self,
        policy: Any,
        processor: PolicyProcessor,
        recipe: RlRecipe,
        tasks: Tasks,
        engine: LearningEngine | None = None,
    ) -> None:
        self.policy, self.processor, self.recipe, self.tasks = policy, processor, recipe, tasks
        self.engine = engine

    def store(self) -> FeatureStore:
        """Features of images and frames: of one batch only, because the vision tower learns."""
        return FeatureStore(self.policy, self.processor, Counters())

    def generation(self, numbers: Sequence[int], name: int | str, samples: int | None = None) -> Generation:
        """`samples` (the recipe's group size) episodes about each of these queries; `name` makes the seeds."""
        size = samples or self.recipe.group.size
        tasks = [self.tasks[number] for number in numbers]
        asks = [Ask(task.query.id, task.query.expression, task.frames) for task in tasks]
        store, failures = self.store(), list[tuple[str, str]]()
        sampling = self.sampling(name)
        if self.engine is not None:
            self.engine.learn(sampling)
        rollouts: Iterable[Rollout] = roll(
            self.policy,
            self.processor,
            asks,
            self.recipe.rollout_budget,
            sampling,
            samples=size,
            batch_size=self.recipe.group.rolled,
            on_error=lambda ask, error: failures.append((ask.query_id, str(error))),
            store=store,
            engine=self.engine,
        )
        if self.engine is not None:
            rollouts = with_masks(list(rollouts), store, sampling.temperature, self.recipe.group.per_device)
        place = {id(ask): i for i, ask in enumerate(asks)}
        rows: list[Trialled | None] = [None] * (len(asks) * size)
        found = [(place[id(rollout.ask)], rollout) for rollout in rollouts]
        for i, task in enumerate(tasks):
            for made in self._trials(task, [rollout for at, rollout in found if at == i], store, failures):
                rows[i * size + made.rollout.sample] = made
        return Generation(tuple(rows), size, store, tuple(failures))

    def sampling(self, name: int | str) -> Sampling:
        """How the tokens of the batch of that name are drawn."""
        digest = hashlib.sha256(f"rollouts/{self.recipe.seed}/{name}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 1
        how = self.recipe
        return Sampling(temperature=how.temperature, top_p=how.top_p, seed=seed, guided=how.guided)

    def _trials(
        self, task: Task, rollouts: Sequence[Rollout], store: FeatureStore, failures: list[tuple[str, str]]
    ) -> list[Trialled]:
        """Those with a reward; a frame that cannot be read costs the group, a reward that is no number its episode."""
        written = [rollout for rollout in rollouts if rollout.turns]
        name = task.query.id
        failures += [(name, "the prompt does not fit the window of the model")] * (len(rollouts) - len(written))
        try:
            made = trial(store, written, [task] * len(written), self.recipe.rewards)
        except VtscotError as error:
            failures.append((name, str(error)))
            return []
        failures += [(name, f"a reward of {row.reward}") for row in made if not sound(row.reward)]
        return [row for row in made if sound(row.reward)]
