"""What every teacher is given and gives back.

A teacher sees one query with its plan and writes one `Thought` per step of it. It may swap a step's keyframe for
another of the step's mined candidates; it never changes windows, the number of steps, or frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from vtscot.endpoint.settings import EndpointSettings
from vtscot.records import Frozen, Observation, Plan, Query, Thought

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.tracks import MaskTrack


Style = Literal["full", "brief"]
Mode = Literal["passes", "single"]


class PassTokens(Frozen):
    """The most new tokens of each pass's answer; None: the endpoint's `max_output_tokens`."""

    temporal: int | None = Field(default=None, gt=0)
    spatial: int | None = Field(default=None, gt=0)
    linguistic: int | None = Field(default=None, gt=0)
    single: int | None = Field(default=None, gt=0)

    def of(self, name: str) -> int | None:
        """The budget of the pass of that name."""
        tokens = getattr(self, name)
        return tokens if isinstance(tokens, int) else None


class TeacherSettings(EndpointSettings):
    """Which teacher writes the thoughts; the style counts for `oracle` only, everything else for `openai` only.

    `brief`: few words in a fixed order, which a policy of a million parameters can learn in minutes.
    `single`: one request per turn in the place of three. Not one per episode: the frames of later turns would be seen.
    `n_best`: every query is traced and verified so many times, and the best of them kept.
    """

    name: Literal["oracle", "openai"] = "oracle"
    style: Style = "full"
    mode: Mode = "passes"
    n_best: int = Field(default=1, ge=1, le=16)
    pass_tokens: PassTokens = PassTokens()


@dataclass(frozen=True)
class TraceTask:
    """One query to write thoughts for.

    `observations[t]` is what the policy sees before turn t of `plan`. `target` is None for a no-target query;
    `objects` are the other objects of the video by anno_id. `seed` is the run's seed, the same for all queries;
    `variant` counts the traces of the same query where several are wanted.
    """

    query: Query
    plan: Plan
    observations: tuple[Observation, ...]
    frames: Frames
    target: MaskTrack | None
    objects: Mapping[str, MaskTrack]
    seed: int
    variant: int = 0


class Teacher(Protocol):
    """Writes the thoughts of one query at a time; many `trace` calls may run at once."""

    @property
    def name(self) -> str:
        """For provenance, for example `oracle` or `openai:gpt-x`."""
        ...

    async def trace(self, task: TraceTask) -> tuple[Plan, tuple[Thought, ...]]:
        """One thought per step, and the plan with the keyframes that the teacher chose.

        Raises TeacherError where this query cannot be written, EndpointError where going on is pointless.
        """
        ...

    async def close(self) -> None:
        """Release connections; the teacher is not used afterwards."""
        ...
