"""Rollouts whose replies an engine writes: what it does not know is what the policy would have known.

The engine here is the policy itself, which reads every prompt anew and tells tokens only; vLLM's tests are beside this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("trl", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch

from tests.rl import make_trainer, small
from vtscot.errors import UsageError
from vtscot.policy.cache import Context, Counters, Slice
from vtscot.policy.load import load_policy
from vtscot.policy.lora import inject_lora, merge_lora
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.sampling import Sampling
from vtscot.policy.writing import Reply, Writer, barred_tokens
from vtscot.rl.checks import check_generation, probe
from vtscot.rl.rolling import Generation, Roller
from vtscot.rl.vllm import merged


class Anew:
    """Reads whole prompts, one after the other, with the policy; keeps nothing, tells nothing but tokens."""

    def __init__(self, policy: Any, processor: PolicyProcessor, window: int = 4096) -> None:
        self.policy, self.processor, self.window = policy, processor, window
        self.prompts: list[list[int]] = []
        self.learned = 0

    def learn(self, sampling: Sampling) -> None:
        self.learned += 1
        self.writer = Writer(self.policy, self.processor, sampling)

    def close(self) -> None:
        self.prompts.clear()

    def write(self, prompts: Sequence[Slice], replies: Sequence[Reply], counters: Counters) -> None:
        for prompt, reply in zip(prompts, replies, strict=True):
            self.prompts.append(prompt.input_ids.tolist())
            context = Context(self.policy, self.processor.pad_id, 1, counters)
            told = Reply(limit=reply.limit, seed=reply.seed)
            self.writer.write(context, context.extend([prompt]), [told])
            reply.ids, reply.ended, reply.forced = told.ids, told.ended, told.forced


@pytest.fixture(scope="module")
def trainer(speaking_policy_folder: Path, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return make_trainer(small(), speaking_policy_folder, demo_root, tmp_path_factory.mktemp("engine"))


def rolled(trainer: Any, engine: Anew | None, **changes: Any) -> Generation:
    return Roller(trainer.policy, trainer.processor, small(**changes), trainer.tasks, engine).generation([0, 5], 0)


@pytest.mark.parametrize("guided", [False, True])
def test_rollouts_of_an_engine_are_those_of_the_cache(trainer: Any, guided: bool) -> None:
    engine = Anew(trainer.policy, trainer.processor)
    expected, found = rolled(trainer, None, guided=guided), rolled(trainer, engine, guided=guided)
    assert engine.learned == 1
    masked = 0
    for one, other in zip(expected.rows, found.rows, strict=True):
        assert one is not None and other is not None
        assert (one.rollout.end, one.rollout.sample) == (other.rollout.end, other.rollout.sample)
        assert one.reward == pytest.approx(other.reward, abs=1e-3)
        for turn, again in zip(one.rollout.turns, other.rollout.turns, strict=True):
            assert torch.equal(turn.reply_ids, again.reply_ids)
            assert (turn.frame, turn.forced, turn.text) == (again.frame, again.forced, again.text)
            drawn = len(turn.reply_ids) - turn.forced
            torch.testing.assert_close(turn.logprobs[:drawn], again.logprobs[:drawn], atol=1e-4, rtol=1e-4)
            assert (turn.mask_logits is None) == (again.mask_logits is None)
            if turn.mask_logits is not None:
                masked += 1
                torch.testing.assert_close(turn.mask_logits, again.mask_logits, atol=1e-3, rtol=1e-3)
                torch.testing.assert_close(turn.seg_hidden, again.seg_hidden, atol=1e-3, rtol=1e-3)
                assert turn.object_score == pytest.approx(again.object_score, abs=1e-3)
                assert turn.iou_score == pytest.approx(again.iou_score, abs=1e-3)
    assert masked, "no rollout has a mask"
    assert len({len(row.rollout.turns) for row in found.rows if row is not None}) > 1, "no rollout looks again"


def test_an_engine_reads_the_whole_rollout_token_for_token(trainer: Any) -> None:
    engine = Anew(trainer.policy, trainer.processor)
    rows = [row for row in rolled(trainer, engine).rows if row is not None]
    read = {tuple(ids) for ids in engine.prompts}
    for row in rows:
        encoded = row.rollout.encoded(trainer.processor)
        assert all(tuple(encoded.input_ids[:start].tolist()) in read for start, _ in encoded.turn_spans)


def test_no_image_goes_through_the_tower_again_for_the_masks(trainer: Any) -> None:
    patches: list[int] = []
    tower = trainer.policy.vlm.model.visual
    heard = tower.register_forward_pre_hook(
        lambda _, given, kwargs: patches.append(len(_pixels(given, kwargs))), with_kwargs=True
    )
    found = rolled(trainer, Anew(trainer.policy, trainer.processor))
    heard.remove()
    assert sum(patches) == found.store.counters.vision_patches > 0


def _pixels(given: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return given[0] if given else kwargs["hidden_states"]


def test_masks_are_made_in_evaluation_mode(trainer: Any) -> None:
    training: list[bool] = []
    heard = trainer.policy.register_forward_pre_hook(lambda policy, _: training.append(policy.vlm.training))
    trainer.policy.train()
    rolled(trainer, Anew(trainer.policy, trainer.processor))
    heard.remove()
    assert training and not any(training)
    assert trainer.policy.vlm.training
    trainer.policy.eval()


def test_tokens_behind_the_last_one_are_barred(trainer: Any, speaking_policy_folder: Path) -> None:
    policy, processor = load_policy(speaking_policy_folder, "cpu")
    policy.vlm.resize_token_embeddings(len(processor.tokenizer) + 8, mean_resizing=False)
    barred = barred_tokens(policy, processor)
    assert barred[-8:].all()
    assert set(barred[:-8].nonzero().flatten().tolist()) == set(processor.unsampled_ids)
    assert torch.equal(trainer.barred, barred_tokens(trainer.policy, trainer.processor))


def test_a_window_of_vllm_without_room_is_refused_before_the_first_step(trainer: Any) -> None:
    given = (trainer.policy, trainer.processor)
    probe(*given, small(generation="vllm"), trainer.tasks, "policy")
    with pytest.raises(
        UsageError, match=r"vllm.window 64 has no room for a first look of \d+ tokens and a reply of 96"
    ):
        probe(*given, small(generation="vllm", vllm={"window": 64}), trainer.tasks, "policy")


def test_the_window_of_an_engine_ends_a_rollout(trainer: Any) -> None:
    longest = max(len(row.rollout.encoded(trainer.processor)) for row in rolled(trainer, None).rows if row is not None)
    found = rolled(trainer, Anew(trainer.policy, trainer.processor, window=longest - 8))
    rows = [row for row in found.rows if row is not None]
    assert "too-long" in {row.rollout.end for row in rows}
    assert all(len(row.rollout.encoded(trainer.processor)) <= longest - 8 for row in rows)
    assert found.store.counters.too_long == sum(row.rollout.end == "too-long" for row in rows)


def test_vllm_that_is_not_there_is_named_before_the_first_step(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtscot.rl.checks.is_vllm_available", lambda: False)
    check_generation(trainer.policy, small())
    with pytest.raises(UsageError, match=r"vLLM is not installed.*generation=hf"):
        check_generation(trainer.policy, small(generation="vllm"))
    monkeypatch.setattr("vtscot.rl.checks.is_vllm_available", lambda: True)
    check_generation(trainer.policy, small(generation="vllm"))


def test_adapters_are_handed_on_merged_and_left_as_they_are(trainer: Any, speaking_policy_folder: Path) -> None:
    policy, _ = load_policy(speaking_policy_folder, "cpu")
    policy.config.lora = {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "down_proj"]}
    inject_lora(policy.vlm, policy.config.lora)
    with torch.no_grad():
        for name, weight in policy.vlm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    before = {name: weight.detach().clone() for name, weight in policy.vlm.named_parameters()}
    with torch.autocast("cpu", torch.bfloat16):  # as around rollouts, which must not round them
        given = dict(merged(policy.vlm, policy.vlm.named_parameters()))
    assert all(torch.equal(before[name], weight) for name, weight in policy.vlm.named_parameters())
    merge_lora(policy)
    expected = dict(policy.vlm.named_parameters())
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], weight) for name, weight in expected.items())
    name = "model.language_model.layers.0.self_attn.q_proj"
    assert not torch.equal(before[f"{name}.base_layer.weight"], given[f"{name}.weight"])
