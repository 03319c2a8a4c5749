"""Reinforcement: what the loss is, what a step learns from, and that nothing that fails or stops changes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("trl", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch
from trl import GRPOTrainer

from tests.rl import SMALL, make_trainer, small
from tests.training import dying
from vtscot.errors import FrameError, PolicyError, UsageError
from vtscot.policy.load import load_policy
from vtscot.policy.trainable import part_of
from vtscot.progress import Silent
from vtscot.rl.recipe import RlRecipe
from vtscot.rl.rolling import Generation, Roller
from vtscot.rl.scoring import batch_of, forward
from vtscot.rl.train import Data, train_rl
from vtscot.rl.trainer import _unused
from vtscot.training.metrics import read_metrics


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trainer(speaking_policy_folder: Path, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer with one batch of rollouts: two queries, three samples each."""
    made = make_trainer(small(), speaking_policy_folder, demo_root, tmp_path_factory.mktemp("rl"))
    made.generation = made.roller.generation([0, 5], 0)
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


@pytest.fixture
def plain(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The trainer without calibration and mask loss."""
    return changed(trainer, monkeypatch, calibration={"weight": 0.0}, mask_loss=0.0)


def changed(trainer: Any, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    monkeypatch.setattr(trainer, "recipe", small(**changes))
    return trainer


def inputs_of(trainer: Any, *, spread: bool = True) -> dict[str, Any]:
    """What the loss reads about all rows; with advantages of both signs, whatever the rewards are."""
    rows = trainer.generation.rows
    made: dict[str, Any] = trainer._tensors(rows)
    with torch.no_grad():
        made |= trainer._earlier(rows, made["completion_ids"].shape[1])
    values = torch.linspace(-1.0, 1.0, len(rows)) if spread else torch.zeros(len(rows))
    return made | {"advantages": values}


def gradients(trainer: Any, loss: Any) -> dict[str, Any]:
    trainer.model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    trainer.model.zero_grad(set_to_none=True)
    return found


def plain_logps(trainer: Any, inputs: dict[str, Any]) -> Any:
    """Log-probabilities of the rows by the policy's own forward pass, without masks."""
    batch = batch_of(list(trainer.generation.rows), trainer.processor, spatial=False)
    shape = tuple(inputs["completion_ids"].shape)
    scores = forward(trainer.model, batch, shape, barred=trainer.barred, temperature=trainer.recipe.temperature)
    return scores.logps


def test_what_was_sampled_is_what_is_scored(trainer: Any) -> None:
    inputs = inputs_of(trainer)
    rows = trainer.generation.rows
    assert all(row is not None for row in rows)
    logps = plain_logps(trainer, inputs).detach()
    sampled = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
    for row, logp, mask, ids in zip(rows, logps, sampled, inputs["completion_ids"], strict=True):
        assert torch.equal(ids[mask], torch.cat([turn.reply_ids for turn in row.rollout.turns]))
        written = torch.cat([turn.logprobs for turn in row.rollout.turns])
        torch.testing.assert_close(logp[mask], written, atol=1e-4, rtol=1e-4)
        assert not logp[~mask].any()
    several = [row for row in rows if len(row.rollout.turns) > 1]
    assert several, "the environment speaks in none of the rollouts"
    assert int(inputs["completion_mask"].sum()) > int(sampled.sum())


@pytest.mark.parametrize("kind", ["FSDP", "DeepSpeed"])
def test_weights_that_are_shared_out_are_refused(
    kind: str, speaking_policy_folder: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{kind.upper()}", "true")
    with pytest.raises(UsageError, match=f"whole weights in every process, which {kind} shares out"):
        train_rl(Data("demo", demo_root, "train"), str(speaking_policy_folder), small(), tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_tags_that_are_not_drawn_are_not_learned_from(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    roller = Roller(trainer.policy, trainer.processor, small(guided=True), trainer.tasks)
    rows = roller.generation([0, 5], 0).rows
    turns = [turn for row in rows if row is not None for turn in row.rollout.turns]
    forced = [trainer.processor.tokenizer.decode(turn.reply_ids[-turn.forced :]) for turn in turns if turn.forced]
    assert forced and all(re.fullmatch(r"</RefSeg></(select|answer)><\|im_end\|>", text) for text in forced)
    tensors = trainer._tensors(rows)
    sampled = (tensors["completion_mask"] * tensors["tool_mask"]).bool()
    for row, mask, ids in zip(rows, sampled, tensors["completion_ids"], strict=True):
        drawn = [turn.reply_ids[: len(turn.reply_ids) - turn.forced] for turn in row.rollout.turns]
        assert torch.equal(ids[mask], torch.cat(drawn))
    batch = batch_of([row for row in rows if row is not None], trainer.processor, spatial=False)
    told = [tensors["completion_ids"][row, column] for row, column in batch.forced.tolist()]
    assert told == [token for turn in turns for token in turn.reply_ids[len(turn.reply_ids) - turn.forced :]]


def test_tags_that_are_not_drawn_are_not_forgotten(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    roller = Roller(trainer.policy, trainer.processor, small(guided=True), trainer.tasks)
    monkeypatch.setattr(trainer, "generation", roller.generation([0, 5], 0))
    batch = batch_of(list(trainer.generation.rows), trainer.processor, spatial=False)
    scores = trainer._scores(trainer.model, batch, (len(trainer.generation.rows), 2000))
    said = torch.stack([scores.logps[row, column] for row, column in batch.forced.tolist()])
    changed(trainer, monkeypatch, guided=True, closing_loss=0.5)
    torch.testing.assert_close(trainer._closing_loss(scores, batch), -0.5 * said.mean())
    found = {}
    for weight in (0.0, 0.5):
        changed(trainer, monkeypatch, guided=True, closing_loss=weight, calibration={"weight": 0.0}, mask_loss=0.0)
        loss = trainer._compute_loss(trainer.model, inputs_of(trainer, spread=False))
        found[weight] = float(loss.detach())
    assert found[0.5] - found[0.0] == pytest.approx(-0.5 * float(said.detach().mean()), abs=1e-5)


def test_the_masks_of_the_scoring_forward_are_those_of_the_rollout(trainer: Any) -> None:
    batch = batch_of(list(trainer.generation.rows), trainer.processor, spatial=True)
    with torch.no_grad():
        scores = trainer._scores(trainer.model, batch, (len(trainer.generation.rows), 2000))
    turns = len(batch.seg_places)
    torch.testing.assert_close(scores.masks[:turns], batch.rolled, atol=1e-3, rtol=1e-3)
    spatial = len(trainer.generation.rows[0].spatial)
    assert len(scores.masks) == turns * (1 + spatial)
    assert len(batch.truth) == len(batch.frames) == len(batch.names) == len(scores.masks)


def test_weight_0_is_plain_grpo_bit_for_bit(plain: Any) -> None:
    inputs = inputs_of(plain)
    ours = plain._compute_loss(plain.model, inputs)
    mine = gradients(plain, ours)
    logps = plain_logps(plain, inputs)
    plain._handed = logps, torch.zeros_like(logps)
    theirs = GRPOTrainer._compute_loss(plain, plain.model, inputs)
    stock = gradients(plain, theirs)
    assert ours.item() == theirs.item()
    spoken = {name: grad for name, grad in mine.items() if name in stock}
    assert spoken and all(torch.equal(grad, stock[name]) for name, grad in spoken.items())
    assert not any(bool(grad.any()) for name, grad in mine.items() if name not in stock)


def test_the_loss_is_the_formula(plain: Any) -> None:
    inputs = inputs_of(plain)
    loss = plain._compute_loss(plain.model, inputs)
    logps, ref = plain_logps(plain, inputs).detach(), inputs["ref_per_token_logps"]
    mask = inputs["completion_mask"] * inputs["tool_mask"]
    kl = torch.exp(ref - logps) - (ref - logps) - 1
    per_token = -inputs["advantages"][:, None] + plain.recipe.beta * kl  # the ratio is 1
    expected = ((per_token * mask).sum(1) / mask.sum(1)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_calibration_reaches_the_masks_by_the_advantage_and_not_by_the_kl(
    trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(trainer, monkeypatch, mask_loss=0.0, calibration={"weight": 1.0})
    moved = gradients(trainer, trainer._compute_loss(trainer.model, inputs_of(trainer)))
    masks = [name for name in moved if part_of(name) == "mask_decoder" and bool(moved[name].any())]
    assert masks
    inputs = inputs_of(trainer, spread=False)
    inputs["ref_per_token_logps"] = inputs["ref_per_token_logps"] - 0.5  # as after many steps
    still = gradients(trainer, trainer._compute_loss(trainer.model, inputs))
    assert any(bool(grad.any()) for name, grad in still.items() if part_of(name) == "language_model")
    assert not any(bool(still[name].any()) for name in masks if name in still)


def test_the_calibrations_gradient_is_the_advantage_times_that_of_the_likelihood(
    trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtscot.rl.calibration import mask_log_likelihood

    changed(trainer, monkeypatch, mask_loss=0.0, beta=0.0)
    inputs = inputs_of(trainer)
    monkeypatch.setattr(trainer, "beta", 0.0)
    found = gradients(trainer, trainer._compute_loss(trainer.model, inputs))
    batch = batch_of(list(trainer.generation.rows), trainer.processor, spatial=False)
    scores = trainer._scores(trainer.model, batch, tuple(inputs["completion_ids"].shape))
    likelihood = mask_log_likelihood(scores.masks, batch.rolled)
    tokens = (inputs["completion_mask"] * inputs["tool_mask"]).sum(1)
    rows = batch.seg_places[:, 0]
    surrogate = -(inputs["advantages"][rows] * likelihood / tokens[rows]).sum() / len(tokens)
    expected = gradients(trainer, surrogate)
    name = next(name for name in found if part_of(name) == "mask_decoder" and bool(found[name].any()))
    torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-7)


def test_accumulated_batches_have_the_gradient_of_one(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(trainer, monkeypatch, mask_loss=0.0)
    inputs = inputs_of(trainer)
    whole = gradients(trainer, trainer._compute_loss(trainer.model, inputs))
    monkeypatch.setattr(trainer, "current_gradient_accumulation_steps", 2)
    parts = [{k: v[half] if v.ndim else v for k, v in inputs.items()} for half in (slice(0, 3), slice(3, 6))]
    added = gradients(trainer, sum(trainer._compute_loss(trainer.model, part) for part in parts))
    for name, grad in whole.items():
        torch.testing.assert_close(added[name], grad, rtol=1e-3, atol=1e-6)


def test_failed_rollouts_have_no_part_in_the_loss(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(trainer.generation.rows)
    rows[1] = None
    monkeypatch.setattr(trainer, "generation", Generation(tuple(rows), 3, trainer.generation.store))
    inputs = inputs_of(trainer)
    assert not inputs["completion_mask"][1].any()
    assert trainer._compute_loss(trainer.model, inputs).isfinite()
    monkeypatch.setattr(trainer, "generation", Generation((None,) * 6, 3, trainer.generation.store))
    nothing = inputs_of(trainer)
    loss = trainer._compute_loss(trainer.model, nothing)
    assert loss.item() == 0.0
    assert not any(bool(grad.any()) for grad in gradients(trainer, loss).values())


def test_a_gradient_that_is_no_number_moves_nothing(trainer: Any) -> None:
    parameter = next(p for p in trainer.policy.parameters() if p.requires_grad)
    parameter.grad = torch.full_like(parameter, torch.nan)
    trainer.guard()
    assert parameter.grad is None
    assert trainer._metrics["train"]["skipped"][-1] == 1.0
    parameter.grad = torch.ones_like(parameter)
    trainer.guard()
    assert parameter.grad is not None
    parameter.grad = None


@pytest.fixture(scope="module")
def trained(speaking_policy_folder: Path, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps without interruption."""
    out = tmp_path_factory.mktemp("rl-train") / "out"
    run(small(), speaking_policy_folder, demo_root, out)
    return out


def run(recipe: RlRecipe, policy: Path, root: Path, out: Path, *, resume: bool = False) -> None:
    train_rl(Data("demo", root, "train"), str(policy), recipe, out, resume=resume, device="cpu", progress=Silent())


def test_every_step_is_told(trained: Path, speaking_policy_folder: Path) -> None:
    lines = read_metrics(trained)
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["episodes"] == 6
        assert line["failed"] == line["skipped"] == 0
        terms = [line[f"reward/{name}"] for name in ("format", "steps", "interval", "keyframe", "mask", "answered")]
        assert line["reward"] == pytest.approx(sum(terms) + line["reward/progress"] + line["reward/keyframe_gain"])
        assert sum(line[f"turns/{count}"] for count in (1, 2, 3)) == pytest.approx(1.0)
        assert {"kl", "clip", "entropy", "iou", "iou/0", "zero_spread", "likelihood", "mask_loss"} <= set(line)
        assert line["prefilled_tokens"] > 0 and line["sam_frames"] > 0
    assert lines[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert lines[-1]["kl"] > 0
    policy, _ = load_policy(trained, "cpu")
    before, _ = load_policy(speaking_policy_folder, "cpu")
    old = dict(before.named_parameters())
    moved = {part_of(name) for name, p in policy.named_parameters() if not torch.equal(p, old[name])}
    assert {"embeddings", "vision_tower", "language_model", "projector", "mask_decoder"} <= moved
    assert not moved & {"image_encoder", "memory"}
    assert "<svg" in (trained / "report.html").read_text()
    assert sorted(path.name for path in (trained / "pages").iterdir()) == ["step-000000.html", "step-000002.html"]
    page = (trained / "pages" / "step-000000.html").read_text()
    assert "reward" in page and "Rollouts: " in page
    assert json.loads((trained / "training.json").read_text())["finished"]


def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    trained: Path, speaking_policy_folder: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with dying(monkeypatch, step=3):  # the last checkpoint is that of step 2
        run(small(), speaking_policy_folder, demo_root, out)
    torch.manual_seed(99)  # whatever else was drawn in the meantime
    run(small(), speaking_policy_folder, demo_root, out, resume=True)
    timed = ("seconds", "seconds_rollout", "seconds_scoring")
    one, other = (
        [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(p)] for p in (trained, out)
    )
    assert one == other
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_frame_that_breaks_costs_its_group_and_not_the_run(
    speaking_policy_folder: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Roller._trials
    broken: list[str] = []

    def trials(self: Roller, task: Any, rollouts: Any, store: Any, failures: Any) -> Any:
        if len(rollouts) == 3 and not broken:
            broken.append(task.query.id)
            failures.append((task.query.id, str(FrameError("frame 3 is broken"))))
            return []
        return honest(self, task, rollouts, store, failures)

    monkeypatch.setattr(Roller, "_trials", trials)
    recipe = small(max_steps=1, advantage="turn", iterations=1, page_every=0)
    run(recipe, speaking_policy_folder, demo_root, tmp_path / "out")
    (line,) = read_metrics(tmp_path / "out")
    assert (line["failed"], line["episodes"], line["skipped"]) == (3, 3, 0)


def test_several_iterations_clip_and_go_on(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    recipe = small(iterations=2, clip=0.01, max_steps=2, optimiser={**SMALL["optimiser"], "lr": 1e-2}, page_every=0)
    run(recipe, speaking_policy_folder, demo_root, tmp_path / "out")
    first, second = read_metrics(tmp_path / "out")
    assert first["clip"] == 0.0
    assert second["clip"] > 0.0
    assert "reward" in first and "reward" not in second  # the same rollouts


def test_adapters_are_their_own_reference(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    parts = {"language_model": "lora", "lora": {"r": 2, "alpha": 4}, "embeddings": False, "lm_head": False}
    made = make_trainer(small(trainable=parts), speaking_policy_folder, demo_root, tmp_path)
    assert made.reference is None
    made.generation = made.roller.generation([0, 5], 0)
    inputs = inputs_of(made)
    with torch.no_grad():
        for name, parameter in made.policy.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05)
        after = plain_logps(made, inputs)
        again = made._earlier(made.generation.rows, after.shape[1])["ref_per_token_logps"]
    assert torch.equal(again, inputs["ref_per_token_logps"])
    assert not torch.allclose(after, again)


def test_rewards_are_never_asked_of_trl() -> None:
    with pytest.raises(PolicyError, match=r"TRL .* asks for rewards.*pip install 'vtscot\[train\]'"):
        _unused([])


def test_a_policy_without_cold_start_is_refused(tiny_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    policy, processor = load_policy(tiny_policy_folder, "cpu")
    with torch.no_grad():  # what it says is drawn from all tokens alike, and might be [SEG] by chance
        policy.get_output_embeddings().weight[processor.seg_id] = 0.0
    policy.save_pretrained(tmp_path / "policy")
    processor.save_pretrained(tmp_path / "policy")
    with pytest.raises(PolicyError, match=r"has a \[SEG\].*cold start first"):
        run(small(top_p=0.01), tmp_path / "policy", demo_root, tmp_path / "out")
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_reply_too_short_for_a_turn_is_refused(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a reply may have 8 tokens, but the shortest turn has"):
        run(small(max_new_tokens=8), speaking_policy_folder, demo_root, tmp_path / "out")
