"""What rollouts are about and what they give: an ask, its turns as they were sampled, and how they ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from vtscot.errors import PolicyError
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import Encoded, Piece, assemble
from vtscot.records import Episode, Observation, Turn

if TYPE_CHECKING:
    from vtscot.frames import Frames

End = Literal["answered", "truncated", "unparsed", "too-long"]


@dataclass(frozen=True, eq=False, slots=True)
class Ask:
    """What a policy is asked: an expression about a video."""

    query_id: str
    expression: str
    frames: Frames


@dataclass(frozen=True, eq=False, slots=True)
class RolledTurn:
    """One turn as it was sampled. Tensors are on the CPU; the mask is None where the reply has no `[SEG]`."""

    observation: Observation
    reply_ids: Tensor  # (T,) int64, with the end of the message where it was sampled
    text: str
    turn: Turn | None  # what it says, cut to the video; None where it does not parse
    error: str | None  # why it does not
    logprobs: Tensor  # (T,) of the reply's tokens, see `sampling.next_tokens`
    mask_logits: Tensor | None  # (S/4, S/4)
    object_score: float | None  # logit that the target is in the frame at all
    iou_score: float | None  # IoU that the decoder expects
    frame: int  # of the video, that the mask is decoded on
    seg_hidden: Tensor | None = None  # (hidden,) that the mask is decoded from
    forced: int = 0  # tokens at the end of the reply that were not drawn, see `Sampling.guided`


@dataclass(frozen=True, eq=False, slots=True)
class Rollout:
    """All turns of one sample, and how it ended.

    answered; truncated: still looking at the turn limit; unparsed: the last turn breaks the grammar; too-long: the
    model's window was full before the next reply (there may be no turn at all) or in the midst of one.
    """

    ask: Ask
    sample: int
    turns: tuple[RolledTurn, ...]
    end: End
    pieces: tuple[Piece, ...] = field(repr=False)  # what was shown before each turn

    @property
    def episode(self) -> Episode | None:
        """The turns that parse; None where not even the first does."""
        parsed = [(rolled.observation, rolled.turn) for rolled in self.turns if rolled.turn is not None]
        if not parsed:
            return None
        return Episode(
            query_id=self.ask.query_id,
            expression=self.ask.expression,
            num_frames=len(self.ask.frames),
            observations=tuple(observation for observation, _ in parsed),
            turns=tuple(turn for _, turn in parsed),
        )

    def encoded(self, processor: PolicyProcessor) -> Encoded:
        """The rollout as it was read and written, token for token; PolicyError where nothing was written."""
        if not self.turns:
            raise PolicyError(f"{self.ask.query_id}: the prompt does not fit the window of the model; nothing to train")
        replies = [rolled.reply_ids for rolled in self.turns]
        frames = [rolled.frame for rolled in self.turns]
        return assemble(self.ask.query_id, self.pieces, replies, frames, processor)
