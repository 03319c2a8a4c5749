"""`vtscot train rl` as it is called: every shipped recipe, the dry run, an interruption, and several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("trl", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")


from tests.cli import vtscot
from tests.rl import SMALL
from tests.training import wait_for, write_recipe
from vtscot.policy.load import load_policy
from vtscot.rl.recipe import shipped
from vtscot.training.metrics import read_metrics


def words(policy: Path, root: Path, recipe: object, out: Path) -> list[str]:
    """The command line of a training about the demo."""
    data = ["--data", "demo", "--root", root, "--split", "train", "--model", policy, "--device", "cpu"]
    return [str(word) for word in ("train", "rl", *data, "--recipe", recipe, "--out", out)]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_trains(name: str, speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    """One step of the recipe as it is shipped, but for its sizes, what the policy is shown, and bf16 on a CPU."""
    sets = ["max_steps=1", "group.prompts=2", "group.size=2", "group.per_device=2", "points=64", "precision=fp32"]
    sets += [f"budget={json.dumps(SMALL['budget'])}"]
    flags = [word for key in sets for word in ("--set", key)]
    ended = vtscot(*words(speaking_policy_folder, demo_root, name, tmp_path / "out"), *flags, "--json", timeout=600)
    assert ended.code == 0, ended.err
    told = ended.json()
    assert told["steps"] == 1
    assert told["trained"]["language_model"] > 0
    load_policy(told["policy"], "cpu")
    (line,) = read_metrics(tmp_path / "out")
    assert line["episodes"] == 4


def test_a_dry_run_says_what_a_step_is_and_writes_nothing(
    speaking_policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", SMALL)
    line = words(speaking_policy_folder, demo_root, recipe, tmp_path / "out")
    ended = vtscot(*line, "--dry-run", "--json", timeout=600)
    assert ended.code == 0, ended.err
    found = ended.json()
    assert found["shapes"]["step"] == [2, 3]
    assert found["bytes"]["in all"] == sum(size for name, size in found["bytes"].items() if name != "in all")
    assert found["rollout"]
    assert "reward" not in found["earned"] and "format" in found["earned"]
    assert not (tmp_path / "out").exists()


def test_an_interruption_saves_and_prints_the_command_that_goes_on(
    speaking_policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    recipe, out = write_recipe(tmp_path / "long.yaml", SMALL, max_steps=400, save_every=1000), tmp_path / "out"
    command = [sys.executable, "-m", "vtscot", *words(speaking_policy_folder, demo_root, recipe, out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(out / "metrics.jsonl", process, 1)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=400)
    assert process.returncode == 130, complaint
    last = complaint.strip().splitlines()[-1]
    assert last.startswith("vtscot: interrupted; go on with: vtscot train rl --data")
    assert last.endswith("--resume")
    (saved,) = (out / "checkpoints").iterdir()
    assert saved.name == f"checkpoint-{len(read_metrics(out))}"


def test_two_processes_have_the_losses_of_one(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    """A group in each of two processes (gloo, on a CPU) against one process that accumulates both."""
    recipe = write_recipe(tmp_path / "two.yaml", SMALL, max_steps=2, mask_loss=0.0, page_every=0)
    alone = vtscot(*words(speaking_policy_folder, demo_root, recipe, tmp_path / "one"), timeout=600)
    assert alone.code == 0, alone.err
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "vtscot"]
    ended = subprocess.run(
        [*launch, *words(speaking_policy_folder, demo_root, recipe, tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    one, two = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(one) == len(two) == 2
    for left, right in zip(one, two, strict=True):
        for name in ("episodes", "reward", "zero_spread", "loss", "grad_norm", "turns", "tokens"):
            assert right[name] == pytest.approx(left[name], rel=1e-3, abs=1e-5), name
