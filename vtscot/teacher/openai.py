"""A teacher behind an OpenAI-compatible endpoint: three questions per turn, composed into one thought, or one for all.

Turns are written one after the other, because a later thought must know the earlier ones; within a turn the temporal
and the spatial pass are asked at the same time, the linguistic one after them. Nothing is asked of an answer that the
ledger already holds.
"""

from __future__ import annotations

import asyncio
from functools import partial

from vtscot.endpoint.client import ChatClient
from vtscot.records import Observation, Plan, ShownFrame, Step, Thought
from vtscot.teacher.base import Mode, PassTokens, TraceTask
from vtscot.teacher.passes import (
    LINGUISTIC,
    SINGLE,
    SPATIAL,
    TEMPORAL,
    LinguisticAnswer,
    Moment,
    SingleAnswer,
    SpatialAnswer,
    TemporalAnswer,
    checked,
    checked_keyframe,
    compose,
)


class OpenAITeacher:
    """Writes thoughts through a client, which is shared with others and closed here."""

    def __init__(self, client: ChatClient, mode: Mode = "passes", tokens: PassTokens | None = None) -> None:
        self._client = client
        self._mode = mode
        self._tokens = tokens or PassTokens()

    @property
    def name(self) -> str:
        return f"openai:{self._client.settings.model}"

    async def trace(self, task: TraceTask) -> tuple[Plan, tuple[Thought, ...]]:
        """One thought per step. Raises TeacherError, EndpointError, FrameError and RunError as the client does."""
        thoughts: tuple[Thought, ...] = ()
        steps: tuple[Step, ...] = ()
        shown: frozenset[int] = frozenset()
        for turn, step in enumerate(task.plan.steps):
            observation = task.observations[turn]
            if steps:
                observation = with_keyframe(observation, steps[-1].selection.keyframe)
            shown |= set(observation.indices)
            moment = Moment(task, turn, step, observation, shown, thoughts, self._tokens)
            keyframe, thought = await (self._single(moment) if self._mode == "single" else self._think(moment))
            thoughts += (thought,)
            steps += (choose(step, keyframe),)
        return task.plan.model_copy(update={"steps": steps}), thoughts

    async def close(self) -> None:
        await self._client.close()

    async def _think(self, moment: Moment) -> tuple[int, Thought]:
        """The keyframe chosen in this turn, and its thought."""
        temporal, spatial = await asyncio.gather(
            self._temporal(moment), self._spatial(moment), return_exceptions=True
        )  # both are waited for: an answer on its way is paid for already
        if isinstance(temporal, BaseException):
            raise temporal
        if isinstance(spatial, BaseException):
            raise spatial
        found = {"temporal": temporal.temporal, "spatial": spatial.spatial, "keyframe": temporal.keyframe}
        request = await LINGUISTIC.prepare(moment, **found)
        linguistic = await self._client.ask(request, LinguisticAnswer, checked)
        return temporal.keyframe, compose(temporal, spatial, linguistic)

    async def _single(self, moment: Moment) -> tuple[int, Thought]:
        """The same in one request."""
        request = await SINGLE.prepare(moment)
        check = partial(checked_keyframe, candidates=moment.step.keyframes)
        answer = await self._client.ask(request, SingleAnswer, check)
        return answer.keyframe, answer.thought

    async def _temporal(self, moment: Moment) -> TemporalAnswer:
        request = await TEMPORAL.prepare(moment)
        return await self._client.ask(
            request, TemporalAnswer, partial(checked_keyframe, candidates=moment.step.keyframes)
        )

    async def _spatial(self, moment: Moment) -> SpatialAnswer:
        request = await SPATIAL.prepare(moment)
        return await self._client.ask(request, SpatialAnswer, checked)


def choose(step: Step, keyframe: int) -> Step:
    """The step with another of its candidates as keyframe."""
    return step.model_copy(update={"selection": step.selection.model_copy(update={"keyframe": keyframe})})


def with_keyframe(observation: Observation, keyframe: int) -> Observation:
    """The observation as it is after a look that chose another keyframe."""
    frames = tuple(
        ShownFrame(index=keyframe, role=frame.role, max_pixels=frame.max_pixels) if frame.role == "keyframe" else frame
        for frame in observation.frames
    )
    return Observation(frames=frames)
