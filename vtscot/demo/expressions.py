"""The choice of a video's expressions: kinds by quota, templates once, targets spread over all objects."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .claims import Claim, object_claims
from .raster import Film
from .relations import relation_claims
from .story import tell

KINDS = ("appearance", "motion", "relation", "order", "change", "negation", "multiple", "none")
_WISHES = ("none", "multiple", "order", "change", "motion", "relation", "appearance", "negation", "motion")
_MORE = ("appearance", "motion", "relation", "order", "change", "appearance")
MOST = 11
_RARE = {
    *("passes behind", "passes in front", "overtakes", "behind the pillar", "contrast", "returns", "turns", "halts"),
    *("pauses", "starts", "still", "enter second", "leave second", "enter last", "group", "grows", "shrinks"),
}
"""Templates that few videos offer, or that a choice by merit would pass over; preferred where there are any."""


@dataclass(frozen=True)
class Expression:
    """One line of text and the indices of the actors it describes, ascending; none for a "no target" expression."""

    text: str
    kind: str
    targets: tuple[int, ...]


def express(film: Film, rng: np.random.Generator) -> list[Expression] | None:
    """The expressions of a video, or None if the world does not carry enough of them."""
    stories = tell(film)
    claims = [*object_claims(stories), *relation_claims(film, stories)]
    # Sorted, so that the draws below do not depend on the order in which templates are listed.
    claims.sort(key=lambda claim: (claim.kind, claim.template, claim.texts))
    barred = "none: " if rng.random() < 0.4 else "absent look"
    chosen = _Choice([claim for claim in claims if not claim.template.startswith(barred)], len(stories), rng)
    for kind in _wishes(rng):
        chosen.take(kind)
    chosen.cover()
    kinds = Counter(claim.kind for claim in chosen.claims)
    timed = sum(kinds[kind] for kind in ("motion", "order", "change"))
    if chosen.uncovered or kinds["none"] != 1 or not kinds["multiple"] or timed < 3 or len(chosen.claims) < 8:
        return None
    picks = rng.permutation(len(chosen.claims))
    return [Expression(chosen.texts[k], chosen.claims[k].kind, tuple(sorted(chosen.claims[k].targets))) for k in picks]


def _wishes(rng: np.random.Generator) -> list[str]:
    """The kinds to look for; a kind the world does not offer is passed over."""
    extra = [_MORE[k] for k in rng.permutation(len(_MORE))[: rng.integers(1, 3)]]
    return [*_WISHES, *(["multiple"] if rng.random() < 0.75 else []), *extra]


class _Choice:
    """Takes claims one by one: the best of a kind for what is still missing, ties broken by the generator."""

    def __init__(self, claims: list[Claim], objects: int, rng: np.random.Generator) -> None:
        self.pool, self.rng = claims, rng
        self.claims: list[Claim] = []
        self.texts: list[str] = []
        self.uncovered = set(range(objects))
        self._uses = Counter[int]()

    def take(self, kind: str | None, target: int | None = None) -> None:
        """Adds a claim of the kind (any but the plural and empty ones if None) that names the target."""
        fitting = [claim for claim in self.pool if self._fits(claim, kind, target)]
        if not fitting or len(self.claims) == MOST:
            return
        noise = self.rng.random(len(fitting)) * 2
        best = fitting[int(np.argmax([self._worth(claim) for claim in fitting] + noise))]
        fresh = [text for text in best.texts if text not in self.texts]
        self.claims.append(best)
        self.texts.append(fresh[self.rng.integers(len(fresh))])
        self.uncovered -= best.targets
        self._uses.update(best.targets)

    def cover(self) -> None:
        """Sees to it that every object is the target of something."""
        for target in sorted(self.uncovered):
            if target in self.uncovered:
                self.take(None, target)

    def _fits(self, claim: Claim, kind: str | None, target: int | None) -> bool:
        if kind is None and claim.kind in ("multiple", "none"):
            return False
        if kind is not None and claim.kind != kind:
            return False
        used = any(claim.template == taken.template and claim.targets == taken.targets for taken in self.claims)
        return not used and (target is None or target in claim.targets) and not set(claim.texts) <= set(self.texts)

    def _worth(self, claim: Claim) -> float:
        repeated = sum(claim.template == taken.template for taken in self.claims)
        tired = sum(self._uses[target] for target in claim.targets) / max(1, len(claim.targets))
        decisive = 0.4 + 0.6 * claim.words if claim.rivals else 0.0
        rare = 1.4 if claim.template in _RARE else 0.0
        return 1.2 * bool(claim.targets & self.uncovered) + decisive + rare - 1.5 * repeated - 0.7 * tired
