"""What the policy did with one query, as plain records: what was shown and said turn by turn, and the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtscot.masks import Rle
from vtscot.records import Observation, Turn
from vtscot.tracks import MaskTrack

End = Literal["answered", "truncated", "unparsed", "too-long"]
REASONS: dict[str, str] = {
    "answered": "",
    "truncated": "never answered: the mask of the last look is taken",
    "unparsed": "the policy's text breaks the grammar",
    "too-long": "the dialogue does not fit the window of the model; a smaller --budget makes it fit",
}


@dataclass(frozen=True)
class TraceTurn:
    """One turn. `turn` is None where the reply does not parse, and `error` says why."""

    observation: Observation
    text: str
    turn: Turn | None
    error: str | None
    frame: int  # that the mask was decoded on
    mask: Rle | None  # at the frame's size; None where the reply has no [SEG]
    object_score: float | None  # logit that the target is in that frame at all


@dataclass(frozen=True)
class Trace:
    """One query with its turns and the mask in every frame. `keyframe` is where the masks are propagated from."""

    exp_id: str
    expression: str
    end: End
    turns: tuple[TraceTurn, ...]
    keyframe: int
    absent: bool  # the policy answers that the target is nowhere
    track: MaskTrack

    @property
    def answered(self) -> bool:
        """True where the policy came to an answer, be it that the target is nowhere."""
        return self.end == "answered"

    @property
    def visible(self) -> int:
        """Number of frames with a mask."""
        return sum(mask is not None for mask in self.track.masks)

    @property
    def reason(self) -> str:
        """Why there is no answer, on one line; "" where there is one."""
        error = next((turn.error for turn in reversed(self.turns) if turn.error), None)
        detail = f" ({' '.join(error.split())})" if error and not self.answered else ""
        taken = "" if self.end in ("answered", "truncated") else self._taken()
        return REASONS[self.end] + detail + taken

    def _taken(self) -> str:
        usable = any(turn.turn is not None and turn.mask is not None for turn in self.turns)
        return "; the mask of its last whole turn is taken" if usable else "; all masks are empty"
