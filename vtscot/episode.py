"""How an episode unfolds: what is shown before each turn, and the dialogue that trainers and rollouts read.

SFT text, RL rollouts and evaluation prompts all come from the functions here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from vtscot.budget import Budget
from vtscot.grammar import render_turn
from vtscot.prompts import render_prompt
from vtscot.records import Episode, Frozen, Observation, Plan, Query, Role, Selection, ShownFrame, Thought, Turn


def spread(start: int, end: int, count: int) -> tuple[int, ...]:
    """At most `count` distinct indices spread evenly over start..end (inclusive), ends included.

    >>> spread(0, 9, 4)
    (0, 3, 6, 9)
    >>> spread(3, 4, 5)
    (3, 4)
    """
    length = end - start + 1
    if length <= count:
        return tuple(range(start, end + 1))
    if count == 1:
        return ((start + end) // 2,)
    step = length - 1
    return tuple(start + (2 * i * step + count - 1) // (2 * (count - 1)) for i in range(count))


def _shown(indices: Sequence[int], role: Role, max_pixels: int) -> tuple[ShownFrame, ...]:
    return tuple(ShownFrame(index=i, role=role, max_pixels=max_pixels) for i in indices)


def first_observation(num_frames: int, budget: Budget) -> Observation:
    """What is shown before turn 0: low-resolution frames over the whole video, then sharper ones."""
    temporal = spread(0, num_frames - 1, budget.temporal_frames)
    spatial = spread(0, num_frames - 1, budget.spatial_frames)
    return Observation(
        frames=_shown(temporal, "temporal", budget.temporal_pixels) + _shown(spatial, "spatial", budget.spatial_pixels)
    )


def look_observation(selection: Selection, num_frames: int, budget: Budget) -> Observation:
    """What is shown after a `select`: frames of its window and its keyframe, cut to the video."""
    last = num_frames - 1
    start, end = min(selection.start, last), min(selection.end, last)
    window = spread(start, end, budget.window_frames)
    return Observation(
        frames=_shown(window, "window", budget.temporal_pixels)
        + _shown((min(selection.keyframe, last),), "keyframe", budget.keyframe_pixels)
    )


def observations(plan: Plan, budget: Budget) -> tuple[Observation, ...]:
    """The observation before each turn of a plan."""
    looks = tuple(look_observation(step.selection, plan.num_frames, budget) for step in plan.steps[:-1])
    return (first_observation(plan.num_frames, budget), *looks)


def episode_of(query: Query, plan: Plan, thoughts: Sequence[Thought], budget: Budget) -> Episode:
    """The episode in which the policy follows `plan` with these thoughts, one per step."""
    last = len(plan.steps) - 1
    turns = tuple(
        Turn(thought=thought, action="answer" if i == last else "select", selection=step.selection)
        for i, (step, thought) in enumerate(zip(plan.steps, thoughts, strict=True))
    )
    return Episode(
        query_id=query.id,
        expression=query.expression,
        num_frames=plan.num_frames,
        observations=observations(plan, budget),
        turns=turns,
    )


class Part(Frozen):
    """A piece of a message: text, or the place of the next image."""

    type: str = Field(pattern="^(text|image)$")
    text: str | None = None


class Message(Frozen):
    """One message of the dialogue in the form that chat templates read."""

    role: str = Field(pattern="^(system|user|assistant)$")
    content: tuple[Part, ...]


def _text(text: str) -> Part:
    return Part(type="text", text=text)


def system_text(*, brief: bool = False) -> str:
    """Task and grammar, the same for every episode; `brief` is one line for a policy too small to read instructions."""
    text: str = render_prompt("policy/system_brief.j2" if brief else "policy/system.j2")
    return text


def system_message(text: str | None = None) -> Message:
    """The first message of a dialogue: `text`, or what `system_text` says."""
    return Message(role="system", content=(_text(system_text() if text is None else text),))


def observation_message(turn: int, observation: Observation, expression: str, num_frames: int) -> Message:
    """The user's message before turn number `turn`: its frames, each after its index, then the request."""
    parts: list[Part] = []
    role: str | None = None
    for frame in observation.frames:
        if frame.role != role:
            role = frame.role
            parts.append(_text(render_prompt("policy/heading.j2", role=role) + "\n"))
        parts += [_text(f"Frame {frame.index}: "), Part(type="image")]
    request = render_prompt("policy/request.j2", turn=turn, expression=expression, num_frames=num_frames)
    return Message(role="user", content=(*parts, _text("\n" + request)))


def dialogue(episode: Episode) -> list[Message]:
    """The whole episode as chat messages; its images are the frames of all observations, in order."""
    messages = [system_message()]
    for number, (observation, turn) in enumerate(zip(episode.observations, episode.turns, strict=True)):
        messages.append(observation_message(number, observation, episode.expression, episode.num_frames))
        messages.append(Message(role="assistant", content=(_text(render_turn(turn)),)))
    return messages
