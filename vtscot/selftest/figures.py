"""What a measurement of the verifier found, and what it has to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vtscot.selftest.planting import UNDECIDABLE

MIN_RECALL: Final = 0.99
MAX_FALSE: Final = 0.01


@dataclass(frozen=True)
class Tally:
    """What became of one kind: planted, noticed, and the reasons given."""

    planted: int
    noticed: int
    reasons: dict[str, int]
    missed: tuple[str, ...]  # query ids

    @property
    def recall(self) -> float | None:
        return self.noticed / self.planted if self.planted else None


def together(tallies: Sequence[Tally]) -> Tally:
    """The tally of several shares of one kind."""
    reasons: dict[str, int] = {}
    for tally in tallies:
        for reason, count in tally.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Tally(
        planted=sum(tally.planted for tally in tallies),
        noticed=sum(tally.noticed for tally in tallies),
        reasons=dict(sorted(reasons.items())),
        missed=tuple(name for tally in tallies for name in tally.missed),
    )


@dataclass(frozen=True)
class Measured:
    """All figures of one source: good episodes and those rejected, by reason; and the tally of every kind.

    `mean_iou` is of the answers' frames, of episodes with a target; `seconds` is the time of one good verdict.
    """

    source: str
    segmenter: str
    episodes: int
    rejected: Mapping[str, int]
    mean_iou: float | None
    seconds: float
    tallies: Mapping[str, Tally]

    @property
    def false_rejections(self) -> float:
        """Share of the untouched episodes that were rejected."""
        return sum(self.rejected.values()) / max(1, self.episodes)

    @property
    def recall(self) -> dict[str, float]:
        """Share noticed of each kind that could be planted."""
        return {kind: tally.recall for kind, tally in self.tallies.items() if tally.recall is not None}

    @property
    def undecidable(self) -> dict[str, str]:
        """The kinds that could be planted nowhere in this source, and why."""
        return {kind: UNDECIDABLE[kind] for kind, tally in self.tallies.items() if not tally.planted}

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What is not reached, one phrase each."""
        low = [f"recall of {kind} is {value:.3f}" for kind, value in self.recall.items() if value < MIN_RECALL]
        wrong = self.false_rejections
        return (*low, *([f"false rejections are {wrong:.3f}"] if wrong > MAX_FALSE else []))

    def json(self) -> dict[str, object]:
        """What `vtscot selftest-verify --json` prints."""
        return {"recall": self.recall, "false_rejections": self.false_rejections}
