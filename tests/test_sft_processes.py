"""The cold start in several processes: DDP, FSDP 2 and ZeRO 3 on a CPU (gloo) have the losses of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("accelerate", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch
from safetensors.torch import load_file

from tests.cli import vtscot
from tests.sft import SMALL
from tests.training import write_recipe
from vtscot.training.metrics import read_metrics

CONFIGS = Path(__file__).resolve().parents[1] / "pipelines" / "accelerate"
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
FIGURES = ("loss", "lm", "bce", "dice", "object", "accuracy", "grad_norm", "lr", "tokens")


@pytest.fixture(scope="module")
def words(sft_run: Path, sft_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, but for --out: two steps, whose batches can be shared out."""
    still = {"trainable": {**SMALL["trainable"], "lora": {"r": 4, "alpha": 8, "dropout": 0.0}}, "max_steps": 2}
    recipe = write_recipe(tmp_path_factory.mktemp("recipe") / "still.yaml", SMALL, **still, save_every=1)
    given = ["--data", sft_run, "--model", sft_policy, "--recipe", recipe, "--device", "cpu"]
    return ["train", "sft", *map(str, given)]


@pytest.fixture(scope="module")
def alone(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves that accumulates both batches of a step."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone") / "out"
    ended = vtscot(*words, "--out", out)
    assert ended.code == 0, ended.err
    return out


def launched(module: str, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in two processes."""
    given = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [*LAUNCH, module, *words], capture_output=True, text=True, timeout=400, check=False, env=given
    )


def check_alike(one: Path, other: Path) -> None:
    """The same figures of every step, and the same policy."""
    left, right = read_metrics(one), read_metrics(other)
    assert len(left) == len(right) == 2
    for row, same in zip(left, right, strict=True):
        for name in FIGURES:
            assert same[name] == pytest.approx(row[name], rel=1e-4, abs=1e-6), name
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-3, atol=1e-5)


def test_two_processes_have_the_losses_of_one(alone: Path, words: list[str], tmp_path: Path) -> None:
    ended = launched("vtscot", [*words, "--out", str(tmp_path / "two")])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "x 2 (at once x accumulated x processes)" in ended.stderr
    assert ended.stdout.count("policy ") == 1  # one process speaks
    check_alike(alone, tmp_path / "two")


@pytest.mark.parametrize("way", ["fsdp", "zero3"])
def test_two_processes_that_share_out_the_weights_go_on_after_a_power_cut(
    way: str, alone: Path, words: list[str], tmp_path: Path
) -> None:
    """With the shipped config. A parameter that no loss reaches is among the trained ones."""
    if way == "zero3":
        pytest.importorskip("deepspeed", reason="ZeRO needs DeepSpeed: pip install deepspeed")
    out = ["--out", str(tmp_path / "shards")]
    cut = launched("tests.sharded", [*words, *out], SHARDED_BY=way, DIE_AT="2")
    assert cut.returncode != 0
    (checkpoint,) = (tmp_path / "shards" / "checkpoints").iterdir()
    assert checkpoint.name == "checkpoint-1"
    if way == "zero3":
        assert len(list(checkpoint.glob("global_step1/zero_pp_rank_*_model_states.pt"))) == 2  # each has a share
    ended = launched("tests.sharded", [*words, *out, "--resume"], SHARDED_BY=way)
    assert ended.returncode == 0, ended.stderr[-3000:]
    check_alike(alone, tmp_path / "shards")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_accelerates(path: Path) -> None:
    from accelerate.commands.config.config_args import ClusterConfig

    config: Any = ClusterConfig.from_yaml_file(str(path))
    kinds = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}
    assert config.distributed_type == kinds[path.stem]
    assert config.mixed_precision == "bf16"
    if path.stem == "fsdp":
        from transformers.models.qwen3_vl import modeling_qwen3_vl

        wrapped = config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(",")
        assert all(hasattr(modeling_qwen3_vl, name) for name in wrapped)
