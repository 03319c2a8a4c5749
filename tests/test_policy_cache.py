"""The context of a batch: rows that read and wait together have the hidden states of a forward pass over each alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")
pytest.importorskip("transformers", reason="policies need the `train` extra (torch, transformers)")

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.rolling import BUDGET, learned, write_video
from vtscot.frames import Frames
from vtscot.policy.cache import ROOM, Context, Counters, ImageFeatures, RoomyLayer, Slice
from vtscot.policy.features import FeatureStore
from vtscot.policy.init import join
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.settings import TinySettings
from vtscot.policy.sharing import common_start, read_prompts
from vtscot.policy.tiny import tiny_sam, tiny_vlm
from vtscot.policy.tokenizer import VISION_START, episode_texts, train_tokenizer
from vtscot.policy.tokens import Piece, encode_next, encode_prompt, encode_reply

SIZES = TinySettings(sam_size=64, patch=8)
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


def tiny_qwen25(processor: PolicyProcessor) -> Any:
    ids = processor.tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    text = {"vocab_size": len(processor.tokenizer), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rope_parameters": rope, "pad_token_id": 0}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 64, "window_size": 32, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        vision_start_token_id=ids(VISION_START),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


@pytest.fixture(scope="module")
def processor() -> PolicyProcessor:
    return PolicyProcessor(image_processor(8), train_tokenizer(episode_texts([learned()]), 1200))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return write_video(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module", params=["qwen3_vl", "qwen2_5_vl"])
def policy(request: pytest.FixtureRequest, processor: PolicyProcessor) -> Any:
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vlm = tiny_vlm(SIZES, processor) if request.param == "qwen3_vl" else tiny_qwen25(processor)
        sam = tiny_sam(SIZES)
    for parameter in vlm.parameters():  # far from the small initial weights, so that mistakes show
        parameter.data *= 2
    return join(vlm.eval(), sam.eval(), processor.seg_id)


@pytest.fixture(params=["sdpa", "eager"])
def attention(request: pytest.FixtureRequest, policy: Any) -> Iterator[str]:
    text = policy.config.get_text_config()
    text._attn_implementation = request.param
    yield request.param
    text._attn_implementation = "sdpa"


class Reader:
    """Rows that read pieces and tokens; remembers what each has read, to read it again at once."""

    def __init__(self, policy: Any, processor: PolicyProcessor, video: Frames, rows: int) -> None:
        self.policy, self.processor, self.video = policy, processor, video
        self.store = FeatureStore(policy, processor, Counters())
        self.context = Context(policy, processor.pad_id, rows, Counters())
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.pieces: list[list[Piece]] = [[] for _ in range(rows)]

    def read(self, turns: list[int], unread: list[int], word: str = "") -> torch.Tensor:
        """Row r reads the observation of turn `turns[r]` of the learned episode, behind `unread[r]` other tokens."""
        slices = []
        for row, (turn, count) in enumerate(zip(turns, unread, strict=True)):
            observation = learned().observations[turn]
            shown = self.store.show(self.video, observation, "q")
            about = (observation, f"it {word * row}", 24, shown.patches, self.processor, "q")
            piece = encode_next(turn, *about) if turn else encode_prompt(*about)
            ids = torch.cat([torch.full((count,), 300), piece.input_ids])
            types = torch.cat([torch.zeros(count, dtype=torch.int64), piece.mm_token_type_ids])
            slices.append(Slice(ids, types, piece.image_grid_thw, self.store.images([shown])[0]))
            self.ids[row] += ids.tolist()
            self.pieces[row].append(piece)
        return self.context.extend(slices)

    def step(self, tokens: list[int], reads: list[bool]) -> torch.Tensor:
        for row, (token, active) in enumerate(zip(tokens, reads, strict=True)):
            self.ids[row] += [token] * active
        return self.context.step(torch.tensor(tokens), reads)

    def again(self, row: int) -> torch.Tensor:
        """The last hidden state of a forward pass over all that a row has read."""
        ids = torch.tensor(self.ids[row])[None]
        hidden = self.policy.vlm.model(
            input_ids=ids,
            mm_token_type_ids=(ids == self.processor.image_token_id).long(),
            pixel_values=torch.cat([piece.pixel_values for piece in self.pieces[row]]),
            image_grid_thw=torch.cat([piece.image_grid_thw for piece in self.pieces[row]]),
        )[0]
        return hidden[0, -1]

    def keep(self, rows: list[int]) -> None:
        self.context.select(rows)
        self.ids, self.pieces = [self.ids[r] for r in rows], [self.pieces[r] for r in rows]

    def check(self, hidden: torch.Tensor, rows: list[int]) -> None:
        for row in rows:
            torch.testing.assert_close(hidden[row], self.again(row), **TOLERANCE)


@pytest.mark.usefixtures("attention")
def test_rows_that_read_and_wait_together_equal_each_alone(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    reply = encode_reply(learned().turns[0], processor).tolist()[:14]
    with torch.no_grad():
        reader = Reader(policy, processor, video, 3)
        reader.check(reader.read([0, 0, 0], [0, 0, 0], "red "), [0, 1, 2])  # prompts of three lengths
        for i, token in enumerate(reply):  # row 1 is done early, row 0 somewhat later
            reads = [i < 9, i < 4, True]
            hidden = reader.step([token, token + 1, token + 2], reads)
            reader.check(hidden, [row for row in range(3) if reads[row] and i in (0, 3, 4, 8, 13)])
        reader.check(reader.read([1, 2, 1], [1, 0, 1]), [0, 1, 2])
        reader.check(reader.step([40, 41, 42], [True] * 3), [0, 1, 2])
        reader.keep([0, 2])
        reader.check(reader.read([2, 2], [1, 1]), [0, 1])
        reader.check(reader.step([50, 51], [False, True]), [1])
        assert reader.context.position.tolist()[0] < len(reader.ids[0])  # an image has fewer positions than tokens


@pytest.mark.usefixtures("attention")
def test_one_row_needs_no_mask_and_equals_the_whole(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    with torch.no_grad():
        reader = Reader(policy, processor, video, 1)
        reader.check(reader.read([0], [0]), [0])
        for token in range(30, 36):
            hidden = reader.step([token], [True])
        reader.check(hidden, [0])
        reader.check(reader.read([1], [1]), [0])
        assert reader.context.full


def test_a_repeated_context_leaves_the_first_as_it_was(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    with torch.no_grad():
        reader = Reader(policy, processor, video, 2)
        reader.read([0, 0], [0, 0], "blue ")
        wide = reader.context.repeat(2)
        assert (len(wide), len(reader.context)) == (4, 2)
        four = wide.step(torch.tensor([31, 32, 33, 34]), [True] * 4)
        again = reader.context.repeat(1).step(torch.tensor([31, 33]), [True] * 2)
        torch.testing.assert_close(four[[0, 2]], again, **TOLERANCE)
        assert not torch.allclose(four[0], four[1], atol=1e-2)
        reader.check(reader.step([32, 34], [True, True]), [0, 1])
        reader.check(four[[1, 3]], [0, 1])


def test_counts_are_those_of_tokens_without_padding(policy: Any, processor: PolicyProcessor, video: Frames) -> None:
    with torch.no_grad():
        reader = Reader(policy, processor, video, 3)
        reader.read([0, 0, 0], [0, 2, 0], "red ")
    assert reader.context.counters.prefilled_tokens == sum(map(len, reader.ids))
    assert int(reader.context.keep.sum()) == sum(map(len, reader.ids))
    assert len({len(ids) for ids in reader.ids}) == 3


def test_room_grows_and_holds_what_was_written() -> None:
    layer, parts = RoomyLayer(), torch.randn(ROOM + 40, 2, 3, 1, 8, generator=torch.Generator().manual_seed(0))
    moves = set()
    for i, part in enumerate(parts):
        keys, values = layer.update(part, -part)
        assert layer.room is not None
        moves.add(layer.room.data_ptr())
        assert keys.shape == (2, 3, i + 1, 8)
    assert len(moves) == 2  # not at every token
    assert keys.equal(torch.cat(list(parts), dim=-2))
    assert values.equal(-keys)
    layer.batch_select_indices(torch.tensor([1]))
    assert layer.update(parts[0][1:], parts[0][1:])[0].equal(torch.cat([keys[1:], parts[0][1:]], dim=-2))


def test_features_are_the_same_from_memory_that_is_too_small(
    policy: Any, processor: PolicyProcessor, video: Frames
) -> None:
    one, two = Counters(), Counters()
    small, large = FeatureStore(policy, processor, one, kept_bytes=1), FeatureStore(policy, processor, two)
    observation, hidden = learned().observations[0], torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    places = [(video, 3), (video, 7), (video, 3)]
    with torch.no_grad():
        for _ in range(2):
            for a, b in zip(*(s.images([s.show(video, observation, "q")])[0] for s in (small, large)), strict=True):
                torch.testing.assert_close(a.pooled, b.pooled)
                assert len(a.deep) == len(b.deep)
            torch.testing.assert_close(small.masks(places, hidden).logits, large.masks(places, hidden).logits)
    images = BUDGET.temporal_frames + BUDGET.spatial_frames
    distinct = len({(f.index, f.max_pixels) for f in observation.frames})
    assert (two.encoded_images, two.sam_frames) == (distinct, 2)
    assert (one.encoded_images, one.sam_frames) == (2 * distinct, 4)
    assert distinct < images  # spatial frames of the size of temporal ones are the same images


def prompts(reader: Reader, frames: list[Frames], expressions: list[str]) -> list[Slice]:
    slices = []
    for video, expression in zip(frames, expressions, strict=True):
        observation = learned().observations[0]
        shown = reader.store.show(video, observation, "q")
        piece = encode_prompt(observation, expression, 24, shown.patches, reader.processor, "q")
        reader.pieces[len(slices)].append(piece)
        reader.ids[len(slices)] += piece.input_ids.tolist()
        images = reader.store.images([shown])[0]
        slices.append(Slice(piece.input_ids, piece.mm_token_type_ids, piece.image_grid_thw, images))
    return slices


@pytest.mark.parametrize("alike", [True, False], ids=["one video", "two videos"])
@pytest.mark.usefixtures("attention")
def test_what_prompts_begin_with_alike_is_read_once(
    policy: Any, processor: PolicyProcessor, video: Frames, tmp_path: Path, alike: bool
) -> None:
    other = video if alike else write_video(tmp_path, seed=3)
    with torch.no_grad():
        reader = Reader(policy, processor, video, 3)
        slices = prompts(reader, [video, video, other], ["a red circle", "a red ring that leaves", "it"])
        count = common_start(slices)
        counters = Counters()
        reader.context, hidden = read_prompts(Context(policy, processor.pad_id, 1, counters), slices)
        reader.check(hidden, [0, 1, 2])
        reader.check(reader.step([40, 41, 42], [True, False, True]), [0, 2])
    total = sum(len(part.input_ids) for part in slices)
    assert counters.prefilled_tokens == total - 2 * count
    images = slices[0].mm_token_type_ids.nonzero().flatten()
    assert count > int(images[-1]) if alike else 100 < count <= int(images[0])


def test_what_is_alike_ends_between_images_and_before_the_end_of_a_prompt() -> None:
    image, other = (ImageFeatures(torch.zeros(2, 4), ()) for _ in range(2))
    ids, types = torch.tensor([5, 6, 9, 9, 7, 9, 9, 8]), torch.tensor([0, 0, 1, 1, 0, 1, 1, 0])
    grids = torch.tensor([[1, 2, 4], [1, 2, 4]])

    def part(ids: torch.Tensor, *images: ImageFeatures) -> Slice:
        return Slice(ids, types[: len(ids)], grids[: len(images)], images)

    whole = part(ids, image, image)
    assert common_start([whole, whole]) == 7
    assert common_start([whole, part(ids, image, other)]) == 5
    assert common_start([whole, part(ids, other, image)]) == 2
    assert common_start([whole, part(ids[:4], image)]) == 2  # a whole prompt leaves nothing to read
    assert common_start([whole, part(ids + 1, image, image)]) == 0
    assert common_start([whole, part(torch.cat([ids[:6], ids[6:] + 1]), image, image)]) == 5
