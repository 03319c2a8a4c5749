"""The loop of `vtscot predict` with real small policies, one that speaks the grammar and one that does not.

The command is in test_predict_cli.py, what it reads and writes without a policy in test_predict_files.py, the page in
test_predict_page.py.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

import torch
from PIL import Image

from tests.policies import ANSWER, BUDGET, LOOK
from vtscot.budget import PRESETS
from vtscot.frames import FolderFrames, Frames, open_frames
from vtscot.masks import decode
from vtscot.policy.load import load_policy
from vtscot.policy.pixels import BLOCK, BlockFrames, sam_frame
from vtscot.policy.predict import (
    Prediction,
    budget_of,
    decode_again,
    finish,
    mask_at,
    predict,
    trace_of,
)
from vtscot.policy.rollout import Ask
from vtscot.policy.sampling import Sampling

QUERY = "the shape that moves"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def speaking(speaking_policy_folder: Path) -> tuple[Any, Any]:
    return load_policy(speaking_policy_folder, "cpu")


@pytest.fixture(scope="module")
def silent(tiny_policy_folder: Path) -> tuple[Any, Any]:
    return load_policy(tiny_policy_folder, "cpu")


def write_video(demo_root: Path, folder: Path) -> Path:
    """The first 12 frames of a demo video; the policies were shown it."""
    source = sorted((demo_root / "train" / "JPEGImages").iterdir())[0]
    folder.mkdir()
    for path in sorted(source.iterdir())[:12]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def video(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(demo_root, tmp_path_factory.mktemp("videos") / "clip")


@pytest.fixture(scope="module")
def frames(video: Path) -> Frames:
    return open_frames(video)


@pytest.fixture(scope="module")
def predicted(speaking: tuple[Any, Any], frames: Frames) -> Prediction:
    return predict(*speaking, Ask("v/0", QUERY, frames), BUDGET)


# ---- the loop


def test_the_policy_looks_and_answers(predicted: Prediction) -> None:
    assert predicted.rollout.end == "answered"
    selections = [turn.turn.selection for turn in predicted.rollout.turns if turn.turn]
    assert [(s.start, s.end, s.keyframe) for s in selections] == [LOOK, ANSWER]
    assert predicted.keyframe == LOOK[2]
    assert not predicted.absent


def test_the_mask_is_decoded_on_the_keyframe_and_followed_both_ways(
    predicted: Prediction, speaking: tuple[Any, Any], frames: Frames
) -> None:
    policy, _ = speaking
    width, height = frames.size(0)
    logits = predicted.rollout.turns[-1].mask_logits
    assert predicted.track.rle(predicted.keyframe) == mask_at(logits, width, height)
    side = policy.config.image_size
    prompt = torch.nn.functional.interpolate(logits[None, None], (side, side), mode="bilinear")[0, 0]
    followed = dict(policy.propagate(BlockFrames(frames, side), predicted.keyframe, prompt))
    assert set(followed) == set(range(len(frames)))
    for frame in set(followed) - {predicted.keyframe}:
        assert predicted.track.rle(frame) == mask_at(followed[frame], width, height), frame


def test_a_mask_is_resized_to_its_frame() -> None:
    logits = torch.full((4, 4), -3.0)
    assert mask_at(logits, 8, 8) is None
    logits[1:3, 1:3] = 3.0
    mask = mask_at(logits, 16, 8)
    assert mask is not None and mask.size == (8, 16)
    large = torch.nn.functional.interpolate(logits[None, None], (8, 16), mode="bilinear")[0, 0] > 0
    assert (decode(mask) == large.numpy()).all()


def test_masks_can_start_from_the_keyframe_that_the_answer_names(
    predicted: Prediction, speaking: tuple[Any, Any], frames: Frames
) -> None:
    policy, processor = speaking
    other = finish(policy, predicted.rollout, processor, propagate_from="answer")
    assert other.keyframe == ANSWER[2]
    logits, score = decode_again(policy, processor, predicted.rollout, 1, ANSWER[2])
    assert other.track.rle(ANSWER[2]) == mask_at(logits, *frames.size(0))
    same, there = decode_again(policy, processor, predicted.rollout, 1, LOOK[2])
    last = predicted.rollout.turns[-1]
    torch.testing.assert_close(same.cpu(), last.mask_logits, atol=1e-4, rtol=1e-4)
    assert there == pytest.approx(last.object_score, abs=1e-3)
    off = (same - last.mask_logits).abs().max()
    assert (logits - last.mask_logits).abs().max() > 10 * off, "another frame, another mask"
    assert score != there


def test_an_object_score_below_the_threshold_says_that_the_target_is_nowhere(
    predicted: Prediction, speaking: tuple[Any, Any]
) -> None:
    policy, _ = speaking
    score = predicted.rollout.turns[-1].object_score
    assert score is not None
    heard: list[int] = []
    absent = finish(policy, predicted.rollout, object_threshold=score, on_mask=lambda i, _: heard.append(i))
    assert absent.absent and absent.keyframe == predicted.keyframe
    assert absent.track.masks == (None,) * len(absent.track)
    assert heard == []
    assert trace_of(absent, "0").answered


def test_masks_and_text_come_as_they_are_made(speaking: tuple[Any, Any], frames: Frames) -> None:
    heard: list[int] = []
    said = ["", "", ""]

    def listen(query_id: str, turn: int, text: str) -> None:
        assert query_id == "v/0" and not heard
        said[turn] += text

    ask = Ask("v/0", QUERY, frames)
    made = predict(*speaking, ask, BUDGET, on_text=listen, on_mask=lambda i, mask: heard.append(i))
    assert heard == [5, 6, 7, 8, 9, 10, 11, 4, 3, 2, 1, 0]
    assert [text for text in said if text] == [turn.text for turn in made.rollout.turns]


def test_a_policy_that_does_not_parse_has_no_masks(silent: tuple[Any, Any], frames: Frames) -> None:
    made = predict(*silent, Ask("v/0", QUERY, frames), BUDGET)
    assert made.rollout.end == "unparsed"
    assert made.keyframe == made.rollout.turns[0].frame
    assert not made.absent and made.track.masks == (None,) * len(frames)
    assert "all masks are empty" in trace_of(made, "0").reason


def test_an_earlier_turn_stands_in_where_the_last_does_not_parse(predicted: Prediction, speaking: Any) -> None:
    rollout = predicted.rollout
    broken = replace(rollout.turns[1], turn=None, error="no think")
    made = finish(speaking[0], replace(rollout, turns=(rollout.turns[0], broken), end="unparsed"))
    assert made.keyframe == rollout.turns[0].frame
    assert made.track.masks[made.keyframe] is not None
    none = finish(speaking[0], replace(rollout, turns=(), end="too-long"))
    assert none.keyframe == len(none.track) // 2 and none.track.masks == (None,) * len(none.track)


def test_one_frame_is_enough(speaking: tuple[Any, Any], video: Path) -> None:
    names = sorted(path.stem for path in video.iterdir())[:1]
    made = predict(*speaking, Ask("v/0", QUERY, FolderFrames(video, names)), BUDGET)
    assert len(made.track) == 1


def test_the_budget_is_the_one_named_then_the_policys_then_that_of_evaluation(silent: tuple[Any, Any]) -> None:
    policy, _ = silent
    assert budget_of(policy, "rl_rollout") == PRESETS["rl_rollout"]
    assert budget_of(policy, None) == BUDGET
    saved, policy.config.budget = policy.config.budget, None
    try:
        assert budget_of(policy, None) == PRESETS["evaluation"]
    finally:
        policy.config.budget = saved


class Counting(FolderFrames):
    """Counts how often each frame is decoded."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        super().__init__(directory, names)
        self.read: list[int] = []

    def image(self, i: int, max_pixels: int | None = None) -> Image.Image:
        self.read.append(i)
        return super().image(i, max_pixels)


def test_frames_are_read_in_blocks_forwards(tmp_path: Path) -> None:
    count = 2 * BLOCK + 5
    for i in range(count):
        Image.new("RGB", (8, 6), (i, 2 * i, 0)).save(tmp_path / f"{i:03d}.png")
    frames = Counting(tmp_path, [f"{i:03d}" for i in range(count)])
    blocks = BlockFrames(frames, 16)
    middle = BLOCK + 10
    order = [middle, *range(middle + 1, count), *range(middle - 1, -1, -1)]
    given = [blocks[i] for i in order]
    assert len(frames.read) <= count + BLOCK
    assert sum(b != a + 1 for a, b in pairwise(frames.read)) <= -(-count // BLOCK) + 2
    assert len(blocks._kept) <= BLOCK
    assert all(torch.equal(frame, sam_frame(frames.image(i), 16)) for i, frame in zip(order, given, strict=True))


def test_sampling_is_repeatable(speaking: tuple[Any, Any], frames: Frames) -> None:
    texts = [
        [turn.text for turn in predict(*speaking, Ask("v/0", QUERY, frames), BUDGET, sampling).rollout.turns]
        for sampling in (
            Sampling(temperature=2.0, seed=1),
            Sampling(temperature=2.0, seed=1),
            Sampling(temperature=2.0),
        )
    ]
    assert texts[0] == texts[1] != texts[2]
