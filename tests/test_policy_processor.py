"""A policy's tokenizer and processor: special tokens, template, sizes of images, the files they are kept in."""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")
pytest.importorskip("transformers", reason="policies need the `train` extra (torch, transformers)")

from PIL import Image

from vtscot.episode import system_text
from vtscot.errors import PolicyError
from vtscot.frames import MAX_PIXELS
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.tokenizer import MESSAGE_END, QWEN_SPECIALS, train_tokenizer

TEXTS = [
    "You find the object that an expression means in a video and segment it.",
    "<think>Step 1: Temporal Dynamics. The red disk enters at frame 12.</think><RefSeg>[SEG]</RefSeg><|im_end|>",
    'The video has 32 frames, numbered 0 to 31. Expression: "the blue square". Find what it means.',
    "Frames spread over the whole video, low resolution:\nFrame 0: Frame 5: ",
]
TOKENIZER = train_tokenizer(TEXTS, 400)


def processor(patch_size: int = 16) -> PolicyProcessor:
    return PolicyProcessor(image_processor(patch_size), train_tokenizer(TEXTS, 400))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_order_of_the_texts_does_not_change_the_tokenizer(tmp_path: Path) -> None:
    train_tokenizer(TEXTS, 400).save_pretrained(tmp_path / "a")
    train_tokenizer(reversed(TEXTS), 400).save_pretrained(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("token", [*QWEN_SPECIALS, "[SEG]", "<think>", "</think>"])
def test_a_special_token_is_one_id_inside_other_text(token: str) -> None:
    ids = TOKENIZER.encode(f"a{token}b")
    assert ids.count(TOKENIZER.convert_tokens_to_ids(token)) == 1
    assert len(ids) == 3


def test_the_vocabulary_is_filled_up_to_its_size_and_merges_are_learned() -> None:
    assert len(TOKENIZER) == 400
    assert len(train_tokenizer(TEXTS, 300).encode(TEXTS[0])) > len(TOKENIZER.encode(TEXTS[0])) < len(TEXTS[0]) // 2


def test_numbers_are_one_token_each_and_larger_ones_survive() -> None:
    tokenizer = train_tokenizer(TEXTS, 400, numbers=32)
    assert len(tokenizer) == 400
    text = 'Frame 7: Frame 31: Frame 32: 110, {"start": 0, "end": 3105}, 12 and12'
    assert tokenizer.decode(tokenizer.encode(text)) == text
    once = {tokenizer.convert_tokens_to_ids(f" {number}") for number in range(32)}
    assert len(once) == 32 and all(tokenizer.encode(f"a {number}.")[1] in once for number in range(32))
    with pytest.raises(PolicyError, match="needs 305"):
        train_tokenizer(TEXTS, 304, numbers=32)


def test_texts_without_merges_leave_the_vocabulary_smaller() -> None:
    assert len(train_tokenizer(["ab"], 500)) == 256 + len(QWEN_SPECIALS) + 3 + 1


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(PolicyError, match="vocabulary of 272 is too small: it needs 273"):
        train_tokenizer(TEXTS, 272)
    assert len(train_tokenizer(TEXTS, 273)) == 273


@given(st.text(max_size=60))
def test_any_text_survives_the_tokenizer_in_its_composed_form(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == unicodedata.normalize("NFC", text)


def test_seg_and_the_tags_of_thought_outlive_the_removal_of_special_tokens_as_they_should() -> None:
    ids = TOKENIZER.encode(f"<think>a</think>[SEG]{MESSAGE_END}")
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "<think>a</think>"


def test_a_processor_comes_back_from_its_folder(tmp_path: Path) -> None:
    first = processor(patch_size=8)
    first.save_pretrained(tmp_path)
    again = PolicyProcessor.from_pretrained(tmp_path)
    image = Image.radial_gradient("L").resize((50, 40)).convert("RGB")
    assert again.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert again.tokenizer.encode(TEXTS[1]) == first.tokenizer.encode(TEXTS[1])
    assert (again.seg_id, again.pad_id, again.message_end_id) == (first.seg_id, first.pad_id, first.message_end_id)
    assert (again.token_side, again.tokenizer.padding_side, again.chat_template) == (16, "left", first.chat_template)
    pixels = [p.image_processor(images=[image], return_tensors="pt")["pixel_values"] for p in (first, again)]
    assert pixels[0].equal(pixels[1])
    again.save_pretrained(tmp_path / "b")
    first.save_pretrained(tmp_path / "a")
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    assert {name for name in a | b if a[name] != b[name]} <= {"tokenizer_config.json"}  # notes that it was loaded


def write_vlm(folder: Path) -> int:
    """The processor's files as a Qwen3-VL checkpoint has them; returns the number of tokens."""
    from transformers import Qwen2Tokenizer

    vocab = {token: i for token, i in TOKENIZER.get_vocab().items() if i < 256}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], eos_token=MESSAGE_END, unk_token=None)
    tokenizer.add_tokens(list(QWEN_SPECIALS), special_tokens=True)
    tokenizer.chat_template = "{{ 'thoughts of earlier turns are removed' }}"
    tokenizer.save_pretrained(folder)
    shape = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.1, 0.2, 0.3]}
    limits = {"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "image_std": [0.5, 0.5, 0.5]}
    named = {"processor_class": "Qwen3VLProcessor", "image_processor_type": "Qwen2VLImageProcessorFast"}
    (folder / "preprocessor_config.json").write_text(json.dumps(shape | limits | named))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
    return len(tokenizer)


def test_a_checkpoint_without_seg_is_refused_and_made_into_a_policy(tmp_path: Path) -> None:
    size = write_vlm(tmp_path)
    with pytest.raises(PolicyError, match=rf"{tmp_path} has no \[SEG\] token.*vtscot init-policy"):
        PolicyProcessor.from_pretrained(tmp_path)
    made = PolicyProcessor.from_vlm(tmp_path)
    assert (made.seg_id, len(made.tokenizer)) == (size, size + 1)
    assert (made.token_side, list(made.image_processor.image_mean)) == (28, [0.1, 0.2, 0.3])
    assert made.image_tokens(56, 28) == 2  # the checkpoint's own limits would enlarge it
    made.save_pretrained(tmp_path / "policy")
    assert PolicyProcessor.from_pretrained(tmp_path / "policy").seg_id == size


def test_a_tokenizer_of_another_family_is_refused() -> None:
    from transformers import Qwen2Tokenizer

    with pytest.raises(PolicyError, match="it must be Qwen's"):
        PolicyProcessor(image_processor(), Qwen2Tokenizer())


def saved_system(folder: Path, system: object) -> Path:
    """A processor's folder whose system message was replaced; with None it has none, as those from before."""
    processor().save_pretrained(folder)
    file = folder / "processor_config.json"
    kept = {key: value for key, value in json.loads(file.read_text()).items() if key != "system"}
    file.write_text(json.dumps(kept if system is None else kept | {"system": system}))
    return folder


def test_a_policy_keeps_the_system_message_that_it_was_trained_with(tmp_path: Path) -> None:
    assert processor().system == system_text()
    own = PolicyProcessor(image_processor(), train_tokenizer(TEXTS, 400), system="Find it.")
    own.save_pretrained(tmp_path / "own")
    assert PolicyProcessor.from_pretrained(tmp_path / "own").system == "Find it."
    assert PolicyProcessor.from_pretrained(saved_system(tmp_path / "before", None)).system == system_text()
    assert PolicyProcessor.from_pretrained(saved_system(tmp_path / "empty", "")).system == ""


@pytest.mark.parametrize("system", [7, ["Find it."], "a <|image_pad|> b", "Find it.<|im_end|>"])
def test_a_system_message_that_would_break_the_dialogue_is_refused(tmp_path: Path, system: object) -> None:
    with pytest.raises(PolicyError, match=f"{tmp_path}: the system message of a policy"):
        PolicyProcessor.from_pretrained(saved_system(tmp_path, system))


@pytest.mark.parametrize("spoil", ["no folder", "empty", "no tokenizer"])
def test_a_folder_that_is_no_policy_is_named(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "p"
    if spoil != "no folder":
        folder.mkdir()
    if spoil == "no tokenizer":
        image_processor().save_pretrained(folder)
    with pytest.raises(PolicyError, match=f"{folder} holds no processor"):
        PolicyProcessor.from_pretrained(folder, local_files_only=True)


def test_a_folder_with_another_chat_template_is_refused(tmp_path: Path) -> None:
    processor().save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(PolicyError, match=f"{tmp_path} has another chat template"):
        PolicyProcessor.from_pretrained(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 400), st.integers(3, 400), st.sampled_from([8, 14, 16]))
def test_an_image_is_only_rounded_to_whole_tokens(width: int, height: int, patch: int) -> None:
    made, side = image_processor(patch), 2 * patch
    _, rows, columns = made(images=[Image.new("RGB", (width, height))])["image_grid_thw"][0].tolist()
    if min(width, height) > side // 2:
        assert (columns * patch, rows * patch) == (round(width / side) * side, round(height / side) * side)
    else:  # a side that would round to nothing: one row or column of tokens is what it gets
        assert min(columns, rows) == 2
        assert max(columns, rows) // 2 <= max(1, round(max(width, height) / min(width, height)) + 1)


def test_the_largest_frame_keeps_its_size() -> None:
    made = processor()
    side = int(MAX_PIXELS**0.5)
    assert made.image_tokens(side, side) == (side // 32) ** 2


@pytest.mark.parametrize("size", [(64, 48), (33, 70), (5, 9), (500, 20)])
def test_tokens_of_an_image_are_told_without_its_pixels(size: tuple[int, int]) -> None:
    made = processor()
    grid = made.image_processor(images=[Image.new("RGB", size)])["image_grid_thw"][0]
    assert made.image_tokens(*size) == made.tokens_of(grid) > 0


def test_a_sliver_is_refused() -> None:
    with pytest.raises(PolicyError, match="402x2 px is too long and thin"):
        processor().image_tokens(402, 2)


def test_a_rollout_may_sample_seg_and_the_end_but_no_other_special_token() -> None:
    made = processor()
    allowed = {made.seg_id, made.message_end_id}
    special = {made.tokenizer.convert_tokens_to_ids(token) for token in (*QWEN_SPECIALS, "[SEG]")}
    assert special - set(made.unsampled_ids) == allowed
    assert set(made.unsampled_ids) < special


def test_the_template_renders_what_qwen3_vl_renders() -> None:
    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl, which ships Qwen3-VL's chat template, is not installed")
    original = Path(spec.submodule_search_locations[0], "chat_templates", "qwen3_vl.jinja").read_text(encoding="utf-8")
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.\n"}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": " a "}, {"type": "image"}, {"type": "text", "text": "\n"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "<think>x</think> [SEG]"}]},
        {"role": "user", "content": "plain"},
    ]
    made = processor()
    for prompt in (False, True):
        ours = made.apply_chat_template(messages, add_generation_prompt=prompt)
        assert ours == made.apply_chat_template(messages, chat_template=original, add_generation_prompt=prompt)
