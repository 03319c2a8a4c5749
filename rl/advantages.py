"""Advantages within a group: how much better an episode, or a turn, was than the others about the same query.

    A = (R - mean) / (std + 1e-4)        over the episodes of the group; std with Bessel's correction, as TRL has it

`trajectory` gives every token of every turn the episode's A (released). `turn` gives turn t what was earned from it
on, G_t = R - (what the episode would have earned had it ended before turn t), against the G_t of the other episodes
that have a turn t; so what a turn lost is not blamed on the turns before or after it. For turn 0 both are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final

EPSILON: Final = 1e-4
_NO_SPREAD: Final = 1e-8


def normalised(rewards: Sequence[float]) -> tuple[float, ...]:
    """Advantages of the episodes of a group; 0 where there is nothing to compare."""
    if len(rewards) < 2 or not spread(rewards):
        return (0.0,) * len(rewards)
    mean, deviation = fmean(rewards), stdev(rewards)
    return tuple((reward - mean) / (deviation + EPSILON) for reward in rewards)


def spread(rewards: Sequence[float]) -> bool:
    """Whether the rewards of a group differ, so that something can be learned from them."""
    return len(rewards) > 1 and max(rewards) - min(rewards) > _NO_SPREAD


def by_turn(prefixes: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Advantages per episode and turn of a group; `prefixes` hold what each would have earned had it ended there."""
    returns = [[episode[-1] - before for before in (0.0, *episode[:-1])] for episode in prefixes]
    found: list[list[float]] = [[] for _ in prefixes]
    for turn in range(max(map(len, returns), default=0)):
        having = [i for i, episode in enumerate(returns) if len(episode) > turn]
        for i, advantage in zip(having, normalised([returns[i][turn] for i in having]), strict=True):
            found[i].append(advantage)
    return [tuple(episode) for episode in found]


def sound(reward: float) -> bool:
    """Whether a reward is a number; an episode with another one is left out of its group."""
    return math.isfinite(reward)
