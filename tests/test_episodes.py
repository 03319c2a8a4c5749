"""Scores of episodes: what counts as looking, which windows fit, what an absent target asks for, and the means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.errors import MaskError
from vtscot.evaluation.episodes import EpisodeScore, mean_of, score_episode, summarize_episodes, window_iou
from vtscot.masks import Rle, empty
from vtscot.records import Action, Episode, Selection, Thought, Turn
from vtscot.tracks import MaskTrack

FRAMES = 10
BUDGET = Budget(temporal_frames=4, spatial_frames=1, window_frames=2)
THOUGHT = Thought(temporal="a", spatial="b", linguistic="c", action="d")
LOOK = Selection(start=2, end=7, keyframe=6)


def box(x: int, width: int = 4) -> Rle:
    """A box of 4 rows in a frame of 8 x 16."""
    pixels = np.zeros((8, 16), bool)
    pixels[2:6, x : x + width] = True
    return Rle.from_array(pixels)


def track(*seen: int) -> MaskTrack:
    """The box at x = 4 in the frames `seen`."""
    return MaskTrack(8, 16, tuple(box(4).counts if i in seen else None for i in range(FRAMES)))


def episode(answer: Selection | None = None, looks: int = 1, last: Action = "answer") -> Episode:
    """`looks` looks at `LOOK`, then the answer."""
    answer = answer or Selection(start=5, end=8, keyframe=5)
    look = look_observation(LOOK, FRAMES, BUDGET)
    turns = [Turn(thought=THOUGHT, action="select", selection=LOOK)] * looks
    return Episode(
        query_id="demo/train/v/0",
        expression="the box",
        num_frames=FRAMES,
        observations=(first_observation(FRAMES, BUDGET), *[look] * looks),
        turns=(*turns, Turn(thought=THOUGHT, action=last, selection=answer)),
    )


def test_the_last_turn_is_what_is_scored() -> None:
    score = score_episode(episode(), track(5, 6, 7), [None, box(6)], kind="colour")
    assert score == EpisodeScore(
        query_id="demo/train/v/0",
        kind="colour",
        parsed=True,
        answered=True,
        rounds=2,
        keyframe_hit=True,  # frame 5, of the answer
        decoded_hit=True,  # frame 6, the keyframe of the look
        window_iou=3 / 4,
        decoded_iou=2 / 6,
        absent_empty=None,
        short_lived=True,
    )


def test_the_mask_of_an_answer_at_once_is_on_the_middle_frame() -> None:
    score = score_episode(episode(looks=0), track(4), [box(4)])
    assert (score.decoded_hit, score.decoded_iou, score.keyframe_hit) == (True, 1.0, False)


@pytest.mark.parametrize(
    ("seen", "mask", "iou", "hit"),
    [((1,), None, 1.0, False), ((1,), box(4), 0.0, False), ((6,), None, 0.0, True), ((6,), empty(8, 16), 0.0, True)],
    ids=["neither", "mask alone", "target alone", "an empty mask is none"],
)
def test_iou_on_the_decoded_frame(seen: tuple[int, ...], mask: Rle | None, iou: float, hit: bool) -> None:
    score = score_episode(episode(), track(*seen), [None, mask])
    assert (score.decoded_iou, score.decoded_hit) == (iou, hit)


@pytest.mark.parametrize("truth", [None, track()], ids=["nothing is meant", "never visible"])
@pytest.mark.parametrize(
    ("mask", "right"), [(None, True), (empty(8, 16), True), (box(0), False)], ids=["none", "empty", "some"]
)
def test_an_absent_target_asks_for_an_empty_mask(truth: MaskTrack | None, mask: Rle | None, right: bool) -> None:
    score = score_episode(episode(), truth, [box(0), mask])
    assert score.absent_empty is right
    asked = (score.keyframe_hit, score.decoded_hit, score.window_iou, score.decoded_iou)
    assert asked == (None, None, None, None)
    assert not score.short_lived


@pytest.mark.parametrize(("count", "short"), [(4, True), (5, False), (1, True), (10, False)])
def test_short_lived_is_less_than_half_of_the_frames(count: int, short: bool) -> None:
    assert score_episode(episode(), track(*range(count)), [None, None]).short_lived is short


def test_an_episode_that_never_answers_is_scored_by_its_last_look() -> None:
    score = score_episode(episode(looks=0, last="select"), track(5), [box(4)])
    assert (score.parsed, score.answered, score.rounds, score.keyframe_hit) == (True, False, 1, True)


def test_turns_before_a_reply_that_does_not_parse_count() -> None:
    score = score_episode(episode(looks=0, last="select"), track(5), [box(4)], parsed=False)
    assert (score.parsed, score.answered, score.rounds, score.keyframe_hit) == (False, False, 1, True)


def test_no_turn_at_all_is_worth_nothing() -> None:
    score = score_episode(None, track(5), [], query_id="q")
    asked = (score.keyframe_hit, score.decoded_hit, score.window_iou, score.decoded_iou)
    assert asked == (False, False, 0.0, 0.0)
    assert (score.query_id, score.parsed, score.answered, score.rounds) == ("q", False, False, 0)
    assert score_episode(None, None, [], query_id="q").absent_empty is False


def test_masks_must_fit() -> None:
    with pytest.raises(ValueError, match="1 masks for 2 turns"):
        score_episode(episode(), track(5), [None])
    with pytest.raises(MaskError):
        score_episode(episode(), track(6), [None, empty(9, 16)])


@pytest.mark.parametrize(
    ("window", "seen", "iou"),
    [((0, 9), (3,), 0.1), ((3, 3), (3,), 1.0), ((0, 2), (3, 4), 0.0), ((4, 6), (0, 5, 6, 9), 2 / 5)],
    ids=["all", "exact", "beside", "gaps"],
)
def test_window_iou(window: tuple[int, int], seen: tuple[int, ...], iou: float) -> None:
    selection = Selection(start=window[0], end=window[1], keyframe=window[0])
    assert window_iou(selection, track(*seen).visible) == iou


def test_summary_averages_what_is_asked_of_each() -> None:
    scores = [
        score_episode(episode(), track(5, 6), [None, box(4)], kind="colour"),
        score_episode(episode(looks=0), track(*range(10)), [box(4)], kind="place"),
        score_episode(episode(looks=0), None, [box(4)], kind="place"),
        score_episode(None, track(1), [], query_id="q", kind="place"),
    ]
    summary = summarize_episodes(scores)
    assert summary["rounds"] == {"0": 1, "1": 2, "2": 1}
    assert summary["episodes"] == 4
    assert summary["parsed"]["mean"] == summary["answered"]["mean"] == 0.75
    assert summary["keyframe_hit"] == mean_of([1, 1, 0])
    assert summary["keyframe_hit_short_lived"] == mean_of([1, 0])
    assert summary["decoded_iou_visible"] == mean_of([1, 1])
    assert summary["absent_empty"] == {"mean": 0.0, "se": None, "n": 1}
    assert summary["kinds"]["colour"]["episodes"] == 1
    assert summary["kinds"]["place"]["keyframe_hit"]["n"] == 2
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_mean_and_standard_error() -> None:
    values = [0.1, 0.4, None, 0.7, 1.0]
    known = np.array([0.1, 0.4, 0.7, 1.0])
    found = mean_of(values)
    assert found["mean"] == pytest.approx(known.mean())
    assert found["se"] == pytest.approx(known.std(ddof=1) / 2)
    assert found["n"] == 4
    assert mean_of([None]) == {"mean": None, "se": None, "n": 0}
    assert summarize_episodes([])["parsed"]["n"] == 0
