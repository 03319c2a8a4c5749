"""The command line as a user meets it: real commands, real input, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import vtscot as package
from tests.cli import vtscot
from vtscot.ledger import Ledger
from vtscot.records import Plan

# What a shell starts in the background ignores SIGINT, and so would all that it starts; a terminal's commands do not.
IN_A_TERMINAL = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vtscot.cli import main; main()"
)
FAST = ("--set", "workers=1")


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small demo build: the run directory and what `--json` printed."""
    run = tmp_path_factory.mktemp("cli") / "run"
    ended = vtscot("build", "--run", run, "--set", "source.videos=4", "--json")
    assert ended.code == 0, ended.err
    return run, ended.json()


def test_version() -> None:
    assert vtscot("--version").out.strip() == f"vtscot {package.__version__}"


def test_build_says_what_came_out(demo_run: tuple[Path, dict[str, Any]]) -> None:
    run, figures = demo_run
    assert figures["queries"] == sum(figures[s] for s in ("kept", "rejected", "failed", "skipped")) > 15
    assert figures["kept"] > figures["queries"] / 2
    assert sum(figures["reasons"].values()) == figures["queries"] - figures["kept"]
    assert sum(figures["turns"].values()) == figures["kept"]
    assert {"index", "mine", "trace", "verify", "publish"} <= figures["seconds"].keys()
    assert Path(figures["run"]) == run
    assert Path(figures["report"]).is_file()
    assert (Path(figures["dataset"]) / "README.md").is_file()


def test_a_second_build_has_nothing_to_do(demo_run: tuple[Path, dict[str, Any]]) -> None:
    run, figures = demo_run
    before = {path: path.read_bytes() for path in Path(figures["dataset"]).rglob("*") if path.is_file()}
    again = vtscot("build", "--run", run, "--set", "source.videos=4", "--json")
    assert again.code == 0, again.err
    assert f"{figures['queries']} of {figures['queries']} queries are settled already" in again.err
    changed = {key for key in figures if key != "seconds" and figures[key] != again.json()[key]}
    assert not changed
    assert {path: path.read_bytes() for path in before} == before


def test_other_settings_are_refused_with_the_difference(demo_run: tuple[Path, dict[str, Any]]) -> None:
    run, _ = demo_run
    ended = vtscot("build", "--run", run, "--set", "source.videos=4", "--set", "verify.min_iou=0.99", "--seed", "7")
    assert ended.code == 1
    assert "verify.min_iou: " in ended.complaint
    assert "seed: 0 -> 7" in ended.complaint
    assert "--run" in ended.complaint


def test_two_runs_and_any_number_of_workers_give_the_same_dataset(
    demo_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = demo_run
    ended = vtscot("build", "--run", tmp_path / "other", "--set", "source.videos=4", *FAST)
    assert ended.code == 0, ended.err
    files = sorted(p.relative_to(run / "dataset") for p in (run / "dataset").rglob("*") if p.is_file())
    assert files
    for file in files:
        assert (tmp_path / "other" / "dataset" / file).read_bytes() == (run / "dataset" / file).read_bytes(), file


def test_the_dataset_loads(demo_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    from datasets import load_dataset

    _, figures = demo_run
    rows = load_dataset(figures["dataset"], cache_dir=str(tmp_path))["train"]
    assert len(rows) == figures["kept"]
    row = rows[0]
    places = sum(part["type"] == "image" for message in row["messages"] for part in message["content"])
    assert places == len(row["images"]) > 0
    assert row["images"][0].size[0] > 0


def test_mine_prints_one_plan_a_line(demo_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, _ = demo_run
    tree = run / "source"
    printed = vtscot("mine", "--source", "mevis", "--root", tree, "--run", tmp_path / "a", "--limit", "5")
    assert printed.code == 0, printed.err
    plans = [Plan.model_validate_json(line) for line in printed.out.splitlines()]
    assert len(plans) == 5
    out = tmp_path / "plans.jsonl"
    written = vtscot("mine", "--source", "mevis", "--root", tree, "--run", tmp_path / "b", "--limit", "5", "--out", out)
    assert written.code == 0, written.err
    assert out.read_text() == printed.out


def test_index_counts_queries_and_faults(demo_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, figures = demo_run
    ended = vtscot("index", "--source", "mevis", "--root", run / "source", "--run", tmp_path / "r", "--json")
    assert ended.code == 0, ended.err
    found = ended.json()
    assert found["queries"] + sum(found["skipped"].values()) == figures["queries"]


def test_dry_run_sends_and_writes_nothing(demo_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, figures = demo_run
    ended = vtscot(
        *("build", "--source", "mevis", "--root", run / "source", "--teacher", "openai", "--model", "any"),
        *("--base-url", "http://127.0.0.1:9/v1", "--dry-run", "--json"),
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err
    told = ended.json()
    assert told["queries"] + told["skipped"] == figures["queries"]
    turns = sum(int(n) * count for n, count in told["turns"].items())
    assert told["requests"] >= turns
    assert told["images"] > told["requests"]
    assert list(tmp_path.iterdir()) == []


def test_demo_data_is_a_mevis_tree(tmp_path: Path) -> None:
    ended = vtscot("demo-data", tmp_path / "world", "--videos", "4", "--seed", "3", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["videos"]
    split = tmp_path / "world" / "train"
    videos = json.loads((split / "meta_expressions.json").read_text())["videos"]
    assert len(videos) == 3
    assert all((split / "JPEGImages" / name / "00000.jpg").is_file() for name in videos)


def test_inspect_writes_the_report_again(demo_run: tuple[Path, dict[str, Any]]) -> None:
    run, _ = demo_run
    report = run / "report.html"
    before = report.read_bytes()
    report.unlink()
    ended = vtscot("inspect", run, "--no-open")
    assert ended.code == 0, ended.err
    assert Path(ended.out.strip()) == report
    # The time each stage took is said once, by the build that took it.
    assert abs(len(report.read_bytes()) - len(before)) < 2000


def test_a_run_is_opened_from_anywhere_and_follows_its_source(
    demo_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(demo_run[0] / "source", tree)
    arguments = ("--source", "mevis", "--root", "tree", "--run", "run", "--limit", "4")
    assert vtscot("build", *arguments, cwd=tmp_path).code == 0
    assert vtscot("inspect", tmp_path / "run", "--no-open").code == 0
    meta = tree / "train" / "meta_expressions.json"
    videos = json.loads(meta.read_text())["videos"]
    videos.pop(next(iter(videos)))
    meta.write_text(json.dumps({"videos": videos}))
    ended = vtscot("inspect", tmp_path / "run", "--no-open")
    assert ended.code == 0, ended.err
    assert "no longer in the source" in ended.err


def test_push_dry_run_shows_what_goes(demo_run: tuple[Path, dict[str, Any]]) -> None:
    run, _ = demo_run
    ended = vtscot("push", run, "--repo", "user/name", "--dry-run")
    assert ended.code == 0, ended.err
    assert ".parquet" in ended.err
    assert ended.err.rindex("README.md") > ended.err.rindex(".parquet")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        pytest.param(["build", "--source", "nosuch", "--root", "."], 2, "mevis, ", id="unknown source"),
        pytest.param(["build", "--source", "mevis"], 2, "needs --root", id="no root"),
        pytest.param(["build", "--source", "mevis", "--root", "absent"], 1, "absent", id="missing root"),
        pytest.param(["build", "--set", "verify.min_iuo=1"], 2, "verify.min_iuo", id="unknown key"),
        pytest.param(["build", "--teacher", "nobody"], 2, "teacher.name", id="unknown teacher"),
        pytest.param(["build", "--limit", "0"], 2, "--limit", id="limit 0"),
        pytest.param(["build", "--recipe", "absent.yaml"], 2, "absent.yaml", id="missing recipe"),
        pytest.param(["build", "--teacher", "openai"], 2, "--model", id="openai without model"),
        pytest.param(["build", "--bogus"], 2, "--bogus", id="unknown flag"),
        pytest.param(["inspect", "absent"], 1, "absent", id="inspect nothing"),
        pytest.param(["push", "absent", "--repo", "a/b"], 1, "absent", id="push nothing"),
        pytest.param(["push", "absent", "--repo", "name"], 2, "user/name", id="push without user"),
        pytest.param(["build", "--run", "/proc/none"], 1, "/proc/none", id="a run that cannot be made"),
        pytest.param(["demo-data", "x", "--videos", "0"], 2, "--videos", id="no videos"),
    ],
)
def test_mistakes_end_with_one_line_and_a_code(arguments: list[str], code: int, complaint: str, tmp_path: Path) -> None:
    ended = vtscot(*arguments, cwd=tmp_path)
    assert complaint in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert ended.code == code


def test_a_run_directory_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    ended = vtscot("build", "--run", tmp_path, "--set", "source.videos=1")
    assert ended.code == 1
    assert "is no run" in ended.complaint
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_build_goes_on_from_what_index_and_mine_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert vtscot("mine", "--run", run, "--set", "source.videos=1", "--limit", "1").code == 0
    ended = vtscot("build", "--run", run, "--set", "source.videos=1", "--limit", "1", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["queries"] == 1


def test_interrupted_build_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["build", "--run", str(run), "--set", "source.videos=8", "--set", "workers=1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:  # wait for the long stage, then for the first of its many outcomes
        if line.startswith("trace and verify"):
            break
    while process.poll() is None and not settled(run):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "go on with: vtscot build --run" in err
    done = settled(run)
    ended = vtscot(*command)
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert 0 < done < figures["queries"]
    assert f"{done} of {figures['queries']} queries are settled already" in ended.err
    assert figures["queries"] == figures["kept"] + figures["rejected"] + figures["failed"] + figures["skipped"]


def settled(run: Path) -> int:
    """How many outcomes the ledger of a run holds, while another process may be writing it."""
    with Ledger(run / "ledger.sqlite", read_only=True) as ledger:
        return sum(1 for _ in ledger.outcomes())


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    if not shutil.which("mount") or subprocess.run(["id", "-u"], capture_output=True, check=True).stdout != b"0\n":
        pytest.skip("a small file system can be mounted by root only")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.strip()}")
    try:
        ended = vtscot("build", "--run", small / "run", "--set", "source.videos=4")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert ended.code == 1
    assert "space" in ended.complaint.lower()
