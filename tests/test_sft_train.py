"""Training: what is learned, and that an interruption, a full disk or several processes change nothing."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("accelerate", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch

from tests.sft import SMALL
from tests.training import dying
from vtscot.budget import PRESETS
from vtscot.errors import DataError, PolicyError, RunError, UsageError
from vtscot.policy.load import load_policy
from vtscot.policy.trainable import part_of
from vtscot.sft.recipe import SftRecipe
from vtscot.sft.train import Trained, train_sft
from vtscot.training import events
from vtscot.training.callbacks import Figures
from vtscot.training.metrics import read_metrics

LOSSES = ("loss", "lm", "bce", "dice", "object", "accuracy", "iou", "grad_norm", "lr", "tokens")


def small(**changes: Any) -> SftRecipe:
    return SftRecipe.model_validate({**SMALL, **changes})


def figures(out: Path) -> list[dict[str, float]]:
    """Everything of every step but the time it took."""
    return [{name: line[name] for name in ("step", *LOSSES) if name in line} for line in read_metrics(out)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(sft_run: Path, sft_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Six steps without interruption."""
    return train_sft(str(sft_run), str(sft_policy), small(), tmp_path_factory.mktemp("train") / "out")


def test_the_policy_that_is_left_loads_and_knows_its_budget_and_adapters(trained: Trained, sft_policy: Path) -> None:
    policy, _ = load_policy(trained.out, "cpu")
    before, _ = load_policy(sft_policy, "cpu")
    assert policy.config.budget == PRESETS["evaluation"].model_dump()
    assert policy.config.lora["r"] == 4
    assert not (trained.out / "checkpoints").exists()
    old = dict(before.named_parameters())
    moved = {part_of(n) for n, p in policy.named_parameters() if n in old and not torch.equal(p, old[n])}
    assert moved == {"embeddings", "projector", "mask_decoder", "image_encoder"}
    adapters = [p for n, p in policy.named_parameters() if "lora_B" in n]
    assert adapters
    assert all(bool(p.any()) for p in adapters)


def test_every_step_is_logged_with_every_term(trained: Trained) -> None:
    lines = read_metrics(trained.out)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    weights = small().losses
    for line in lines:
        weighed = sum(getattr(weights, term) * line[term] for term in ("lm", "bce", "dice", "object"))
        assert line["loss"] == pytest.approx(weighed, rel=1e-5)
        assert line["tokens"] > 1000
        assert line["seconds"] > 0
    assert lines[-1]["loss"] < lines[0]["loss"]
    told = json.loads((trained.out / "training.json").read_text())
    assert (told["finished"], told["records"], told["steps"]) == (True, len(trained.records.ids), 6)


def test_a_resumed_training_has_the_losses_of_an_uninterrupted_one_bit_for_bit(
    trained: Trained, sft_run: Path, sft_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with dying(monkeypatch, step=5):  # the last checkpoint is that of step 4
        train_sft(str(sft_run), str(sft_policy), small(), out)
    torch.manual_seed(99)  # whatever else was drawn in the meantime
    train_sft(str(sft_run), str(sft_policy), small(), out, resume=True)
    assert figures(out) == figures(trained.out)
    assert (out / events.FILE).stat().st_size == (trained.out / events.FILE).stat().st_size  # no step is there twice
    assert (out / "model.safetensors").read_bytes() == (trained.out / "model.safetensors").read_bytes()


def test_accumulated_batches_are_one_large_batch(
    trained: Trained, sft_run: Path, sft_policy: Path, tmp_path: Path
) -> None:
    still = {"trainable": {**SMALL["trainable"], "lora": {"r": 4, "alpha": 8, "dropout": 0.0}}, "max_steps": 3}
    batch = {**SMALL["batch"], "per_device": 1}
    train_sft(str(sft_run), str(sft_policy), small(**still), tmp_path / "two")
    train_sft(str(sft_run), str(sft_policy), small(**still, batch=batch), tmp_path / "one")
    for whole, parts in zip(figures(tmp_path / "two"), figures(tmp_path / "one"), strict=True):
        assert parts == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_a_full_disk_leaves_the_last_whole_checkpoint(
    trained: Trained, sft_run: Path, sft_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    append = Figures.on_log

    def fill(self: Figures, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        append(self, args, state, control, **kwargs)
        if state.global_step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    with monkeypatch.context() as patch:
        patch.setattr(Figures, "on_log", fill)
        try:
            with pytest.raises(PolicyError, match=r"step 4 cannot be written.*that of step 2 is whole.*--resume"):
                train_sft(str(sft_run), str(sft_policy), small(), out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["checkpoint-2"]
    train_sft(str(sft_run), str(sft_policy), small(), out, resume=True)
    assert figures(out) == figures(trained.out)  # from step 2 on, and step 3 a second time


def test_what_was_begun_is_gone_on_with_only_as_it_was_begun(
    trained: Trained, sft_run: Path, sft_policy: Path, tmp_path: Path
) -> None:
    arguments = str(sft_run), str(sft_policy)
    with pytest.raises(UsageError, match="holds a training: go on with it by --resume"):
        train_sft(*arguments, small(), trained.out)
    with pytest.raises(RunError, match=r"other settings: optimiser.lr: 0.001 -> 0.1"):
        train_sft(*arguments, small(optimiser={"lr": 0.1, "warmup": 0.2}), trained.out, resume=True)
    before = (trained.out / "model.safetensors").read_bytes()
    again = train_sft(*arguments, small(save_every=5), trained.out, resume=True)  # ended already: nothing is done
    assert again.json() == trained.json()
    assert (trained.out / "model.safetensors").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(UsageError, match="exists and is no training"):
        train_sft(*arguments, small(), tmp_path / "mine", resume=True)


def test_records_that_do_not_fit_are_left_out_and_named(
    trained: Trained, sft_run: Path, sft_policy: Path, tmp_path: Path
) -> None:
    lengths = sorted(trained.records.lengths)
    window = lengths[len(lengths) // 2]
    some = train_sft(str(sft_run), str(sft_policy), small(max_tokens=window, max_steps=1), tmp_path / "some")
    assert max(some.records.lengths) <= window
    assert len(some.records.too_long) + len(some.records.ids) == len(lengths)
    told = json.loads((tmp_path / "some" / "training.json").read_text())
    assert told["too_long"] == dict(some.records.too_long)
    with pytest.raises(DataError, match=r"all \d+ records are longer than max_tokens 10 \(the shortest has"):
        train_sft(str(sft_run), str(sft_policy), small(max_tokens=10), tmp_path / "none")


def test_gradient_checkpointing_changes_no_loss(sft_run: Path, sft_policy: Path, tmp_path: Path) -> None:
    still = {"trainable": {"language_model": "full", "vision_tower": True, "lm_head": True}, "max_steps": 2}
    train_sft(str(sft_run), str(sft_policy), small(**still), tmp_path / "plain")
    train_sft(str(sft_run), str(sft_policy), small(**still, gradient_checkpointing=True), tmp_path / "checkpointed")
    for plain, saved in zip(figures(tmp_path / "plain"), figures(tmp_path / "checkpointed"), strict=True):
        assert saved == pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_a_loss_that_is_no_number_ends_the_training(sft_run: Path, sft_policy: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"is not a number.*lower learning rate"):
        train_sft(
            str(sft_run), str(sft_policy), small(optimiser={"lr": 1e30, "warmup": 0, "clip": 1e30}), tmp_path / "out"
        )


def test_common_words_weigh_one_and_content_more(sft_run: Path, sft_policy: Path) -> None:
    from vtscot.policy.processor import PolicyProcessor
    from vtscot.sft.encoding import Encoder
    from vtscot.sft.examples import open_examples
    from vtscot.sft.train import content_weights

    processor = PolicyProcessor.from_pretrained(sft_policy)
    encoder = Encoder(open_examples(str(sft_run)), processor, 64, 64)
    weights = content_weights(encoder, range(len(encoder)), len(processor.tokenizer), 4.0)
    assert weights is not None
    assert weights[processor.seg_id] == weights[processor.message_end_id] == 1
    said = encoder.sample(0).encoded
    words = said.labels[said.labels >= 0]
    assert set(weights[words].tolist()) == {1.0, 4.0}
    assert content_weights(encoder, range(len(encoder)), len(processor.tokenizer), 1.0) is None
