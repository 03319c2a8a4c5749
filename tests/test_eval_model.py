"""`vtscot eval --model` with real (tiny) policies: predictions and episodes scored, resumed, limited, and refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

import torch

from tests.browser import chromium, find_chromium
from tests.cli import Ended
from tests.test_cli import IN_A_TERMINAL
from vtscot.cli.main import run
from vtscot.evaluation import read_truth
from vtscot.evaluation.episodes import MEASURES
from vtscot.policy import dataset_eval
from vtscot.policy.dataset_eval import choose, weights_digest
from vtscot.sources.registry import open_source

LIMIT = 5


def here(*arguments: str | Path) -> Ended:
    """`vtscot` in this process, which has torch already."""
    torch.set_num_threads(1)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def command(policy: Path, root: Path, out: Path, *more: str | Path) -> list[str]:
    where = ("--source", "demo", "--root", root, "--split", "valid_u")
    return ["eval", "--model", str(policy), *map(str, where), "--out", str(out), *map(str, more)]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


@contextmanager
def begun(arguments: list[str], out: Path, answers: int) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, when it has answered so many queries."""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 300
        while (
            not (out / "episodes.jsonl").is_file() or len((out / "episodes.jsonl").read_bytes().split(b"\n")) <= answers
        ):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.fixture(scope="module")
def done(speaking_policy_folder: Path, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """An evaluation of a few queries: where it is, and how it ended."""
    out = tmp_path_factory.mktemp("eval") / "out"
    ended = here(*command(speaking_policy_folder, demo_root, out, "--limit", LIMIT, "--json"))
    assert ended.code == 0, ended.err
    return out, ended


def test_scores_and_episodes_in_one_object(done: tuple[Path, Ended]) -> None:
    out, ended = done
    figures = ended.json()
    assert json.loads((out / "scores.json").read_text()) == figures
    assert (figures["source"], figures["split"], figures["expressions"]) == ("demo", "valid_u", LIMIT)
    episodes = figures["episodes"]
    assert {*MEASURES, "rounds", "mean_rounds", "kinds", "asked", "ended", "failed"} <= set(episodes)
    assert episodes["asked"] == episodes["episodes"] == sum(episodes["ended"].values()) == LIMIT
    assert sum(episodes["rounds"].values()) == LIMIT
    assert episodes["parsed"]["mean"] >= 0.5  # what it learned is half of the work of the tests here
    assert figures["policy"]["sampling"] == {"temperature": 0.0, "top_p": 1.0, "seed": 0}
    assert figures["policy"]["budget"]["max_turns"] == 3
    assert figures["missing"] == sum(line["masks"] is None for line in lines(out))


def test_a_line_says_all_about_an_answer(done: tuple[Path, Ended]) -> None:
    line = next(line for line in lines(done[0]) if line["end"] == "answered")
    assert len(line["replies"]) == len(line["episode"]["turns"]) == 2
    assert line["decoded"] == line["episode"]["turns"][0]["selection"]["keyframe"] == line["keyframe"]
    assert len(line["masks"]) == line["episode"]["num_frames"]
    assert line["masks"][line["decoded"]] == line["mask"]


def test_the_scores_are_those_of_the_predictions_alone(done: tuple[Path, Ended], demo_root: Path) -> None:
    """`--predictions` scores the whole split: what was not asked is missing there, and counts zero."""
    out, ended = done
    alone = here("eval", "--source", "demo", "--root", demo_root, "--predictions", out / "predictions.json", "--json")
    scored, whole = ended.json(), alone.json()
    count = whole["expressions"]
    assert whole["missing"] == count - LIMIT + scored["missing"]
    for name in ("J", "F", "J&F"):
        assert whole[name] == pytest.approx(scored[name] * LIMIT / count)


def test_the_csv_holds_the_episodes(done: tuple[Path, Ended]) -> None:
    head, *rows = (done[0] / "scores.csv").read_text().splitlines()
    assert head.endswith(
        "parsed,answered,rounds,keyframe_hit,decoded_hit,window_iou,decoded_iou,absent_empty,short_lived"
    )
    assert len(rows) == LIMIT


def test_the_page_shows_episodes_and_replies(done: tuple[Path, Ended]) -> None:
    page = (done[0] / "scores.html").read_text()
    assert "<h2>Episodes</h2>" in page
    assert "Turn 1: answers" in page
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here to open the page with")
    with chromium(program) as browser:
        browser.open((done[0] / "scores.html").as_uri())
        assert browser.run("document.querySelectorAll('svg[aria-label=\"Histogram of rounds\"] rect').length") >= 1
        assert browser.run("document.querySelectorAll('details.reply').length") >= 2
        assert not browser.errors


def test_the_page_shows_a_reply_that_does_not_parse_after_turns_that_do(
    done: tuple[Path, Ended], speaking_policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    broken = [
        one | {"replies": [*one["replies"], "<think>& so"], "error": "no end", "end": "unparsed"} for one in lines(out)
    ]
    assert all(one["episode"] for one in broken)
    (out / "episodes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in broken))
    ended = here(*command(speaking_policy_folder, demo_root, out, "--limit", LIMIT, "--resume"))
    assert ended.code == 0, ended.err
    page = (out / "scores.html").read_text()
    assert "does not parse" in page and "&lt;think&gt;&amp; so" in page and "no end" in page


def test_killed_and_resumed_gives_the_same_bytes(
    done: tuple[Path, Ended], speaking_policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = command(speaking_policy_folder, demo_root, out, "--limit", LIMIT, "--json")
    with begun(arguments, out, 2) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    answered = len(lines(out))
    assert 2 <= answered < LIMIT
    with (out / "episodes.jsonl").open("ab") as file:
        file.write(b'{"query_id": "demo/val')
    ended = here(*arguments, "--resume")
    assert ended.code == 0, ended.err
    assert f"line {answered + 1} was cut off" in ended.err
    assert f"{answered} of {LIMIT} queries are answered already" in ended.err
    for name in ("predictions.json", "scores.json", "scores.csv", "scores.html", "episodes.jsonl"):
        assert (out / name).read_bytes() == (done[0] / name).read_bytes(), name


def test_batches_are_full_whatever_the_videos(
    speaking_policy_folder: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last batch is smaller; queries about one video stand together, in the order of the file."""
    rolled: list[list[str]] = []

    def roll(policy: Any, processor: Any, asks: Any, *args: Any, **kwargs: Any) -> Any:
        rolled.append([ask.query_id for ask in asks])
        return rollouts(policy, processor, asks, *args, **kwargs)

    rollouts = dataset_eval.roll
    monkeypatch.setattr(dataset_eval, "roll", roll)
    more = ("--limit", LIMIT, "--episodes-only", "--batch-size", 4)
    assert here(*command(speaking_policy_folder, demo_root, tmp_path / "out", *map(str, more))).code == 0
    truth = read_truth(open_source("demo", demo_root, "valid_u"), tmp_path / "index")
    asked = [(video.id, query.id) for video, queries in choose(truth, LIMIT) for query in queries]
    assert rolled == [[name for _, name in asked[start : start + 4]] for start in range(0, LIMIT, 4)]
    assert any(len({video for video, _ in asked[start : start + 4]}) > 1 for start in range(0, LIMIT, 4))
    assert [line["query_id"] for line in lines(tmp_path / "out")] == [name for _, name in asked]


def test_an_interruption_tells_how_to_go_on(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with begun(command(speaking_policy_folder, demo_root, out), out, 1) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("vtscot: interrupted; go on with: vtscot eval --model")
    assert err.strip().endswith("--resume")


def test_what_is_there_is_neither_written_over_nor_mixed(
    done: tuple[Path, Ended], speaking_policy_folder: Path, tiny_policy_folder: Path, demo_root: Path
) -> None:
    before = (done[0] / "episodes.jsonl").read_bytes()
    again = here(*command(speaking_policy_folder, demo_root, done[0]))
    assert (again.code, "--resume" in again.complaint) == (2, True)
    hot = here(*command(speaking_policy_folder, demo_root, done[0], "--resume", "--temperature", "0.7"))
    assert (hot.code, "sampling.temperature: 0.0 -> 0.7" in hot.complaint) == (1, True)
    guided = here(*command(speaking_policy_folder, demo_root, done[0], "--resume", "--guided"))
    assert (guided.code, "sampling.guided: null -> true" in guided.complaint) == (1, True)
    other = here(*command(tiny_policy_folder, demo_root, done[0], "--resume", "--budget", "cold_start"))
    assert other.code == 1
    assert "weights: " in other.complaint
    assert "budget.temporal_frames: 3 -> 20" in other.complaint
    assert (done[0] / "episodes.jsonl").read_bytes() == before


def test_a_policy_that_never_parses_scores_zero(tiny_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    ended = here(*command(tiny_policy_folder, demo_root, tmp_path / "out", "--limit", 2, "--json"))
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert (figures["J&F"], figures["missing"]) == (0.0, 2)
    assert (figures["episodes"]["parsed"]["mean"], figures["episodes"]["ended"]) == (0.0, {"unparsed": 2})
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == {}


def test_sampling_is_drawn_by_seed(speaking_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    said = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        more = ("--limit", "1", "--episodes-only", "--temperature", "1.5", "--seed", seed)
        assert here(*command(speaking_policy_folder, demo_root, tmp_path / name, *map(str, more))).code == 0
        said.append(lines(tmp_path / name)[0]["replies"])
    assert said[0] == said[1] != said[2]


def test_limits_are_nested_and_mixed(demo_root: Path, tmp_path: Path) -> None:
    truth = read_truth(open_source("demo", demo_root, "valid_u"), tmp_path / "index")

    def ids(limit: int | None) -> list[str]:
        return [query.id for _, queries in choose(truth, limit) for query in queries]

    assert set(ids(4)) < set(ids(8)) < set(ids(None))
    assert (len(ids(4)), len(ids(8))) == (4, 8)
    assert [i for i in ids(None) if i in set(ids(8))] == ids(8)  # in the order of the file
    assert ids(8) != ids(None)[:8]


@pytest.fixture
def damaged(demo_root: Path, tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """A copy of the demo: of one video the first frame is cut off, of the other one that only propagation reads."""
    root = tmp_path / "damaged"
    shutil.copytree(demo_root / "valid_u", root / "valid_u")
    shutil.copy(demo_root / "demo.json", root / "demo.json")
    first, second = sorted((root / "valid_u" / "JPEGImages").iterdir())
    frames = {first.name: sorted(first.iterdir())[0], second.name: sorted(second.iterdir())[4]}
    for frame in frames.values():
        frame.write_bytes(frame.read_bytes()[:200])
    return root, frames


def test_queries_that_fail_are_counted_and_tried_again(
    damaged: tuple[Path, dict[str, Path]], speaking_policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    root, frames = damaged
    out = tmp_path / "out"
    ended = here(*command(speaking_policy_folder, root, out, "--limit", LIMIT, "--json"))
    assert ended.code in (0, 1)
    failed = [line for line in lines(out) if line["end"] == "failed"]
    assert {line["reason"] for line in failed} == {"frame-unreadable"}
    assert {line["video"] for line in failed} == set(frames)
    assert all(frames[line["video"]].stem in line["detail"] for line in failed)
    for video, frame in frames.items():
        shutil.copy(demo_root / "valid_u" / "JPEGImages" / video / frame.name, frame)
    mended = here(*command(speaking_policy_folder, root, out, "--limit", LIMIT, "--json", "--resume"))
    assert mended.code == 0, mended.err
    assert mended.json()["episodes"]["failed"] == {}


def test_held_out_splits_get_predictions_only(tiny_policy_folder: Path, demo_root: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(demo_root / "valid_u", root / "valid_u")
    (root / "valid_u" / "mask_dict.json").unlink()
    ended = here(*command(tiny_policy_folder, root, out, "--limit", "2", "--json"))
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert json.loads((out / "scores.json").read_text()) == figures
    assert "J&F" not in figures
    assert figures["episodes"]["parsed"]["n"] == 2
    assert figures["episodes"]["absent_empty"]["n"] == figures["episodes"]["window_iou"]["n"] == 0
    assert f"{out / 'predictions.json'} can be packed with vtscot submit" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--predictions", "p.json", "--model", "nano", "--source", "demo", "--root", "."], "leave out --model"),
        (["--predictions", "p.json", "--source", "demo", "--root", ".", "--limit", "3"], "leave out"),
        (["--predictions", "p.json", "--root", "."], "--source"),
        (["--predictions", "p.json", "--source", "demo"], "--root"),
        (["--model", "nano", "--source", "mevis"], "needs --root"),
        (["--model", "nano", "--propagate-from", "here"], "none of decoded, answer"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = here("eval", *arguments)
    assert (ended.code, says in ended.complaint) == (2, True), ended.err


def test_a_policy_is_told_by_its_weights(
    tiny_policy_folder: Path, speaking_policy_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_policy_folder, tmp_path / "copy")
    assert weights_digest(str(tmp_path / "copy")) == weights_digest(str(tiny_policy_folder))
    assert weights_digest(str(tiny_policy_folder)) != weights_digest(str(speaking_policy_folder))
