"""Decisions that are read at random: where, how often, what stays true, and what is not learned from."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("transformers", reason="training needs the extra `train`")

import torch

from vtscot.policy.load import load_policy
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED
from vtscot.sft.batching import Samples
from vtscot.sft.decisions import Decisions
from vtscot.sft.encoding import Encoder
from vtscot.sft.examples import open_examples
from vtscot.sft.recipe import DecisionSettings, load_sft_recipe

WORDS = (" the", " frame")


@pytest.fixture(scope="module")
def processor(sft_policy: Path) -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(sft_policy)


@pytest.fixture(scope="module")
def encoder(sft_run: Path, processor: PolicyProcessor) -> Encoder:
    return Encoder(open_examples(str(sft_run)), processor, 64, 64)


def decisions(processor: PolicyProcessor, random: float = 1.0, weight: float = 1.0, seed: int = 0) -> Decisions:
    return Decisions([DecisionSettings(words=WORDS, random=random, weight=weight)], processor, seed)


def test_only_decisions_are_drawn_and_what_is_to_be_said_stays_true(
    encoder: Encoder, processor: PolicyProcessor
) -> None:
    drawing = decisions(processor)
    true = encoder.sample(0).encoded
    drawn = drawing.drawn(true, 0)
    chosen = torch.isin(true.input_ids, drawing.kinds[0].ids)
    changed = true.input_ids != drawn.input_ids
    assert changed.any()
    assert not changed[~chosen].any()
    for start, end in true.turn_spans:
        last = start + int(chosen[start:end].nonzero()[-1])
        assert torch.equal(drawn.labels[start : last + 1], true.labels[start : last + 1])
        assert (drawn.labels[last + 1 : end] == IGNORED).all()
        assert (true.labels[last + 1 : end] != IGNORED).any()
    before = true.turn_spans[0][0]
    assert torch.equal(drawn.input_ids[:before], true.input_ids[:before])


def test_draws_depend_on_epoch_and_seed_alone(encoder: Encoder, processor: PolicyProcessor) -> None:
    true = encoder.sample(0).encoded
    first = decisions(processor).drawn(true, 3)
    assert torch.equal(first.input_ids, decisions(processor).drawn(true, 3).input_ids)
    assert not torch.equal(first.input_ids, decisions(processor).drawn(true, 4).input_ids)
    assert not torch.equal(first.input_ids, decisions(processor, seed=1).drawn(true, 3).input_ids)


def test_the_share_of_replies(encoder: Encoder, processor: PolicyProcessor) -> None:
    true = encoder.sample(0).encoded
    assert decisions(processor, random=0.0).drawn(true, 0) is true
    some = decisions(processor, random=0.5)
    replies = [
        bool((some.drawn(true, epoch).labels[start:end] == IGNORED).any())
        for epoch in range(60)
        for start, end in true.turn_spans
    ]
    assert 0.3 < sum(replies) / len(replies) < 0.7


def test_samples_are_drawn_anew_in_every_epoch(encoder: Encoder, processor: PolicyProcessor) -> None:
    samples = Samples(encoder, [0], decisions(processor))
    one, two = samples[0, 0][2], samples[1, 0][2]
    assert not torch.equal(one.encoded.input_ids, two.encoded.input_ids)
    assert torch.equal(one.masks, two.masks)
    assert Samples(encoder, [0])[0, 0][2] is encoder.sample(0)


def test_decisions_may_weigh_more(processor: PolicyProcessor) -> None:
    drawing = decisions(processor, weight=3.0)
    size = len(processor.tokenizer)
    weights = drawing.weighed(None, size)
    assert weights is not None
    assert weights.sum() == size + 2 * len(WORDS)
    assert torch.equal(drawing.weighed(torch.full((size,), 2.0), size), 2 * weights)
    assert decisions(processor).weighed(None, size) is None


def test_a_word_of_several_tokens_is_left_out(encoder: Encoder, processor: PolicyProcessor) -> None:
    words = ("a word of several tokens", WORDS[0])
    drawing = Decisions([DecisionSettings(words=words, random=1.0)], processor, 0)
    assert drawing.left_out == words[:1]
    assert len(drawing.kinds[0].ids) == 1
    none = Decisions([DecisionSettings(words=words[:1], random=1.0)], processor, 0)
    assert none.kinds == []
    true = encoder.sample(0).encoded
    assert none.drawn(true, 0) is true


def test_what_does_not_follow_from_a_kind_is_still_learned(encoder: Encoder, processor: PolicyProcessor) -> None:
    """Two kinds at once: each is drawn from its own words, and only what follows the first kind is left out."""
    kinds = [
        DecisionSettings(words=WORDS[:1], weight=2.0),
        DecisionSettings(words=(WORDS[1], " is"), random=1.0, followed=False),
    ]
    drawing = Decisions(kinds, processor, 0)
    true = encoder.sample(0).encoded
    drawn = drawing.drawn(true, 0)
    assert torch.equal(drawn.labels, true.labels)
    changed = true.input_ids != drawn.input_ids
    assert changed.any()
    assert torch.isin(true.input_ids[changed], drawing.kinds[1].ids).all()
    assert torch.isin(drawn.input_ids[changed], drawing.kinds[1].ids).all()


def test_the_tiny_recipe_looks_at_every_frame_and_for_every_mask() -> None:
    kinds = load_sft_recipe("sft_tiny").decisions
    followed = {kind.words[0]: kind.followed for kind in kinds if kind.random}
    assert followed == {" yes": True, " third": False, " thirds": False}
    processor = load_policy("nano", "cpu", "float32")[1]
    assert Decisions(kinds, processor, 0).left_out == ()
