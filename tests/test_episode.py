"""How an episode unfolds: what is shown when, and the dialogue made of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vtscot.budget import PRESETS, Budget
from vtscot.episode import dialogue, episode_of, first_observation, look_observation, spread
from vtscot.grammar import parse_turn
from vtscot.records import Episode, Plan, Query, Selection, Step, Thought

QUERY = Query(source="demo", split="train", video="v", exp_id="0", expression="the cat that was first to climb")
BUDGET = PRESETS["cold_start"]


def thought(word: str) -> Thought:
    return Thought(temporal=f"{word} t", spatial=f"{word} s", linguistic=f"{word} l", action=f"{word} a")


def step(start: int, end: int, keyframe: int) -> Step:
    return Step(selection=Selection(start=start, end=end, keyframe=keyframe), keyframes=(keyframe,))


def example(*steps: Step, num_frames: int = 60) -> Episode:
    plan = Plan(query_id=QUERY.id, num_frames=num_frames, difficulty=0.5, steps=steps)
    return episode_of(QUERY, plan, [thought(str(i)) for i in range(len(steps))], BUDGET)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 40))
def test_spread_is_even_distinct_and_holds_the_ends(start: int, length: int, count: int) -> None:
    end = start + length - 1
    indices = spread(start, end, count)
    assert len(indices) == min(length, count)
    assert sorted(set(indices)) == list(indices)
    assert start <= indices[0] <= indices[-1] <= end
    if count > 1:
        assert (indices[0], indices[-1]) == (start, end) or length == 1
        gaps = {b - a for a, b in itertools.pairwise(indices)}
        assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("num_frames", [1, 2, 7, 100])
def test_first_observation_follows_the_budget(name: str, num_frames: int) -> None:
    budget = PRESETS[name]
    observation = first_observation(num_frames, budget)
    roles = [frame.role for frame in observation.frames]
    assert roles.count("temporal") == min(budget.temporal_frames, num_frames)
    assert roles.count("spatial") == min(budget.spatial_frames, num_frames)
    assert abs(observation.decoded - (num_frames - 1) / 2) <= max(1, num_frames / budget.spatial_frames)


def test_the_mask_of_turn_0_is_decoded_on_the_middle_sharp_frame() -> None:
    assert first_observation(101, BUDGET).decoded == 50


def test_a_look_shows_its_window_then_its_keyframe_cut_to_the_video() -> None:
    observation = look_observation(Selection(start=40, end=90, keyframe=80), 50, Budget(window_frames=5))
    assert observation.indices == (40, 42, 45, 47, 49, 49)
    assert observation.decoded == 49


def test_masks_are_decoded_on_the_keyframe_of_the_last_select() -> None:
    episode = example(step(0, 30, 10), step(5, 20, 12), step(6, 18, 15))
    assert [o.decoded for o in episode.observations] == [30, 10, 12]
    assert [t.action for t in episode.turns] == ["select", "select", "answer"]
    assert not episode.truncated


def test_shown_until_grows_with_the_turns() -> None:
    episode = example(step(0, 30, 10), step(5, 20, 12))
    assert 10 not in episode.shown_until(0)
    assert {10, *episode.observations[0].indices} <= episode.shown_until(1)


def test_the_dialogue_alternates_and_has_a_place_for_every_shown_frame() -> None:
    episode = example(step(0, 30, 10), step(5, 20, 12))
    messages = dialogue(episode)
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    images = [sum(part.type == "image" for part in m.content) for m in messages if m.role == "user"]
    assert images == [len(o.frames) for o in episode.observations]
    replies = [m.content[0].text for m in messages if m.role == "assistant"]
    assert [parse_turn(text or "") for text in replies] == list(episode.turns)


def test_each_image_follows_its_frame_index() -> None:
    message = dialogue(example(step(5, 20, 12)))[1]
    named = [message.content[i - 1].text for i, part in enumerate(message.content) if part.type == "image"]
    shown = example(step(5, 20, 12)).observations[0].indices
    assert named == [f"Frame {index}: " for index in shown]


def test_the_expression_stands_in_every_request() -> None:
    for message in dialogue(example(step(0, 30, 10), step(5, 20, 12))):
        if message.role == "user":
            assert QUERY.expression in (message.content[-1].text or "")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"observations": ()}, "at least 1", id="no observation"),
        pytest.param({"num_frames": 20}, "after the last one", id="frames beyond the video"),
        pytest.param({"unknown": 1}, "Extra inputs", id="unknown key"),
    ],
)
def test_an_inconsistent_episode_is_refused(change: dict[str, object], complaint: str) -> None:
    good = example(step(0, 30, 10))
    with pytest.raises(ValidationError, match=complaint):
        Episode.model_validate(good.model_dump() | change)


def test_an_answer_ends_an_episode() -> None:
    good = example(step(0, 30, 10))
    twice = {"observations": good.observations * 2, "turns": good.turns * 2}
    with pytest.raises(ValidationError, match="before the last turn"):
        Episode.model_validate(good.model_dump() | twice)
