"""The nouns of vtscot as frozen models: what one row of VTS-CoT is made of.

Frame indices are 0-based positions in the video's list of frames; windows are inclusive at both ends;
boxes are (x, y, width, height) in pixels of the original frame. `schemas/` holds the JSON Schemas of these models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Index = Annotated[int, Field(ge=0)]
Box = tuple[float, float, float, float]
Role = Literal["temporal", "spatial", "window", "keyframe"]
Action = Literal["select", "answer"]
State = Literal["kept", "rejected", "failed", "skipped"]
FactKind = Literal[
    "visible",  # the target is seen from start to end
    "absent",  # the target is not seen from start to end
    "enters",
    "leaves",
    "reappears",
    "starts",  # begins to move
    "stops",
    "turns",  # changes direction
    "moves",  # its net movement over start..end; value: radians, 0 = right, pi/2 = down
    "grows",
    "shrinks",
    "nearest",  # closest approach to the object in `other`
    "overlaps",  # shares image area with the object in `other`
    "passes",  # overtakes the object in `other`
    "similar",  # another object, in `other`, of nearly the same size and shape is seen together with the target
    "largest",  # the frame (start == end) in which the target is seen best
]


class Frozen(BaseModel):
    """Base of all records: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Video(Frozen):
    """One video of a source: its key (may hold slashes) and its frames in order."""

    source: str
    split: str
    name: str = Field(min_length=1)
    frames: tuple[str, ...]
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)

    @property
    def id(self) -> str:
        return f"{self.source}/{self.split}/{self.name}"


class Query(Frozen):
    """One expression about one video, with 0..n target objects."""

    source: str
    split: str
    video: str = Field(min_length=1)
    exp_id: str = Field(min_length=1)
    expression: str
    object_ids: tuple[str, ...] = ()
    anno_ids: tuple[str, ...] = ()
    kind: str | None = None

    @property
    def id(self) -> str:
        return f"{self.source}/{self.split}/{self.video}/{self.exp_id}"

    @property
    def video_id(self) -> str:
        return f"{self.source}/{self.split}/{self.video}"


class Selection(Frozen):
    """A window, both ends inclusive, and the frame in it to look at closely."""

    start: Index
    end: Index
    keyframe: Index

    @model_validator(mode="after")
    def _ordered(self) -> Selection:
        if self.end < self.start:
            raise ValueError(f"window ends at {self.end} before it starts at {self.start}")
        return self

    @property
    def frames(self) -> range:
        return range(self.start, self.end + 1)


class Fact(Frozen):
    """One thing the mask tables say about the target between two frames (inclusive)."""

    kind: FactKind
    start: Index
    end: Index
    value: float | None = None
    other: str | None = None  # anno_id of the other object, where the fact is about two


class Step(Frozen):
    """One selection of a plan: what justifies it, and the keyframes a teacher may choose from, best first."""

    selection: Selection
    facts: tuple[Fact, ...] = ()
    keyframes: tuple[Index, ...]

    @model_validator(mode="after")
    def _keyframe_is_a_candidate(self) -> Step:
        if self.selection.keyframe not in self.keyframes:
            raise ValueError(f"keyframe {self.selection.keyframe} is not among the candidates {self.keyframes}")
        if not all(k in self.selection.frames for k in self.keyframes):
            raise ValueError(f"candidates {self.keyframes} leave the window")
        return self


class Plan(Frozen):
    """What mining proposes for a query: 0-2 looks, coarse to fine, then the answer (always the last step)."""

    query_id: str
    num_frames: int = Field(gt=0)
    difficulty: float = Field(ge=0, le=1)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=3)
    facts: tuple[Fact, ...] = ()  # about the whole video

    @model_validator(mode="after")
    def _inside(self) -> Plan:
        if any(step.selection.end >= self.num_frames for step in self.steps):
            raise ValueError(f"a window leaves the {self.num_frames} frames of the video")
        return self

    @property
    def answer(self) -> Step:
        return self.steps[-1]


class Thought(Frozen):
    """The decoupled thinking trace of one turn; each part is one paragraph without headings or tags."""

    temporal: str
    spatial: str
    linguistic: str
    action: str


class Turn(Frozen):
    """A thought and what is done after it: `select` looks again, `answer` confirms."""

    thought: Thought
    action: Action
    selection: Selection


class ShownFrame(Frozen):
    """One frame of an observation: its index and the most pixels its image may have."""

    index: Index
    role: Role
    max_pixels: int = Field(gt=0)


class Observation(Frozen):
    """The frames shown before a turn, in the order they are shown."""

    frames: tuple[ShownFrame, ...] = Field(min_length=1)

    @property
    def indices(self) -> tuple[int, ...]:
        return tuple(frame.index for frame in self.frames)

    @property
    def sharp(self) -> tuple[int, ...]:
        """The frames shown at high resolution: the keyframe, or the spatial frames of the first observation."""
        return tuple(frame.index for frame in self.frames if frame.role in ("spatial", "keyframe"))

    @property
    def decoded(self) -> int:
        """The frame on which this turn's mask is decoded: the keyframe, or the middle spatial frame."""
        return self.sharp[len(self.sharp) // 2]


class Episode(Frozen):
    """Observation, turn, observation, turn, ...: what build, sft, rl, predict and eval share."""

    query_id: str
    expression: str
    num_frames: int = Field(gt=0)
    observations: tuple[Observation, ...] = Field(min_length=1)
    turns: tuple[Turn, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Episode:
        if len(self.observations) != len(self.turns):
            raise ValueError(f"{len(self.observations)} observations for {len(self.turns)} turns")
        if any(turn.action == "answer" for turn in self.turns[:-1]):
            raise ValueError("an answer before the last turn")
        last = self.num_frames - 1
        for observation in self.observations:
            if max(observation.indices) > last:
                raise ValueError(f"an observation shows a frame after the last one ({last})")
        for turn in self.turns:
            if max(turn.selection.end, turn.selection.keyframe) > last:
                raise ValueError(f"a selection leaves the video (last frame {last})")
        return self

    @property
    def truncated(self) -> bool:
        """True where the last turn still wants to look: the episode never answered."""
        return self.turns[-1].action != "answer"

    def shown_until(self, turn: int) -> frozenset[int]:
        """Indices of all frames that had been shown when turn number `turn` was written."""
        return frozenset(i for observation in self.observations[: turn + 1] for i in observation.indices)


class Check(Frozen):
    """One test of an episode. `value` and `threshold` are set where the test compares numbers."""

    name: str
    passed: bool
    detail: str = ""
    value: float | None = None
    threshold: float | None = None


class Grounding(Frozen):
    """What the blind grounder made of one turn: boxes on the decoded frame, and how their mask scored.

    `ceiling` is the IoU the same segmenter reaches from the ground-truth boxes; a frame whose ceiling is too low
    to tell a wrong thought from a weak segmenter is not gradable. No boxes means "not here". `window_iou` is the mean
    along the answer's window, where the segmenter can follow a mask; `window_ceiling` what it reaches there.
    """

    turn: Index
    frame: Index
    boxes: tuple[Box, ...] = ()
    iou: float = Field(ge=0, le=1)
    ceiling: float = Field(ge=0, le=1)
    gradable: bool
    window_iou: float | None = Field(default=None, ge=0, le=1)
    window_ceiling: float | None = Field(default=None, ge=0, le=1)


class Verdict(Frozen):
    """Checks and scores of an episode, and why it was kept or rejected (`reason` is the first failed check)."""

    kept: bool
    reason: str | None = None
    checks: tuple[Check, ...] = ()
    groundings: tuple[Grounding, ...] = ()
    grounder: str
    segmenter: str

    @model_validator(mode="after")
    def _reasoned(self) -> Verdict:
        if self.kept == (self.reason is not None):
            raise ValueError("a rejected episode has a reason, a kept one has none")
        return self

    @property
    def keyframe_iou(self) -> float | None:
        """IoU on the frame the answer's mask was decoded on."""
        return self.groundings[-1].iou if self.groundings else None


class Provenance(Frozen):
    """What made a record; enough to make it again."""

    vtscot: str
    teacher: str
    recipe: str  # digest of the resolved recipe
    prompts: str  # digest of the prompt templates
    seed: int


class Record(Frozen):
    """One row of VTS-CoT."""

    query: Query
    plan: Plan
    episode: Episode
    verdict: Verdict
    provenance: Provenance


class Outcome(Frozen):
    """How a query ended: exactly one state, a reason for all but `kept`, and the record where there is one."""

    query: Query
    state: State
    reason: str | None = None
    detail: str = ""
    retryable: bool = False
    record: Record | None = None

    @model_validator(mode="after")
    def _complete(self) -> Outcome:
        if (self.state == "kept") != (self.reason is None):
            raise ValueError("every state but kept has a reason")
        if (self.state in ("kept", "rejected")) != (self.record is not None):
            raise ValueError("kept and rejected queries have a record, failed and skipped ones none")
        return self


def count_states(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Number of outcomes per state; all four states are present."""
    counts = {"kept": 0, "rejected": 0, "failed": 0, "skipped": 0}
    for outcome in outcomes:
        counts[outcome.state] += 1
    return counts
