"""Which expressions about a video nano is asked: so often of every kind, template and wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from vtscot.sft.nano.world import Clip, Query

KINDS: Final = {
    "appearance": 1.5,
    "motion": 2.3,
    "relation": 1.2,
    "order": 0.8,
    "change": 0.7,
    "negation": 1.0,
    "multiple": 1.6,
    "none": 1.3,
}
"""How often a kind of query is asked: about as often as the demo asks it."""
PARTLY: Final = (0.1, 0.9)
"""Share of the frames that show an object seen in a part of the video only."""
Rng = np.random.Generator


def draw(clip: Clip, rng: Rng, count: int, kinds: Mapping[str, float], mixed: float = 0.0) -> list[tuple[Query, str]]:
    """`count` expressions of a video: the kind first, then its template, then a claim and one of its wordings.

    `mixed` is the share that must mean objects seen in a part of the video only, where there are any: of the others a
    table says the same from its first frame to its last, and the words alone often tell which.
    """
    everything = _by_kind(clip.queries, kinds)
    partly = _by_kind([query for query in clip.queries if _partly(clip, query)], kinds) if mixed else {}
    drawn = []
    for _ in range(count):
        groups = partly if partly and rng.random() < mixed else everything
        names = sorted(groups)
        shares = np.array([kinds[name] for name in names])
        of_kind = groups[names[int(rng.choice(len(names), p=shares / shares.sum()))]]
        group = of_kind[sorted(of_kind)[int(rng.integers(len(of_kind)))]]
        words = np.array([1.0 + 2 * min(query.words, 2) for query in group])
        query = group[int(rng.choice(len(group), p=words / words.sum()))]
        said = query.chosen if query.chosen and rng.random() < 0.5 else query.texts[int(rng.integers(len(query.texts)))]
        drawn.append((query, said))
    return drawn


def _by_kind(queries: Sequence[Query], kinds: Mapping[str, float]) -> dict[str, dict[str, list[Query]]]:
    found: dict[str, dict[str, list[Query]]] = {}
    for query in queries:
        if kinds.get(query.kind):
            found.setdefault(query.kind, {}).setdefault(_group(query), []).append(query)
    return found


def _partly(clip: Clip, query: Query) -> bool:
    """Whether the targets are in view in a tenth to nine tenths of the frames."""
    if query.targets not in clip.shares:
        seen = clip.array("seen")[list(query.targets)] > 0
        clip.shares[query.targets] = float(seen.any(0).mean()) if query.targets else 0.0
    return bool(PARTLY[0] <= clip.shares[query.targets] <= PARTLY[1])


def _group(query: Query) -> str:
    return query.template if query.kind != "none" or query.template == "absent look" else "none"
