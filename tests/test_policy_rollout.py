"""Rollouts of a tiny policy that has learned an episode of three turns: what is cached equals what is computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")
pytest.importorskip("transformers", reason="policies need the `train` extra (torch, transformers)")

import torch

from tests.rolling import BUDGET, EXPRESSION, FRAMES, learned, learned_policy, write_video
from vtscot.errors import FrameError, PolicyError, UsageError, VtscotError
from vtscot.frames import Frames, open_frames
from vtscot.grammar import render_turn
from vtscot.policy.batch import decode_turns
from vtscot.policy.cache import Counters
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.rollout import Ask, Rollout, roll
from vtscot.policy.sampling import Sampling
from vtscot.policy.writing import Writer
from vtscot.records import Selection

WARM = Sampling(temperature=1.0, seed=1)
SHORT = 20  # frames of the shorter video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rolling")


@pytest.fixture(scope="module")
def video(folder: Path) -> Frames:
    return write_video(folder / "video")


@pytest.fixture(scope="module")
def short(folder: Path) -> Frames:
    return write_video(folder / "short", frames=SHORT, seed=1)


@pytest.fixture(scope="module")
def learned_pair(folder: Path, video: Frames) -> tuple[Any, PolicyProcessor]:
    return learned_policy(folder / "policy", video)


@pytest.fixture
def policy(learned_pair: tuple[Any, PolicyProcessor]) -> Iterator[Any]:
    policy = learned_pair[0]
    text = policy.config.get_text_config()
    window, attention = text.max_position_embeddings, text._attn_implementation
    yield policy
    text.max_position_embeddings, text._attn_implementation = window, attention


@pytest.fixture(scope="module")
def processor(learned_pair: tuple[Any, PolicyProcessor]) -> PolicyProcessor:
    return learned_pair[1]


def asks(*videos: Frames, expression: str = EXPRESSION) -> list[Ask]:
    return [Ask(f"demo/train/v/{i}", expression, frames) for i, frames in enumerate(videos)]


@torch.no_grad()
def check_equal_to_a_full_forward(
    policy: Any, processor: PolicyProcessor, rollout: Rollout, temperature: float
) -> None:
    """Log-probabilities of all reply tokens and all masks, against one `Policy.forward` over the whole."""
    encoded = rollout.encoded(processor)
    images = [rollout.ask.frames.image(frame) for frame in encoded.seg_frames.tolist()]
    places = torch.cat([torch.arange(start - 1, end - 1) for start, end in encoded.turn_spans])
    out = policy(
        encoded.input_ids[None],
        mm_token_type_ids=encoded.mm_token_type_ids[None],
        pixel_values=encoded.pixel_values,
        image_grid_thw=encoded.image_grid_thw,
        seg_index=torch.stack([torch.zeros_like(encoded.seg_positions), encoded.seg_positions], -1),
        frames=policy.sam_frames(images),
        seg_frame=torch.arange(len(images)),
        logits_index=torch.stack([torch.zeros_like(places), places], -1),
    )
    out.logits[:, list(processor.unsampled_ids)] = -torch.inf
    expected = (out.logits / temperature).log_softmax(-1)
    expected = expected.gather(-1, encoded.input_ids[places + 1][:, None])[:, 0]
    written = torch.cat([turn.logprobs for turn in rollout.turns])
    torch.testing.assert_close(written, expected, atol=1e-4, rtol=1e-4)
    masked = [turn for turn in rollout.turns if turn.mask_logits is not None]
    assert [turn.frame for turn in masked] == encoded.seg_frames.tolist()
    for turn, mask, objects, iou in zip(masked, out.mask_logits, out.object_scores, out.iou_scores, strict=True):
        assert turn.mask_logits is not None
        torch.testing.assert_close(turn.mask_logits, mask, atol=1e-4, rtol=1e-4)
        assert turn.object_score == pytest.approx(float(objects), abs=1e-4)
        assert turn.iou_score == pytest.approx(float(iou), abs=1e-4)


def test_guided_turns_are_closed_by_the_tags_that_opened_them(
    policy: Any, processor: PolicyProcessor, video: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    closers = processor.tokenizer.encode("</RefSeg></select>", add_special_tokens=False)
    barred = Writer._barred

    def worse(writer: Writer) -> Any:
        """As if the policy had not learned how a turn ends."""
        found = barred(writer)
        found[closers[-2]] = -torch.inf
        return found

    (usual,) = roll(policy, processor, asks(video), BUDGET, Sampling(guided=True))
    assert [turn.text for turn in usual.turns] == [render_turn(turn) for turn in learned().turns]
    monkeypatch.setattr(Writer, "_barred", worse)
    (free,) = roll(policy, processor, asks(video), BUDGET)
    assert free.end == "unparsed"
    (guided,) = roll(policy, processor, asks(video), BUDGET, Sampling(guided=True))
    first = guided.turns[0]
    assert first.turn is not None
    assert first.text.endswith(f"[SEG]</RefSeg></{first.turn.action}>")
    assert not first.logprobs[-len(closers) - 1 :].any()  # nothing was left to choose


def test_the_learned_episode_is_rolled_out(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    (rollout,) = roll(policy, processor, asks(video), BUDGET)
    episode = learned()
    assert rollout.end == "answered"
    assert rollout.episode is not None
    assert rollout.episode.turns == episode.turns
    assert rollout.episode.observations == episode.observations
    assert [turn.text for turn in rollout.turns] == [render_turn(turn) for turn in episode.turns]
    assert [turn.frame for turn in rollout.turns] == [o.decoded for o in episode.observations]
    assert all(turn.reply_ids[-1] == processor.message_end_id for turn in rollout.turns)
    assert all(turn.mask_logits is not None and turn.mask_logits.shape == (16, 16) for turn in rollout.turns)
    encoded = rollout.encoded(processor)
    assert decode_turns(encoded.input_ids, processor) == [turn.text for turn in rollout.turns]
    assert encoded.seg_turns.tolist() == [0, 1, 2]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_what_is_cached_equals_a_full_forward_in_a_mixed_batch(
    policy: Any, processor: PolicyProcessor, video: Frames, short: Frames, attention: str
) -> None:
    policy.config.get_text_config()._attn_implementation = attention
    rollouts = list(roll(policy, processor, asks(video, short), BUDGET, WARM, samples=4))
    assert len({len(rollout.turns) for rollout in rollouts}) > 1  # rows leave at different turns
    assert len({len(turn.reply_ids) for rollout in rollouts for turn in rollout.turns}) > 2  # and wait for each other
    assert max(len(rollout.turns) for rollout in rollouts) == 3
    for rollout in rollouts:
        check_equal_to_a_full_forward(policy, processor, rollout, WARM.temperature)


def same(one: Rollout, other: Rollout) -> bool:
    ids = zip(one.turns, other.turns, strict=False)
    return len(one.turns) == len(other.turns) and all(a.reply_ids.equal(b.reply_ids) for a, b in ids)


@pytest.mark.parametrize("sampling", [Sampling(), WARM], ids=["greedy", "sampled"])
def test_rollouts_are_the_same_alone_and_in_any_batch(
    policy: Any, processor: PolicyProcessor, video: Frames, short: Frames, sampling: Sampling
) -> None:
    some, counts = asks(video, short), []
    whole = list(roll(policy, processor, some, BUDGET, sampling, samples=3, batch_size=6))
    assert [(r.ask.query_id, r.sample) for r in whole] == [(a.query_id, s) for a in some for s in range(3)]
    for batch_size in (1, 4):
        counters = Counters()
        other = list(
            roll(policy, processor, some, BUDGET, sampling, samples=3, batch_size=batch_size, counters=counters)
        )
        assert all(same(one, two) and one.end == two.end for one, two in zip(whole, other, strict=True))
        counts.append(counters.prefilled_tokens)
    assert counts[0] == counts[1]  # a query is read once also where its samples are not in one batch
    (alone,) = roll(policy, processor, some[1:2], BUDGET, sampling)
    assert same(alone, whole[3])


def test_samples_differ_and_seeds_repeat_them(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    first, again = (list(roll(policy, processor, asks(video), BUDGET, WARM, samples=4)) for _ in range(2))
    assert all(same(one, two) for one, two in zip(first, again, strict=True))
    assert len({rollout.turns[0].text for rollout in first}) > 1
    other = list(roll(policy, processor, asks(video), BUDGET, WARM.model_copy(update={"seed": 2}), samples=4))
    assert not all(same(one, two) for one, two in zip(first, other, strict=True))


def naive_cost(rollouts: Sequence[Rollout]) -> tuple[int, int, int]:
    """Tokens, images and frames of SAM 2 where everything is read and encoded anew for every episode and turn."""
    tokens = images = frames = 0
    for rollout in rollouts:
        for turn in range(len(rollout.turns)):
            shown, written = rollout.pieces[: turn + 1], rollout.turns[:turn]
            tokens += sum(len(p.input_ids) for p in shown) + sum(len(t.reply_ids) for t in written)
            images += sum(len(p.image_grid_thw) for p in shown)
            frames += 1
    return tokens, images, frames


def test_little_is_read_and_encoded_twice(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    counters = Counters()
    cool = Sampling(temperature=0.3)
    rollouts = list(roll(policy, processor, asks(video), BUDGET, cool, samples=4, counters=counters))
    assert [len(rollout.turns) for rollout in rollouts] == [3] * 4
    tokens, images, frames = naive_cost(rollouts)
    assert tokens >= 4 * counters.prefilled_tokens
    assert images >= 4 * counters.encoded_images
    assert frames >= 4 * counters.sam_frames
    first, *later = rollouts[0].pieces
    read = sum(len(piece.input_ids) + 1 for piece in later)  # and the end of the reply before
    assert counters.prefilled_tokens == len(first.input_ids) + 4 * read
    assert counters.generated_tokens == sum(len(t.reply_ids) for r in rollouts for t in r.turns)
    shown = {(f.index, f.max_pixels) for r in rollouts for t in r.turns for f in t.observation.frames}
    assert counters.encoded_images == len(shown)
    assert counters.sam_frames == len({t.frame for r in rollouts for t in r.turns})
    assert counters.vision_patches == 4 * sum(
        {  # tokens of the distinct images, 4 patches each
            (f.index, f.max_pixels): int(grid.prod()) // 4
            for piece, turn in zip(rollouts[0].pieces, rollouts[0].turns, strict=True)
            for f, grid in zip(turn.observation.frames, piece.image_grid_thw, strict=True)
        }.values()
    )


def test_queries_about_one_video_share_its_features(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    one, two = Counters(), Counters()
    list(roll(policy, processor, asks(video), BUDGET, counters=one))
    list(roll(policy, processor, asks(video, video), BUDGET, batch_size=1, counters=two))
    assert two.prefilled_tokens == 2 * one.prefilled_tokens
    assert (two.encoded_images, two.sam_frames) == (one.encoded_images, one.sam_frames)


def test_the_turn_limit_truncates(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    (rollout,) = roll(policy, processor, asks(video), BUDGET.model_copy(update={"max_turns": 2}))
    assert rollout.end == "truncated"
    assert len(rollout.turns) == 2
    assert rollout.episode is not None
    assert rollout.episode.truncated


def test_a_turn_cut_by_the_token_limit_is_unparsed(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    (rollout,) = roll(policy, processor, asks(video), BUDGET.model_copy(update={"max_new_tokens": 20}))
    (turn,) = rollout.turns
    assert (rollout.end, rollout.episode, turn.turn, turn.mask_logits, turn.object_score) == ("unparsed",) + (None,) * 4
    assert len(turn.reply_ids) == len(turn.logprobs) == 20
    assert turn.error is not None
    assert "the turn is not <think>" in turn.error
    assert len(rollout.encoded(processor).seg_positions) == 0
    check_equal_to_a_full_forward(policy, processor, rollout, 1.0)


def reply_length(processor: PolicyProcessor, until: str) -> int:
    """Tokens of the first learned reply up to and including `until`."""
    text = render_turn(learned().turns[0])
    return len(processor.tokenizer.encode(text[: text.index(until) + len(until)]))


def test_a_reply_cut_right_behind_its_seg_still_has_its_mask(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    budget = BUDGET.model_copy(update={"max_new_tokens": reply_length(processor, "[SEG]")})
    (rollout,) = roll(policy, processor, asks(video), budget)
    assert rollout.end == "unparsed"
    assert rollout.turns[0].text.endswith("[SEG]")
    assert rollout.turns[0].mask_logits is not None
    check_equal_to_a_full_forward(policy, processor, rollout, 1.0)


def test_a_turn_that_lacks_only_its_end_counts(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    budget = BUDGET.model_copy(update={"max_new_tokens": reply_length(processor, "</select>")})
    (rollout,) = roll(policy, processor, asks(video), budget)
    assert processor.message_end_id not in rollout.turns[0].reply_ids
    assert rollout.turns[0].turn == learned().turns[0]
    assert len(rollout.turns) > 1
    check_equal_to_a_full_forward(policy, processor, rollout, 1.0)


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_window_too_short_for_a_turn_ends_the_rollout(
    policy: Any, processor: PolicyProcessor, video: Frames, turn: int
) -> None:
    (whole,) = roll(policy, processor, asks(video), BUDGET)
    written = sum(len(t.reply_ids) for t in whole.turns[:turn])
    before = sum(len(p.input_ids) for p in whole.pieces[: turn + 1]) + written
    policy.config.get_text_config().max_position_embeddings = before
    counters = Counters()
    (rollout,) = roll(policy, processor, asks(video), BUDGET, counters=counters)
    assert (rollout.end, len(rollout.turns), counters.too_long) == ("too-long", turn, 1)
    assert len(rollout.pieces) == turn  # what does not fit was not shown
    if turn:
        assert same(rollout, replaced(whole, turn))
        check_equal_to_a_full_forward(policy, processor, rollout, 1.0)
    else:
        assert rollout.episode is None
        with pytest.raises(PolicyError, match="demo/train/v/0: the prompt does not fit"):
            rollout.encoded(processor)


def replaced(rollout: Rollout, turns: int) -> Rollout:
    return Rollout(rollout.ask, rollout.sample, rollout.turns[:turns], rollout.end, rollout.pieces[:turns])


def test_a_window_that_is_full_in_the_midst_of_a_reply_is_told_from_bad_grammar(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    (whole,) = roll(policy, processor, asks(video), BUDGET)
    policy.config.get_text_config().max_position_embeddings = len(whole.pieces[0].input_ids) + 12
    (rollout,) = roll(policy, processor, asks(video), BUDGET)
    assert rollout.end == "too-long"
    assert len(rollout.turns[0].reply_ids) == 12


def test_a_prompt_that_is_too_long_does_not_hold_up_the_others(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    (whole,) = roll(policy, processor, asks(video), BUDGET)
    policy.config.get_text_config().max_position_embeddings = len(whole.encoded(processor)) + 5
    long = Ask("demo/train/v/9", "the red circle " * 200, video)
    counters = Counters()
    rollouts = list(roll(policy, processor, [*asks(video), long], BUDGET, samples=2, counters=counters))
    assert [rollout.end for rollout in rollouts] == ["answered", "answered", "too-long", "too-long"]
    assert counters.too_long == 2


def test_windows_and_keyframes_are_cut_to_the_video(policy: Any, processor: PolicyProcessor, short: Frames) -> None:
    (rollout,) = roll(policy, processor, asks(short), BUDGET)
    written = [turn.selection for turn in learned().turns]
    cut = [Selection(start=s.start, end=19, keyframe=min(s.keyframe, 19)) for s in written]
    assert rollout.end == "answered"
    assert rollout.episode is not None
    assert [turn.selection for turn in rollout.episode.turns] == cut
    assert [s.end for s in written] == [20, 23, 23]
    assert '"end": 20' in rollout.turns[0].text  # the text stays as it was sampled
    assert all(max(turn.observation.indices) < SHORT for turn in rollout.turns)
    check_equal_to_a_full_forward(policy, processor, rollout, 1.0)


def test_a_video_of_one_frame(policy: Any, processor: PolicyProcessor, folder: Path) -> None:
    (rollout,) = roll(policy, processor, asks(write_video(folder / "one", frames=1)), BUDGET)
    assert {turn.frame for turn in rollout.turns} == {0}
    check_equal_to_a_full_forward(policy, processor, rollout, 1.0)


def test_text_comes_as_it_is_written_in_whole_characters(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    told: list[tuple[str, int, str]] = []
    rollouts = list(
        roll(policy, processor, asks(video), BUDGET, WARM, samples=2, on_text=lambda *new: told.append(new))
    )
    (first, _) = rollouts
    for number, turn in enumerate(first.turns):
        parts = [text for _, t, text in told if t == number]
        assert "".join(parts) == turn.text
        assert len(parts) > len(turn.reply_ids) // 2
    assert {query for query, _, _ in told} == {"demo/train/v/0"}
    assert len(told) <= sum(len(turn.reply_ids) for turn in first.turns)


def test_a_character_of_several_tokens_is_told_whole(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    word = "é"
    assert len(processor.tokenizer.encode(word)) == 2  # the text of turn 1 holds it
    told: list[str] = []
    (rollout,) = roll(policy, processor, asks(video), BUDGET, on_text=lambda query, turn, new: told.append(new))
    assert word in rollout.turns[1].text
    assert any(text.startswith(word) or text.endswith(word) for text in told)
    assert not any("\ufffd" in text for text in told)


def test_the_policy_is_left_as_it_was(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    (plain,) = roll(policy, processor, asks(video), BUDGET)
    policy.train()
    policy.vlm.model.visual.eval()
    modes = [module.training for module in policy.modules()]
    rolling = roll(policy, processor, asks(video, video), BUDGET, batch_size=1)
    rollout = next(rolling)
    assert [module.training for module in policy.modules()] == modes  # also while the next one is waited for
    assert torch.is_grad_enabled()
    rolling.close()
    policy.eval()
    assert same(rollout, plain)
    assert rollout.turns[0].mask_logits is not None
    assert not rollout.turns[0].mask_logits.is_inference()
    assert all(parameter.grad is None for parameter in policy.projector.parameters())


def test_special_tokens_are_never_sampled(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    hot = Sampling(temperature=50.0, seed=3)  # nearly uniform over the vocabulary
    budget = BUDGET.model_copy(update={"max_new_tokens": 300})
    rollouts = list(roll(policy, processor, asks(video), budget, hot, samples=16, batch_size=16))
    ids = torch.cat([turn.reply_ids for rollout in rollouts for turn in rollout.turns])
    assert len(ids) > 3 * len(processor.tokenizer)
    assert not torch.isin(ids, torch.tensor(processor.unsampled_ids)).any()
    assert processor.seg_id in ids
    assert {rollout.end for rollout in rollouts} == {"unparsed"}
    for rollout in rollouts[:3]:
        check_equal_to_a_full_forward(policy, processor, rollout, 50.0)


def broken(folder: Path, frames: int = FRAMES) -> Frames:
    write_video(folder, frames)
    (folder / "00000.png").write_bytes(b"no image")
    return open_frames(folder)


def test_a_video_that_cannot_be_read_names_its_frame(
    policy: Any, processor: PolicyProcessor, tmp_path: Path, video: Frames
) -> None:
    some = asks(video, broken(tmp_path), video)
    with pytest.raises(FrameError, match=r"00000\.png is not a whole"):
        list(roll(policy, processor, some, BUDGET))
    failed: list[tuple[Ask, VtscotError]] = []
    rollouts = list(roll(policy, processor, some, BUDGET, samples=2, on_error=lambda *what: failed.append(what)))
    assert [rollout.ask for rollout in rollouts] == [some[0]] * 2 + [some[2]] * 2
    assert [(ask, type(error)) for ask, error in failed] == [(some[1], FrameError)]


def test_a_frame_that_breaks_later_costs_its_rows_only(
    policy: Any, processor: PolicyProcessor, tmp_path: Path, video: Frames
) -> None:
    cut = write_video(tmp_path)
    (tmp_path / f"{learned().turns[0].selection.keyframe:05d}.png").write_bytes(b"no image")
    failed: list[Ask] = []
    rollouts = list(roll(policy, processor, asks(cut, video), BUDGET, on_error=lambda ask, _: failed.append(ask)))
    assert [(rollout.ask.query_id, rollout.end) for rollout in rollouts] == [("demo/train/v/1", "answered")]
    assert [ask.query_id for ask in failed] == ["demo/train/v/0"]


def test_asks_that_cannot_be_shown(policy: Any, processor: PolicyProcessor, tmp_path: Path, video: Frames) -> None:
    with pytest.raises(PolicyError, match="demo/train/v/0: the video has no frames"):
        list(roll(policy, processor, asks(open_frames(tmp_path)), BUDGET))
    with pytest.raises(PolicyError, match="demo/train/v/0: the expression holds"):
        list(roll(policy, processor, asks(video, expression="the [SEG] cat"), BUDGET))
    with pytest.raises(UsageError, match="0 samples in batches of 8"):
        roll(policy, processor, asks(video), BUDGET, samples=0)


def test_nothing_asked_nothing_rolled(policy: Any, processor: PolicyProcessor) -> None:
    assert list(roll(policy, processor, [], BUDGET)) == []
