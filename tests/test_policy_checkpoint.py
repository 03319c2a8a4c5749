"""Checkpoints of a policy: what is saved is loaded again, bad ones are refused, a failed save costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the policy needs the extra `train`")
pytest.importorskip("transformers", reason="the policy needs the extra `train`")
pytest.importorskip("peft", reason="the policy needs the extra `train`")

import torch
from pydantic import ValidationError

from tests.policies import pickled
from tests.policy_inputs import TEXTS, inputs
from vtscot.errors import PolicyError
from vtscot.policy.init import init_tiny
from vtscot.policy.lora import merge_lora
from vtscot.policy.model import Policy
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.settings import LoraSettings, TinySettings, TrainableSettings
from vtscot.policy.trainable import trainable

LORA = TrainableSettings(lora=LoraSettings(r=4, alpha=8))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def policy(tiny_policy_folder: Path) -> Any:
    return Policy.from_pretrained(tiny_policy_folder)


@pytest.fixture(scope="module")
def processor(tiny_policy_folder: Path) -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(tiny_policy_folder)


def test_saved_and_loaded_gives_the_same_bits(policy: Any, processor: PolicyProcessor, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path)
    again = Policy.from_pretrained(tmp_path)
    batch = inputs(policy, processor)
    for name, value in policy(**batch).items():
        assert torch.equal(value, again(**batch)[name]), name


def test_adapters_are_saved_loaded_and_merged(policy: Any, processor: PolicyProcessor, tmp_path: Path) -> None:
    trainable(policy, LORA)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.02)
    policy.save_pretrained(tmp_path)
    again = Policy.from_pretrained(tmp_path)
    batch = inputs(policy, processor)
    adapted = policy(**batch)
    assert torch.equal(again(**batch).logits, adapted.logits)
    trainable(again, LORA)  # going on keeps them
    assert torch.equal(again(**batch).logits, adapted.logits)
    merge_lora(again)
    assert not any("lora_" in name for name, _ in again.named_parameters())
    torch.testing.assert_close(again(**batch).logits, adapted.logits, atol=1e-4, rtol=1e-4)
    again.save_pretrained(tmp_path / "merged")
    assert torch.equal(Policy.from_pretrained(tmp_path / "merged")(**batch).logits, again(**batch).logits)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def without_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["projector.layers.0.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "no config of a policy can be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (pickled, "pickle"),
        (cut, "cannot be loaded"),
        (without_a_tensor, "1 tensors are missing, projector.layers.0.weight"),
        (sharded, "model-00001-of-00002.safetensors"),
        (lambda folder: edit(folder, model_type="qwen3_vl"), "init-policy"),
        (lambda folder: edit(folder, format_version=99), "format 99"),
        (lambda folder: edit(folder, seg_token_id=None), r"no \[SEG\]"),
        (lambda folder: edit(folder, projector_hidden=7), "cannot be loaded"),
    ],
    ids=[
        "no config",
        "broken config",
        "no weights",
        "pickle weights",
        "cut weights",
        "a missing tensor",
        "a missing shard",
        "a plain Qwen",
        "another format",
        "no [SEG]",
        "other sizes",
    ],
)
def test_bad_checkpoints_are_refused_in_one_line(policy: Any, tmp_path: Path, spoil: Any, said: str) -> None:
    policy.save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(PolicyError, match=said) as caught:
        Policy.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="nowhere"):
        Policy.from_pretrained(tmp_path / "nowhere", local_files_only=True)


def test_a_failed_save_leaves_the_old_checkpoint(policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    from transformers import modeling_utils

    policy.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: Any, filename: Any, **kwargs: Any) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(modeling_utils, "safe_save_file", full)
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        policy.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_save_over_shards_leaves_one_set_of_weights(policy: Any, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path, max_shard_size="1MB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    (tmp_path / "tokenizer.json").write_text("{}")
    policy.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    Policy.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "sizes", [{"hidden": 72}, {"sam_size": 100}, {"sam_hidden": 96}], ids=["head", "side", "width"]
)
def test_tiny_sizes_that_cannot_be_built_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="multiple"):
        TinySettings(**sizes)


def test_larger_tiny_sizes_can_be_built(tmp_path: Path) -> None:
    sizes = TinySettings(hidden=96, layers=3, vision_hidden=48, vision_heads=3, patch=8, sam_size=64, sam_encoder=8)
    policy = init_tiny(tmp_path, 1, TEXTS, sizes)
    out = policy(**inputs(policy, PolicyProcessor.from_pretrained(tmp_path)))
    assert out.mask_logits.shape == (4, 16, 16)
