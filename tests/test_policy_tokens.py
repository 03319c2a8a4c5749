"""Episodes as tokens: the template's text, labels of all turns, places of [SEG], rollouts, batches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")
pytest.importorskip("transformers", reason="policies need the `train` extra (torch, transformers)")

import unicodedata
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from vtscot.budget import Budget
from vtscot.episode import dialogue, episode_of
from vtscot.errors import PolicyError
from vtscot.frames import open_frames
from vtscot.grammar import clean, parse_turn, render_turn, reserved
from vtscot.policy.batch import collate, decode_turns, distinct_images
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.tokenizer import episode_texts, train_tokenizer
from vtscot.policy.tokens import (
    IGNORED,
    Encoded,
    LengthError,
    Piece,
    assemble,
    check_images,
    count_tokens,
    encode_episode,
    encode_next,
    encode_prompt,
    encode_reply,
    shown_images,
)
from vtscot.records import Episode, Plan, Query, Selection, Step, Thought

QUERY = Query(source="demo", split="train", video="v", exp_id="0", expression="the cat that was first to climb")
BUDGET = Budget(temporal_frames=4, spatial_frames=3, window_frames=2)


def thought(word: str) -> Thought:
    return Thought(temporal=f"{word} t", spatial=f"{word} s", linguistic=f"{word} l", action=f"{word} a")


def step(start: int, end: int, keyframe: int) -> Step:
    return Step(selection=Selection(start=start, end=end, keyframe=keyframe), keyframes=(keyframe,))


def example(*steps: Step, num_frames: int = 60, budget: Budget = BUDGET, query: Query = QUERY) -> Episode:
    plan = Plan(query_id=query.id, num_frames=num_frames, difficulty=0.5, steps=steps)
    return episode_of(query, plan, [thought(f"word {i}") for i in range(len(steps))], budget)


TWO = example(step(0, 30, 10), step(5, 20, 12))
THREE = example(step(0, 30, 10), step(5, 20, 12), step(6, 18, 15))
PROCESSOR = PolicyProcessor(image_processor(8), train_tokenizer(episode_texts([TWO, THREE]), 500))


def images_of(episode: Episode, width: int = 40, height: int = 24) -> list[Image.Image]:
    count = sum(len(observation.frames) for observation in episode.observations)
    return [Image.new("RGB", (width + 3 * i, height), (7 * i % 256, 40, 90)) for i in range(count)]


def encode(episode: Episode, processor: PolicyProcessor = PROCESSOR) -> Encoded:
    return encode_episode(episode, images_of(episode), processor)


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    num_frames = draw(st.integers(1, 40))
    frame = st.integers(0, num_frames - 1)
    windows = [sorted(draw(st.tuples(frame, frame, frame))) for _ in range(draw(st.integers(1, 3)))]
    budget = Budget(
        temporal_frames=draw(st.integers(1, 6)),
        spatial_frames=draw(st.integers(1, 4)),
        window_frames=draw(st.integers(1, 4)),
    )
    return example(*(step(a, c, b) for a, b, c in windows), num_frames=num_frames, budget=budget)


@settings(max_examples=40, deadline=None)
@given(episodes())
def test_labels_are_the_replies_of_all_turns_and_nothing_else(episode: Episode) -> None:
    encoded = encode(episode)
    kept = encoded.labels != IGNORED
    assert kept.sum() == sum(end - start for start, end in encoded.turn_spans)
    for turn, (start, end) in zip(episode.turns, encoded.turn_spans, strict=True):
        assert bool(kept[start:end].all())
        assert PROCESSOR.tokenizer.decode(encoded.labels[start:end]) == render_turn(turn) + "<|im_end|>"
    assert encoded.labels[kept].equal(encoded.input_ids[kept])


def test_an_episode_begins_with_the_system_message_of_its_policy() -> None:
    brief = PolicyProcessor(PROCESSOR.image_processor, PROCESSOR.tokenizer, system="Find it.")
    whole, short = encode(TWO), encode(TWO, brief)
    begins = "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\nFrames spread"
    assert brief.tokenizer.decode(short.input_ids).startswith(begins)
    saved = len(PROCESSOR.tokenizer.encode(PROCESSOR.system)) - len(PROCESSOR.tokenizer.encode("Find it."))
    assert len(whole) - len(short) == saved > 0
    assert short.input_ids[short.turn_spans[0][0] :].equal(whole.input_ids[whole.turn_spans[0][0] :])
    sizes = [image.size for image in images_of(TWO)]
    assert count_tokens(TWO, sizes, brief) == len(short)


@settings(max_examples=40, deadline=None)
@given(episodes())
def test_every_turn_has_one_seg_and_the_frame_it_is_decoded_on(episode: Episode) -> None:
    encoded = encode(episode)
    assert (encoded.input_ids[encoded.seg_positions] == PROCESSOR.seg_id).all()
    assert all(a <= p < b for p, (a, b) in zip(encoded.seg_positions.tolist(), encoded.turn_spans, strict=True))
    assert encoded.seg_frames.tolist() == [observation.decoded for observation in episode.observations]
    assert encoded.seg_turns.tolist() == list(range(len(episode.turns)))


@settings(max_examples=40, deadline=None)
@given(episodes())
def test_turns_come_back_from_the_ids_and_their_number_is_told_before(episode: Episode) -> None:
    encoded = encode(episode)
    assert [parse_turn(text) for text in decode_turns(encoded.input_ids, PROCESSOR)] == list(episode.turns)
    assert count_tokens(episode, [image.size for image in images_of(episode)], PROCESSOR) == len(encoded)
    assert len(encoded.image_grid_thw) == sum(len(observation.frames) for observation in episode.observations)


@settings(max_examples=20, deadline=None)
@given(episodes())
def test_the_tokens_are_those_of_the_chat_template(episode: Episode) -> None:
    encoded, images = encode(episode), iter(images_of(episode))
    messages = [message.model_dump(mode="json", exclude_none=True) for message in dialogue(episode)]
    for part in (part for message in messages for part in message["content"] if part["type"] == "image"):
        part["image"] = next(images)
    whole = PROCESSOR.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    newline = PROCESSOR.tokenizer.encode("\n")  # after the end of the last message, where nothing follows
    assert [*encoded.input_ids.tolist(), *newline] == whole["input_ids"][0].tolist()
    assert [*encoded.mm_token_type_ids.tolist(), 0] == whole["mm_token_type_ids"][0].tolist()
    assert encoded.pixel_values.equal(whole["pixel_values"])
    assert encoded.image_grid_thw.equal(whole["image_grid_thw"])


def rolled_out(episode: Episode) -> Encoded:
    """The episode as a rollout meets it: observation by observation, with replies as ids."""
    images, pieces, replies = images_of(episode), [], []
    for turn, observation in enumerate(episode.observations):
        shown, images = images[: len(observation.frames)], images[len(observation.frames) :]
        about = (observation, episode.expression, episode.num_frames, shown, PROCESSOR, episode.query_id)
        pieces.append(encode_next(turn, *about) if turn else encode_prompt(*about))
        replies.append(encode_reply(episode.turns[turn], PROCESSOR))
    decoded = [observation.decoded for observation in episode.observations]
    return assemble(episode.query_id, pieces, replies, decoded, PROCESSOR)


@settings(max_examples=20, deadline=None)
@given(episodes())
def test_a_rollout_that_writes_the_canonical_turns_is_the_episode(episode: Episode) -> None:
    rollout, whole = rolled_out(episode), encode(episode)
    for name in Encoded.__slots__:
        ours, other = getattr(rollout, name), getattr(whole, name)
        assert ours.equal(other) if isinstance(ours, torch.Tensor) else ours == other, name


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>[]"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(PLAIN, PLAIN.map(clean).filter(lambda text: text and reserved(text) is None))
def test_words_of_any_script_are_tokenised_alike_in_pieces_and_as_a_whole(expression: str, words: str) -> None:
    query = QUERY.model_copy(update={"expression": expression})
    plan = Plan(query_id=query.id, num_frames=9, difficulty=0.5, steps=(step(0, 8, 3), step(2, 5, 3)))
    spoken = Thought(temporal=words, spatial=words, linguistic=words, action=words)
    episode = episode_of(query, plan, [spoken, spoken], BUDGET)
    encoded = encode(episode)
    text = PROCESSOR.apply_chat_template([m.model_dump(exclude_none=True) for m in dialogue(episode)])
    text_ids = [i for i in encoded.input_ids.tolist() if i != PROCESSOR.image_token_id]
    assert PROCESSOR.tokenizer.encode(text.replace("<|image_pad|>", "").removesuffix("\n")) == text_ids
    expected = [unicodedata.normalize("NFC", render_turn(turn)) for turn in episode.turns]
    assert decode_turns(encoded.input_ids, PROCESSOR) == expected


def test_a_video_of_one_frame_shows_it_in_every_observation() -> None:
    episode = example(step(0, 0, 0), step(0, 0, 0), num_frames=1)
    encoded = encode(episode)
    assert encoded.seg_frames.tolist() == [0, 0]
    assert len(encoded.image_grid_thw) == 4


def test_images_are_taken_at_their_budget(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (200, 100), (i, 0, 0)).save(tmp_path / f"{i}.png")
    budget = Budget(temporal_frames=2, spatial_frames=1, temporal_pixels=50 * 25, spatial_pixels=100 * 50)
    observation = example(step(0, 3, 1), num_frames=4, budget=budget).observations[0]
    images = shown_images(open_frames(tmp_path), observation)
    assert [image.size for image in images] == [(50, 25), (50, 25), (100, 50)]
    assert [image.getpixel((0, 0))[0] for image in images] == list(observation.indices)


@pytest.mark.parametrize("change", [-1, 1], ids=["one image less", "one image more"])
def test_images_that_do_not_match_the_frames_name_the_query(change: int) -> None:
    images = images_of(TWO)
    images = images[:change] if change < 0 else [*images, images[0]]
    with pytest.raises(PolicyError, match=f"demo/train/v/0: {10 + change} images for 10 shown frames"):
        encode_episode(TWO, images, PROCESSOR)


def test_a_rollout_shown_too_few_images_names_the_query() -> None:
    observation = TWO.observations[0]
    with pytest.raises(PolicyError, match="q/1: 6 images for 7 places"):
        encode_prompt(observation, TWO.expression, 60, images_of(TWO)[:6], PROCESSOR, "q/1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image_grid_thw", r"\d+ image tokens, \d+ of them marked, for \d+ features"),
        ("pixel_values", r"pixels of \d+ patches for \d+ of the grids"),
        ("mm_token_type_ids", r"\d+ image tokens, \d+ of them marked, for \d+ features"),
        ("input_ids", r"\d+ image tokens, \d+ of them marked, for \d+ features"),
    ],
)
def test_numbers_that_do_not_match_name_the_query(name: str, message: str) -> None:
    encoded = encode(TWO)
    last = encoded.mm_token_type_ids.nonzero().max()  # the last image token
    short = getattr(encoded, name)[: last if name in ("input_ids", "mm_token_type_ids") else -1]
    with pytest.raises(PolicyError, match=f"q/1: {message}"):
        check_images("q/1", replace(encoded, **{name: short}), PROCESSOR)


def test_an_episode_that_does_not_fit_the_window_is_reported_and_one_that_just_fits_is_whole() -> None:
    length = len(encode(THREE))
    with pytest.raises(LengthError, match=f"demo/train/v/0: an episode of {length} tokens does not fit") as caught:
        encode_episode(THREE, images_of(THREE), PROCESSOR, max_tokens=length - 1)
    assert caught.value.tokens == length
    assert len(encode_episode(THREE, images_of(THREE), PROCESSOR, max_tokens=length)) == length


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>", "[SEG]"])
def test_an_expression_cannot_pass_special_tokens(token: str) -> None:
    query = QUERY.model_copy(update={"expression": f"the {token} cat"})
    episode = example(step(0, 30, 10), query=query)
    with pytest.raises(PolicyError, match=r"demo/train/v/0: the expression holds .+ reserves"):
        encode(episode)


def test_a_sliver_of_a_frame_names_the_query() -> None:
    episode = example(step(0, 30, 10))
    with pytest.raises(PolicyError, match="demo/train/v/0: an image of 900x4 px"):
        encode_episode(episode, [Image.new("RGB", (900, 4))] * 7, PROCESSOR)


def pieces_of(episode: Episode) -> list[Piece]:
    observation = episode.observations[0]
    about = (observation, episode.expression, episode.num_frames, images_of(episode), PROCESSOR, episode.query_id)
    return [encode_prompt(*about)]


@pytest.mark.parametrize(("text", "segs"), [("no mask", 0), ("[SEG]", 1), ("[SEG] or [SEG]", 1)])
def test_a_sampled_reply_is_kept_as_it_is_with_its_last_seg(text: str, segs: int) -> None:
    pieces = pieces_of(example(step(0, 30, 10)))
    reply = torch.tensor(PROCESSOR.tokenizer.encode(text))
    encoded = assemble("q", pieces, [reply], [30], PROCESSOR)
    assert encoded.input_ids[-len(reply) :].equal(reply)
    assert encoded.seg_positions.tolist() == [len(encoded) - 1] * segs
    assert encoded.seg_frames.tolist() == [30] * segs
    assert decode_turns(encoded.input_ids, PROCESSOR) == [text]


def test_a_sampled_image_token_is_an_error_that_names_the_query() -> None:
    reply = torch.tensor([PROCESSOR.image_token_id])
    with pytest.raises(PolicyError, match=r"q/7: \d+ image tokens"):
        assemble("q/7", pieces_of(example(step(0, 30, 10))), [reply], [30], PROCESSOR)


def test_a_batch_is_padded_on_the_left_and_nothing_else_changes() -> None:
    encoded = [encode(episode) for episode in (TWO, THREE, example(step(3, 9, 5)))]
    batch = collate(encoded, PROCESSOR.pad_id)
    length = max(map(len, encoded))
    for row, one in enumerate(encoded):
        pad = length - len(one)
        for name, value in (("input_ids", PROCESSOR.pad_id), ("labels", IGNORED), ("mm_token_type_ids", 0)):
            assert batch[name][row, pad:].equal(getattr(one, name))
            assert (batch[name][row, :pad] == value).all()
        assert batch["attention_mask"][row].tolist() == [0] * pad + [1] * len(one)
        assert decode_turns(batch["input_ids"][row], PROCESSOR) == decode_turns(one.input_ids, PROCESSOR)
    rows, positions = batch["seg_index"].T
    assert rows.tolist() == [0, 0, 1, 1, 1, 2]
    assert (batch["input_ids"][rows, positions] == PROCESSOR.seg_id).all()
    assert batch["seg_video_frame"].tolist() == [30, 10, 30, 10, 12, 30]
    assert batch["seg_turn"].tolist() == [0, 1, 0, 1, 2, 0]
    assert batch["pixel_values"].equal(torch.cat([one.pixel_values for one in encoded]))
    assert batch["image_grid_thw"].equal(torch.cat([one.image_grid_thw for one in encoded]))


def test_repeated_images_are_kept_once_and_their_places_remembered() -> None:
    images = images_of(TWO, width=64)
    images[8] = images[0].copy()  # the window shows again what the first observation showed
    turned = [image.transpose(Image.Transpose.ROTATE_90) for image in images]  # the same pixels in other grids
    encoded = [encode_episode(TWO, some, PROCESSOR) for some in (images, turned, images)]
    batch = collate(encoded, PROCESSOR.pad_id)
    once = distinct_images(batch)
    assert once["image_index"].tolist() == [*range(8), 0, 8, *range(9, 17), 9, 17, *range(8), 0, 8]
    assert once["image_grid_thw"][once["image_index"]].equal(batch["image_grid_thw"])
    split = once["pixel_values"].split(once["image_grid_thw"].prod(-1).tolist())
    assert torch.cat([split[i] for i in once["image_index"]]).equal(batch["pixel_values"])
    assert once["input_ids"] is batch["input_ids"]


def tiny_model() -> torch.nn.Module:
    from transformers import Qwen3VLConfig, Qwen3VLModel

    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(PROCESSOR.tokenizer), "pad_token_id": 0}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}}
    text["rope_parameters"]["mrope_interleaved"] = True
    vision = {"hidden_size": 16, "intermediate_size": 16, "depth": 1, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    ids = [PROCESSOR.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "vision_start")]
    torch.manual_seed(0)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, image_token_id=ids[0], vision_start_token_id=ids[1])
    return Qwen3VLModel(config).eval()


@torch.no_grad()
def test_a_real_model_reads_the_batch_and_padding_does_not_move_the_hidden_states_at_seg() -> None:
    model, encoded = tiny_model(), [encode(TWO), encode(example(step(3, 9, 5)))]
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")

    def at_seg(some: list[Encoded]) -> torch.Tensor:
        batch = collate(some, PROCESSOR.pad_id)
        states = model(**{name: batch[name] for name in names}).last_hidden_state
        return states[tuple(batch["seg_index"].T)]

    together, alone = at_seg(encoded), torch.cat([at_seg([one]) for one in encoded])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)
