"""The speedrun of the reinforcement stage: its commands, and what it says over the seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import importlib

    found = importlib.import_module("speedrun_rl")
    yield found
    for name in ("speedrun_rl", "speedrun", "_reach", "_speedrun_page"):
        sys.modules.pop(name, None)


def seed(sft: float, calibrated: float) -> dict[str, Any]:
    figures = {"J&F": 0.5, "keyframe_hit": 0.5, "window_iou": 0.5, "mean_rounds": 2.0}
    return {
        "constant": {"keyframe_hit": 0.6, "window_iou": 0.7},
        "sft": {**figures, "reward": sft},
        "plain": {**figures, "reward": sft},
        "calibrated": {**figures, "reward": calibrated},
    }


def test_trainings_differ_in_the_calibration_alone(bench: Any, tmp_path: Path) -> None:
    plain, calibrated = bench.trainings(tmp_path, 1, 60, ["points=8"])
    assert [a for a in plain.line if a not in calibrated.line] == [str(tmp_path / "rl/plain"), "calibration.weight=0.0"]
    for name in bench.POLICIES:
        step = bench.scoring(tmp_path, name, 200)
        assert "valid_u" in step.line
        assert "200" in step.line
        assert str(bench.policy_of(tmp_path, name)) in step.line


def test_the_cold_start_is_the_one_that_the_speedrun_makes(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import speedrun  # the bench beside it

    asked: list[Any] = []
    monkeypatch.setattr(bench, "seed_of", lambda plan, *rest: asked.append(plan) or seed(1.0, 1.5))
    monkeypatch.setattr(sys, "argv", ["speedrun_rl.py", "--seeds", "0"])
    bench.main()
    assert asked == [speedrun.plan_of(speedrun.options_of([]))]


def test_minutes_add_up_over_the_calls_that_a_seed_took_failed_ones_too(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter((0.0, 60.0, 100.0, 190.0))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(now))
    kept = tmp_path / "rl" / "minutes.json"
    with pytest.raises(SystemExit), bench._minutes(kept):
        raise SystemExit("failed")
    with bench._minutes(kept) as spent:
        pass
    assert spent == {"minutes": 2.5}


def test_a_gain_counts_from_two_standard_errors_on(bench: Any) -> None:
    sure = [seed(1.0, 1.5), seed(1.1, 1.7), seed(0.9, 1.4)]
    assert bench.above(sure, "reward")["held"]
    assert not bench.above([seed(1.0, 1.5), seed(1.1, 0.9), seed(1.0, 1.1)], "reward")["held"]
    assert not bench.above(sure[:1], "reward")["held"]
    lines = bench.table(bench.rows(sure), [bench.above(sure, "reward")])
    assert lines[1].startswith("constant")
    assert "-" in lines[1]
    assert lines[-1].endswith("held")
