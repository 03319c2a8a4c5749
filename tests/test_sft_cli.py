"""`vtscot train sft` as it is called: what it prints, and how it is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("accelerate", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch

from tests.sft import SMALL
from tests.training import wait_for, write_recipe
from vtscot.cli.main import run
from vtscot.policy.load import load_policy
from vtscot.sft.recipe import shipped
from vtscot.training.metrics import read_metrics


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_trains(
    name: str, sft_run: Path, sft_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step of the recipe as it is shipped, but for its length and the size of its batch."""
    arguments = ["--data", sft_run, "--model", sft_policy, "--recipe", name, "--out", tmp_path / "out", "--json"]
    sets = ["max_steps=1", "batch.effective=2", "batch.per_device=1", "loader_workers=1", "losses.points=64"]
    flags = [flag for key in sets for flag in ("--set", key)]
    code = run(["train", "sft", *map(str, arguments), *flags, "--device", "cpu"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    told = json.loads(printed.out)
    assert told["steps"] == 1
    assert told["trained"].get("language_model", 0) > 0
    policy, _ = load_policy(told["policy"], "cpu")
    assert (policy.config.lora is None) == (name == "sft_tiny")
    assert "<svg" in Path(told["report"]).read_text()


def test_an_interruption_saves_and_prints_the_command_that_goes_on(
    sft_run: Path, sft_policy: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "long.yaml", SMALL, max_steps=400, save_every=1000)
    out = tmp_path / "out"
    words = ["train", "sft", "--data", sft_run, "--model", sft_policy, "--recipe", recipe, "--out", out]
    command = [sys.executable, "-m", "vtscot", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(out / "metrics.jsonl", process, 2)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=240)
    assert process.returncode == 130, complaint
    last = complaint.strip().splitlines()[-1]
    assert last.startswith("vtscot: interrupted; go on with: vtscot train sft --data")
    assert last.endswith("--resume")
    (saved,) = (out / "checkpoints").iterdir()
    done = len(read_metrics(out))
    assert saved.name == f"checkpoint-{done}"
    assert (out / "report.html").is_file()
    assert not json.loads((out / "training.json").read_text())["finished"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--set", "optimiser.rate=1"], 2, "pipelines/sft_tiny.yaml: optimiser.rate: Extra inputs"),
        (["--recipe", "none"], 2, "there is no recipe none"),
        (["--data", "no/such/thing/here"], 1, "is no run, no dataset's folder and no id of the Hub"),
        (["--model", "no/such/policy/here"], 1, "no config of a policy"),
        (["--device", "toaster"], 2, "no device 'toaster'"),
        (["--report-to", "papyrus"], 2, "report_to.0: Input should be"),
        (["--report-to", "wandb"], 2, "wandb is not installed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_with_the_way_out(
    arguments: list[str],
    code: int,
    complaint: str,
    sft_run: Path,
    sft_policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"--data": str(sft_run), "--model": str(sft_policy), "--out": str(tmp_path / "out")}
    rest = [word for name, value in given.items() if name not in arguments for word in (name, value)]
    assert run(["train", "sft", *rest, *arguments]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("vtscot: ")
    assert complaint in last
    assert not (tmp_path / "out").exists()
