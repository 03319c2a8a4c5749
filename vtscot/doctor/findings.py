"""What the doctor finds, and its report: plain records, ordered by video, that become JSON or a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vtscot.sources.base import Fault


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where. A fatal one loses a query, a track or a video's frames; others are notes.

    `confidence` (0..1) is given for what is inferred from pixels, not read off.
    """

    kind: str
    detail: str
    video: str | None = None
    exp_id: str | None = None
    anno_id: str | None = None
    frame: int | None = None
    fatal: bool = False
    confidence: float | None = None

    def json(self) -> dict[str, Any]:
        row = asdict(self)
        if self.confidence is None:
            del row["confidence"]
        return row


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one split. Every query is usable or lost."""

    source: str
    split: str
    videos: int
    queries: int
    lost: int
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> int:
        return self.queries - self.lost

    @property
    def kinds(self) -> dict[str, int]:
        """Number of findings per kind, by name."""
        return dict(sorted(Counter(finding.kind for finding in self.findings).items()))

    @property
    def fatal(self) -> bool:
        """True where something would be lost."""
        return self.lost > 0 or any(finding.fatal for finding in self.findings)

    def json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "split": self.split,
            "videos": self.videos,
            "queries": self.queries,
            "usable": self.usable,
            "lost": self.lost,
            "findings": [finding.json() for finding in self.findings],
            "kinds": self.kinds,
        }


def from_fault(fault: Fault, owners: Mapping[str, str]) -> Finding:
    """A fault of the index as a finding; `owners` tells the video of a track where the fault does not."""
    video = fault.video or owners.get(fault.anno_id or "")
    return Finding(fault.kind, fault.detail, video, fault.exp_id, fault.anno_id, fault.frame, fault.fatal)


def ordered(findings: Iterable[Finding], videos: Sequence[str]) -> tuple[Finding, ...]:
    """Findings by video in the order given, what belongs to no video first; each once."""
    place = {name: i for i, name in enumerate(videos)}
    return tuple(
        sorted(dict.fromkeys(findings), key=lambda f: -1 if f.video is None else place.get(f.video, len(place)))
    )
