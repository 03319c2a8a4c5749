"""Every bench runs: a short version of each, whose figures are JSON. What they reach is for `make bench`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import _released
from bench.__main__ import HERE, main, names

# Run by tests of their own, which look at the figures.
ELSEWHERE = {"campaign", "index", "speedrun", "speedrun_rl"}


def numbers(value: object) -> list[float]:
    """All numbers in a JSON value."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("name", [name for name in names() if name not in ELSEWHERE])
def test_a_short_version_runs(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), "--quick", "--json"],
        capture_output=True,
        text=True,
        cwd=HERE.parent,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        timeout=600,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stderr  # 1: a figure is not reached, as may be on a busy machine
    assert ended.stdout, ended.stderr
    assert len(numbers(json.loads(ended.stdout))) >= 3


@pytest.mark.parametrize(("shape", "billions"), [("2b", 2.13), ("4b", 4.44)])
def test_released_shapes_have_as_many_parameters_as_their_names_say(shape: str, billions: float) -> None:
    torch = pytest.importorskip("torch", reason="the policy needs the extra `train`")
    pytest.importorskip("transformers", reason="the policy needs the extra `train`")
    processor = SimpleNamespace(
        tokenizer=SimpleNamespace(convert_tokens_to_ids=lambda tokens: [1, 2]), image_token_id=3, video_token_id=4
    )
    with torch.device("meta"):  # shapes without memory
        counts = [
            sum(p.numel() for p in model.parameters()) for model in (_released._vlm(shape, processor), _released._sam())
        ]
    assert counts[0] == pytest.approx(billions * 1e9, rel=5e-3)
    assert counts[1] == pytest.approx(224.4e6, rel=1e-3)  # as SAM 2's authors give it


def test_all_are_run_by_one_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "startup"]) in (0, 1)
    assert "== startup" in capfd.readouterr().out
