"""The speedrun: what it holds against what, steps that are not repeated, and a short run from data to report."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench._reach import over_seeds, reach
from tests.browser import chromium, find_chromium
from vtscot.policy.load import NANO_FOLDER

BENCH = Path(__file__).resolve().parents[1] / "bench"


def mean(value: float | None) -> dict[str, Any]:
    return {"mean": value, "se": None, "n": 1}


def figures(**changes: float | None) -> dict[str, Any]:
    """The figures of a seed that holds every line."""
    good = {
        "answered": 0.99,
        "keyframe_hit_short_lived": 0.9,
        "window_iou": 0.8,
        "decoded_iou": 0.6,
        "decoded_iou_visible": 0.5,
    }
    policy: dict[str, float | None] = {**good, "absent_empty": 0.9, **changes}
    baselines = {
        "keyframe_hit_short_lived": mean(0.7),
        "window_iou": mean(0.75),
        "largest_box": {"middle": mean(0.3), "decoded": mean(0.3), "decoded_visible": mean(0.2)},
    }
    return {"policy": {name: mean(value) for name, value in policy.items()}, "baselines": baselines, "minutes": 12.0}


def held(rows: list[dict[str, Any]]) -> dict[str, bool | None]:
    return {row["name"].split()[0]: row["held"] for row in rows}


def test_a_run_that_reaches_everything_holds_every_line() -> None:
    rows = reach([figures(), figures()])
    assert set(held(rows).values()) == {True}
    assert rows[1]["needed"] == pytest.approx(0.8)
    assert rows[3]["needed"] == pytest.approx(0.45)
    assert rows[-1]["measured"]["mean"] == 12.0


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("episodes", {"answered": 0.94}),
        ("keyframe", {"keyframe_hit_short_lived": 0.79}),
        ("window", {"window_iou": 0.75}),  # equal is not above
        ("mask", {"decoded_iou": 0.44}),
        ("the", {"decoded_iou_visible": 0.29}),
        ("absent", {"absent_empty": 0.79}),
    ],
)
def test_what_falls_short_is_told_and_nothing_else(line: str, changes: dict[str, float]) -> None:
    found = held(reach([figures(**changes)]))
    assert [name for name, holds in found.items() if not holds] == [line]


def test_time_is_a_line_too() -> None:
    assert held(reach([figures() | {"minutes": 15.0}]))["minutes"] is False


def test_means_over_seeds_decide() -> None:
    rows = reach([figures(absent_empty=0.7), figures(absent_empty=0.95)])
    absent = next(row for row in rows if row["name"].startswith("absent"))
    assert absent["measured"]["mean"] == pytest.approx(0.825)
    assert absent["measured"]["se"] == pytest.approx(0.125)
    assert absent["each"] == [0.7, 0.95]
    assert absent["held"] is True


def test_a_figure_that_nobody_asked_for_holds_nothing() -> None:
    assert held(reach([figures(absent_empty=None)]))["absent"] is None
    assert over_seeds([None]) == {"mean": None, "se": None}
    assert over_seeds([0.5, None])["se"] is None


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    out = tmp_path_factory.mktemp("speedrun")
    ended = speedrun(out)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result == json.loads((out / "speedrun.json").read_text())
    return out


def speedrun(out: Path, *more: str, bench: str = "speedrun") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(BENCH / f"{bench}.py"), "--quick", "--json", "--out", str(out), *more]
    return subprocess.run(
        line, capture_output=True, text=True, cwd=out, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )


def test_a_short_run_goes_from_data_to_figures(ran: Path) -> None:
    result = json.loads((ran / "speedrun.json").read_text())
    (seed,) = result["each"]
    assert seed["queries"] == seed["policy"]["episodes"] == 6
    assert set(seed["seconds"]) == {"build", "train", "eval"}
    assert all(seconds > 0 for seconds in seed["seconds"].values())
    assert len((ran / "seed-0" / "policy" / "metrics.jsonl").read_text().splitlines()) == 4
    assert {row["name"] for row in result["reach"]} >= {"window IoU", "absent targets left empty"}
    assert "of the largest object" in (ran / "speedrun.html").read_text()


def test_finished_steps_are_not_repeated(ran: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (ran / "seed-0").glob("*.json")}
    before = {path: path.stat().st_mtime_ns for path in (ran / "seed-0" / "log").iterdir()}
    again = speedrun(ran)
    assert again.returncode == 0, again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (ran / "seed-0" / "log").iterdir()}
    for name in ("build", "train", "eval"):
        assert (ran / "seed-0" / f"{name}.json").stat().st_mtime_ns == stamps[ran / "seed-0" / f"{name}.json"]


def test_reinforcement_goes_on_from_the_cold_start_that_is_there(ran: Path) -> None:
    names = ("build", "train", "eval")
    before = {name: (ran / "seed-0" / f"{name}.json").stat().st_mtime_ns for name in names}
    ended = speedrun(ran, bench="speedrun_rl")
    assert ended.returncode == 0, ended.stderr
    assert before == {name: (ran / "seed-0" / f"{name}.json").stat().st_mtime_ns for name in names}
    result = json.loads(ended.stdout)
    assert [row["way"] for row in result["rows"]] == ["constant", "sft", "plain", "calibrated"]
    (seed,) = result["each"]
    for way in ("sft", "plain", "calibrated"):
        assert seed[way]["queries"] == 6
        assert 0 <= seed[way]["J&F"] <= 1


def test_another_plan_needs_another_folder(ran: Path) -> None:
    ended = speedrun(ran, "--set", "optimiser.lr=1")
    assert ended.returncode == 1
    assert "train.json is of another command" in ended.stderr


def test_another_policy_of_the_same_name_needs_another_folder(ran: Path) -> None:
    stamp = ran / "seed-0" / "train.json"
    made, digest = stamp.read_text(), hashlib.sha256()
    for name in ("config", "model", "processor_config", "tokenizer", "tokenizer_config"):
        digest.update((NANO_FOLDER / f"{name}.{'safetensors' if name == 'model' else 'json'}").read_bytes())
    now = digest.hexdigest()[:16]
    assert json.loads(made)["base"] == now
    stamp.write_text(made.replace(now, "0" * 16))
    ended = speedrun(ran)
    stamp.write_text(made)
    assert ended.returncode == 1
    assert "train.json is of another command, or of another policy" in ended.stderr


def test_a_step_that_fails_says_what_it_said(tmp_path: Path) -> None:
    ended = speedrun(tmp_path, "--set-build", "source.videso=1")
    assert ended.returncode == 1
    assert "source.videso" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_report_opens(ran: Path, tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium")
    with chromium(program) as page:
        page.open((ran / "speedrun.html").as_uri())
        assert page.run("document.querySelectorAll('.curve').length") >= 4
        assert page.run("document.querySelectorAll('tbody tr').length") > 20
        assert page.run("document.documentElement.scrollWidth <= innerWidth + 1")
        assert page.errors == []
