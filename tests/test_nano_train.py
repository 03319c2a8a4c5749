"""The training of nano: a short one goes through every level, alone and in two processes, and goes on after a stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

from tests.nano import SHORT
from vtscot.budget import PRESETS
from vtscot.errors import UsageError
from vtscot.policy.load import NANO_FOLDER, load_policy
from vtscot.policy.processor import PolicyProcessor
from vtscot.sft.nano.curves import write_curves
from vtscot.sft.nano.settings import load_settings
from vtscot.sft.nano.train import make_worlds, train


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano") / "worlds"
    make_worlds(SHORT, folder, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def processor() -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(NANO_FOLDER)


def test_a_short_training_passes_every_level_and_goes_on_after_a_stop(
    worlds: Path, processor: PolicyProcessor, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for out in (whole, parts):
        shutil.copytree(worlds, out / "worlds")
        processor.save_pretrained(out / "tokenizer")
    folder = train(SHORT, whole, lambda _: None)
    with pytest.raises(InterruptedError):
        train(SHORT, parts, _stop_at("masks"))
    assert train(SHORT, parts, lambda _: None) == parts / "nano"
    assert (folder / "model.safetensors").read_bytes() == (parts / "nano" / "model.safetensors").read_bytes()
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert {row["level"] for row in rows} == {"sam", "vision", "all", "reading", "masks", "tracking"}
    assert "measured" in rows[-1]
    assert (whole / "curves.svg").read_text().startswith("<svg")
    policy, _ = load_policy(folder)
    assert policy.config.budget == PRESETS["tiny"].model_dump(mode="json")


def test_steps_that_are_made_again_after_a_stop_are_drawn_once(tmp_path: Path) -> None:
    rows = [{"level": "all", "step": step, "text": 100 / step} for step in (50, 100, 150)]
    drawn = []
    for name, log in (("whole", rows), ("stopped", [rows[0], rows[1] | {"text": 9.0}, *rows[1:]])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in log))
        write_curves(tmp_path / name, tmp_path / f"{name}.svg")
        drawn.append((tmp_path / f"{name}.svg").read_text())
    assert drawn[0] == drawn[1]


def test_the_curves_show_where_each_level_starts_and_break_where_one_lacks_the_term(tmp_path: Path) -> None:
    terms = {"easy": "text", "mixed": "text", "reading": "reads", "between": "text"}
    rows = [{"level": name, "step": step, term: 1.0} for name, term in terms.items() for step in (50, 100)]
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_curves(tmp_path / "log", tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "easy 0, mixed 100, reading 200, between 300; end 400." in drawn
    assert drawn.count("stroke:#ddd") == 2 * 3
    assert 'd="M45.0,0.0L90.0,0.0L135.0,0.0L180.0,0.0M315.0,0.0L360.0,0.0"' in drawn
    assert 'd="M225.0,0.0L270.0,0.0"' in drawn


TWO = """
import json, sys
from pathlib import Path
import torch
from torch import distributed
from vtscot.sft.nano.settings import load_settings
from vtscot.sft.nano.share import open_share
from vtscot.sft.nano.train import Run, train

torch.set_num_threads(1)
ends = []
go = Run.go
def kept(run):
    go(run)
    ends.append(sum(p.detach().double().sum() for p in run.warm.parameters()))
Run.go = kept
with open_share() as share:
    both, mine, none = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.full((2,), 1.0 + 2 * share.rank)
    mine.grad = torch.ones(2) if share.first else None
    share.average([both, mine, none])
    means = [both.grad.tolist(), mine.grad.tolist(), none.grad]
    train(load_settings(Path(sys.argv[1])), Path(sys.argv[2]), lambda _: None, 1, share)
    sums = [torch.zeros(1, dtype=torch.float64) for _ in range(share.size)]
    distributed.all_gather(sums, ends[0].reshape(1))
    if share.first:
        Path(sys.argv[3]).write_text(json.dumps([means, [float(s) for s in sums]]))
"""


def test_two_processes_average_their_steps_and_end_with_the_same_weights(
    worlds: Path, processor: PolicyProcessor, tmp_path: Path
) -> None:
    script, recipe, out, told = (tmp_path / name for name in ("two.py", "short.yaml", "out", "told.json"))
    script.write_text(TWO)
    recipe.write_text(json.dumps(SHORT.model_dump(mode="json")))
    shutil.copytree(worlds, out / "worlds")
    processor.save_pretrained(out / "tokenizer")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    ended = subprocess.run(
        [*launch, str(recipe), str(out), str(told)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    means, sums = json.loads(told.read_text())
    assert means == [[2.0, 2.0], [0.5, 0.5], None]
    assert sums[0] == sums[1]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len([row for row in rows if row["level"] == "masks" and "measured" in row]) == 1
    assert (out / "nano" / "model.safetensors").is_file()


def _stop_at(level: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        if f'"{level}"' in line:
            raise InterruptedError(line)

    return say


def test_the_shipped_recipe_is_valid_and_a_wrong_one_names_what_is_wrong(tmp_path: Path) -> None:
    recipe = Path(__file__).resolve().parents[1] / "pipelines" / "nano.yaml"
    assert load_settings(recipe).sizes.head == 32
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("levls: []\n")
    with pytest.raises(UsageError, match=r"wrong\.yaml"):
        load_settings(wrong)
