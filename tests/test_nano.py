"""nano: the shipped weights, what a step of its training shows and asks, and that it is packed as the policy reads."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

import torch
from PIL import Image

from tests.nano import SHORT, SIZES
from vtscot.budget import PRESETS
from vtscot.grammar import TITLES
from vtscot.policy.init import join
from vtscot.policy.load import NANO_FOLDER, load_policy
from vtscot.policy.pixels import sam_frame
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tiny import tiny_sam, tiny_vlm
from vtscot.sft.nano.batch import Batch, collate, patches
from vtscot.sft.nano.fragments import draw_fragments, draw_said
from vtscot.sft.nano.model import Warmup
from vtscot.sft.nano.prompts import sam_pixels
from vtscot.sft.nano.queries import KINDS, draw
from vtscot.sft.nano.reading import passages
from vtscot.sft.nano.tasks import Answer, Example, Tasks
from vtscot.sft.nano.train import make_worlds
from vtscot.sft.nano.wording import lead
from vtscot.sft.nano.world import Clip

BIG = 4_000_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return make_worlds(SHORT, tmp_path_factory.mktemp("nano") / "worlds", lambda _: None)


@pytest.fixture(scope="module")
def processor() -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(NANO_FOLDER)


@pytest.fixture(scope="module")
def warm(processor: PolicyProcessor) -> Warmup:
    torch.manual_seed(0)
    return Warmup(join(tiny_vlm(SIZES, processor), tiny_sam(SIZES), processor.seg_id))


def examples(clips: list[Clip], processor: PolicyProcessor, *, look: bool) -> list[Example]:
    rng = np.random.default_rng(0)
    tasks = Tasks(processor, PRESETS["tiny"])
    return [tasks.example(clip, rng, draw(clip, rng, 3, KINDS), look) for clip in clips[:2]]


def test_the_shipped_policy_loads_small_and_with_its_budget() -> None:
    policy, processor = load_policy("nano")
    assert sum(file.stat().st_size for file in NANO_FOLDER.iterdir()) <= BIG
    assert policy.dtype == torch.float32
    assert policy.config.budget == PRESETS["tiny"].model_dump(mode="json")
    assert len(processor.tokenizer) == policy.config.vlm_config.text_config.vocab_size


def test_the_weights_are_installed_with_the_package() -> None:
    told = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
    patterns = told["tool"]["setuptools"]["package-data"]["vtscot"]
    installed = {file for pattern in patterns for file in NANO_FOLDER.parent.glob(pattern)}
    assert set(NANO_FOLDER.iterdir()) <= installed


@pytest.mark.parametrize("look", [False, True])
def test_packed_states_are_those_of_the_policy(
    clips: list[Clip], processor: PolicyProcessor, warm: Warmup, look: bool
) -> None:
    shown = examples(clips, processor, look=look)
    batch = collate(shown, processor, system=not look)
    with torch.no_grad():
        outcome, _ = warm.outcome(batch)
        for row, video in enumerate(batch.parent.tolist()):
            alone = _alone(warm, processor, shown[video], row - 3 * video)
            assert torch.allclose(outcome.hidden[-1][row, : len(alone)], alone, atol=1e-4)


def _alone(warm: Warmup, processor: PolicyProcessor, example: Example, number: int) -> torch.Tensor:
    answer = example.answers[number]
    ids = torch.tensor([example.system + example.head + answer.ids])
    images = processor.image_processor(images=[Image.fromarray(i) for i in example.images], return_tensors="pt")
    hidden: torch.Tensor = warm.policy.vlm.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == processor.image_token_id).long(),
        pixel_values=images["pixel_values"],
        image_grid_thw=images["image_grid_thw"],
        use_cache=False,
    )[0][0]
    return hidden[-len(answer.ids) :]


def test_pixels_are_those_of_the_processor_and_of_sam(clips: list[Clip], processor: PolicyProcessor) -> None:
    image = clips[0].array("strip")[3]
    shown = processor.image_processor(images=[Image.fromarray(image)], return_tensors="pt")["pixel_values"]
    assert torch.allclose(patches([image], 8), shown, atol=1e-5)
    square = clips[0].array("sam")[1]
    assert torch.allclose(sam_pixels([square])[0], sam_frame(Image.fromarray(square), 128), atol=1e-5)


def test_replies_say_what_is_true_and_looks_point_at_the_target(clips: list[Clip], processor: PolicyProcessor) -> None:
    for example in examples(clips, processor, look=False):
        seen = example.clip.array("seen")
        for answer in example.answers:
            text = processor.tokenizer.decode(answer.ids)
            targets = list(answer.query.targets)
            for frame in example.frames[:-1]:
                there = bool(targets) and bool((seen[targets, frame] > 0).any())
                assert f" {frame} {'yes' if there else 'no'}" in text
            assert answer.text in text
            assert text.count("[SEG]") == 1


def test_attention_is_told_to_look_at_the_target_or_the_image_end(
    clips: list[Clip], processor: PolicyProcessor
) -> None:
    shown = examples(clips, processor, look=False)
    batch: Batch = collate(shown, processor, system=False)
    end = processor.tokenizer.convert_tokens_to_ids("<|vision_end|>")
    answers = [(v, answer) for v, example in enumerate(shown) for answer in example.answers]
    looks = [(v, answer, image) for v, answer in answers for _, image in answer.looks]
    for (video, answer, image), mark in zip(looks, batch.look_at, strict=True):
        at = batch.heads[video][mark].tolist()
        wanted = processor.image_token_id if answer.cells[image].any() else end
        assert at == [wanted] * max(1, int(answer.cells[image].sum()))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_text_between_the_parts_of_a_reply_moves_what_is_decided(
    clips: list[Clip], processor: PolicyProcessor, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Chance words (share 0) are not learned, fragments of markup (share 1) but for where they begin."""
    monkeypatch.setattr("vtscot.sft.nano.tasks.FRAGMENTS", share)
    monkeypatch.setattr("vtscot.sft.nano.tasks.MISPLACED", 0.0)
    tasks = Tasks(processor, PRESETS["tiny"])
    moved = 0
    for number in range(6):
        queries = draw(clips[0], np.random.default_rng(number), 3, KINDS)
        plain = tasks.example(clips[0], np.random.default_rng(number), queries, look=False)
        mixed = tasks.example(clips[0], np.random.default_rng(number), queries, look=False, interrupted=True)
        for one, other in zip(plain.answers, mixed.answers, strict=True):
            assert other.ids[other.seg] == processor.seg_id
            assert _decided(other, processor) == _decided(one, processor)
            assert [other.ids[at] for at, _ in other.looks] == [one.ids[at] for at, _ in one.looks]
            more = len(other.ids) - len(one.ids)
            learned = sum(weight > 0 for weight in other.weights) - sum(weight > 0 for weight in one.weights)
            assert learned <= share * more
            moved += more > 0
    assert 5 <= moved <= 18


def test_a_misled_reply_says_what_is_seen_and_the_window_of_the_table_it_reads(
    clips: list[Clip], processor: PolicyProcessor
) -> None:
    tasks, differ = Tasks(processor, PRESETS["tiny"]), 0
    for number in range(6):
        rng = np.random.default_rng(number)
        example = tasks.example(clips[0], rng, draw(clips[0], rng, 3, KINDS), look=False, misled=1.0)
        for answer in example.answers:
            decided = [at for at, name in enumerate(answer.names) if name == "seen"]
            said, read = (
                [processor.tokenizer.decode([ids[at]]) == " yes" for at in decided] for ids in (answer.ids, answer.read)
            )
            assert said == answer.seen
            shown = [frame for frame, there in zip(example.frames, read, strict=False) if there]
            text = processor.tokenizer.decode(answer.ids)
            assert (f"from {shown[0]} to {shown[-1]}." if shown else "It is in none.") in text.replace(
                "They are", "It is"
            )
            differ += said != read
    assert differ > 9


def test_a_look_says_the_window_again_that_an_earlier_reply_told(clips: list[Clip], processor: PolicyProcessor) -> None:
    tasks, told, other = Tasks(processor, PRESETS["tiny"]), 0, 0
    for number in range(12):
        rng = np.random.default_rng(number)
        example = tasks.example(clips[0], rng, draw(clips[0], rng, 3, KINDS), look=True, interrupted=True)
        earlier = re.search(r"there from (\d+) to (\d+)\.", processor.tokenizer.decode(example.head))
        for answer in example.answers:
            numbers = [
                processor.tokenizer.decode([token]).strip()
                for token, name in zip(answer.ids, answer.names, strict=True)
                if name == "window"
            ]
            shown = [str(frame) for frame, there in zip(example.frames, answer.seen, strict=False) if there]
            if earlier:
                assert numbers == ["there", *earlier.groups()]
                told, other = told + 1, other + (not shown or earlier.groups() != (shown[0], shown[-1]))
            else:
                assert numbers == (["there", shown[0], shown[-1]] if shown else ["none"])
    assert told > 20 and other > 10


def test_a_table_is_led_by_a_colour_only_if_the_expression_names_one_that_a_target_wears() -> None:
    assert lead("the red ring", [{"red"}]) == "The red target:"
    assert lead("the ring that is not red", [{"blue"}]) == "The target:"
    assert lead("the two rings", [{"red"}, {"blue"}]) == "The targets:"
    assert lead("the red ring", []) == "The red target:"


def test_numbers_of_a_passage_that_are_learned_have_been_read_in_a_list_before(processor: PolicyProcessor) -> None:
    tasks = Tasks(processor, PRESETS["tiny"])
    ids, keep, learned = passages(np.random.default_rng(0), tasks, 40)
    assert ids.shape == keep.shape == learned.shape and (keep.sum(1) > 0).all()
    assert 400 < int(learned.sum()) < int(keep.sum())
    for row, kept, marked in zip(ids.tolist(), keep, learned, strict=True):
        text = processor.tokenizer.decode(row[: int(kept.sum())])
        listed = set(map(int, re.findall(r"Frame (\d+):", text)))
        said = [
            int(processor.tokenizer.decode([token])) for token, asked in zip(row, marked.tolist(), strict=True) if asked
        ]
        titles = len(re.findall(r"Step \d:", text))
        assert sum(number not in listed for number in said) <= titles
        for table, first in re.findall(r"target:(.*?)\. It is (?:in none|there from (\d+))", text):
            seen = re.findall(r"(\d+) yes", table)
            assert (seen[0] if seen else "") == first
    assert len(set(ids.flatten().tolist()) & tasks.numbers) > 120


def test_fragments_of_a_reply_agree_and_name_frames_that_show_the_target() -> None:
    frames, seen = [0, 11, 23, 57, 104], [False, True, False, True, False]
    for number in range(60):
        rng = np.random.default_rng(number)
        said = draw_said(rng, frames, seen)
        assert said.key in (11, 57)
        assert said.start <= said.key <= said.end
        drawn = [text for _ in range(20) for text in draw_fragments(rng, said)]
        windows = [json.loads(found.group()) for text in drawn if (found := re.search(r"\{.*\}", text))]
        assert windows
        assert all(one == {"start": said.start, "end": said.end, "keyframe": said.key} for one in windows)
        assert {title for title in TITLES.values() if any(title in text for text in drawn)}


def test_before_the_table_no_fragment_tells_what_is_in_it() -> None:
    drawn = [text for number in range(100) for text in draw_fragments(np.random.default_rng(number), None)]
    assert not any(character.isdigit() for text in drawn for character in re.sub(r"Step \d", "", text))


def test_places_by_chance_are_read_and_not_learned(
    clips: list[Clip], processor: PolicyProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, counts = Tasks(processor, PRESETS["tiny"]), []
    for share in (0.0, 1.0):
        monkeypatch.setattr("vtscot.sft.nano.tasks.MISPLACED", share)
        answers = []
        for number in range(6):
            queries = draw(clips[0], np.random.default_rng(number), 3, {"appearance": 1.0})
            example = tasks.example(clips[0], np.random.default_rng(number), queries, look=False, interrupted=True)
            answers += example.answers
        named = [(name, weight) for a in answers for name, weight in zip(a.names, a.weights, strict=True)]
        counts.append([sum(n == name and w > 0 for n, w in named) for name in ("across", "down", "wide", "tall")])
        assert any(name == "across" for name, _ in named)
    assert min(counts[0]) > 0
    assert max(counts[1]) == 0


def _decided(answer: Answer, processor: PolicyProcessor) -> list[tuple[str, str]]:
    words = [processor.tokenizer.decode([token]).strip() for token in answer.ids]
    return [(name, word) for name, word in zip(answer.names, words, strict=True) if name]
