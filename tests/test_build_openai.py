"""`vtscot build --teacher openai` against a scripted server over real HTTP, on real and on demo input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Ended, vtscot
from tests.server import Body, Reply, ScriptedServer, cut, error, html, late

STATES = ("kept", "rejected", "failed", "skipped")
KEY = "sk-test-0123456789abcdef0123456789"


def build(server: ScriptedServer, run: Path, *more: str | Path, **env: str) -> Ended:
    return vtscot(
        *("build", "--run", run, "--teacher", "openai", "--model", "m", "--base-url", server.base_url, "--json"),
        *("--set", "teacher.backoff_s=0.01", *more),
        **{"OPENAI_API_KEY": KEY, **env},
    )


def demo(world: Path) -> tuple[str | Path, ...]:
    return ("--source", "mevis", "--root", world, "--limit", "6")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vtscot.demo import write_demo

    root = tmp_path_factory.mktemp("world")
    write_demo(root, videos=1, seed=5, workers=1)
    return root


def accounted(figures: dict[str, Any]) -> bool:
    return figures["queries"] == sum(figures[state] for state in STATES)


def test_every_real_query_ends_with_a_stated_reason(shared_data: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        ended = build(server, tmp_path / "run", "--source", "mevis", "--root", shared_data / "mevis")
        assert ended.code == 0, ended.err
        figures = ended.json()
        assert figures["queries"] == 12
        assert accounted(figures)
        assert figures["skipped"] == 1  # the second "a black swan"
        assert figures["failed"] == 0, figures
        assert figures["kept"] + figures["rejected"] == 11
        sent = len(server.requests)
        again = build(server, tmp_path / "run", "--source", "mevis", "--root", shared_data / "mevis")
        assert again.code == 0, again.err
        assert len(server.requests) == sent  # nothing is paid twice
    assert {k: v for k, v in again.json().items() if k != "seconds"} == {
        k: v for k, v in figures.items() if k != "seconds"
    }


def test_real_queries_with_the_oracle(shared_data: Path, tmp_path: Path) -> None:
    ended = vtscot("build", "--source", "mevis", "--root", shared_data / "mevis", "--run", tmp_path / "x", "--json")
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert figures["queries"] == 12
    assert accounted(figures)
    assert figures["kept"] >= 9
    assert sum(figures["reasons"].values()) == 12 - figures["kept"]
    shards = {p.parent.name for p in (tmp_path / "x" / "dataset").rglob("*.parquet")}
    assert "mevis" in shards


def test_the_key_is_nowhere_in_the_run(world: Path, tmp_path: Path) -> None:
    with ScriptedServer(
        script=lambda number, body: error(500, f"bad key {KEY}") if number % 4 == 0 else None
    ) as server:
        ended = build(server, tmp_path / "run", *demo(world))
        assert ended.code == 0, ended.err
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in ended.out + ended.err
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param(lambda number, body: error(401, "no such key"), "OPENAI_API_KEY", id="401"),
        pytest.param(lambda number, body: error(404, "no such model"), "--model", id="404"),
    ],
)
def test_an_endpoint_that_cannot_be_used_ends_the_build(
    script: Any, complaint: str, world: Path, tmp_path: Path
) -> None:
    with ScriptedServer(script=script) as server:
        ended = build(server, tmp_path / "run", *demo(world))
    assert ended.code == 1
    assert complaint in ended.complaint
    assert ended.out == ""


def test_nobody_listens(world: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        pass  # closed again: nothing answers there
    ended = build(server, tmp_path / "run", *demo(world), "--set", "teacher.max_attempts=2")
    assert ended.code == 1
    assert "--base-url" in ended.complaint


def flaky(number: int, body: Body) -> Reply | None:
    """A third of all answers goes wrong, in turn in every way a server knows."""
    kinds = [error(429, retry_after=0), error(500), cut(), html(), Reply(content=b'{"choices": []}'), late(3.0)]
    return kinds[(number // 3) % len(kinds)] if number % 3 == 0 else None


def test_a_flaky_server_loses_nothing(world: Path, tmp_path: Path) -> None:
    with ScriptedServer(script=flaky) as server:
        ended = build(server, tmp_path / "run", *demo(world), "--set", "teacher.timeout_s=2")
    assert ended.code == 0, ended.err
    assert accounted(ended.json())
    assert ended.json()["queries"] == 6


def test_answers_that_break_the_schema_fail_their_query_with_a_reason(world: Path, tmp_path: Path) -> None:
    with ScriptedServer(brain=lambda body: json.dumps({"poem": "roses"})) as server:
        ended = build(server, tmp_path / "run", *demo(world))
        assert ended.code == 1  # every query failed
        assert "every query failed (schema 6)" in ended.complaint
        figures = ended.json()
        assert figures["failed"] == figures["queries"] == 6
        assert figures["reasons"] == {"schema": 6}
        server.brain = type(server)().brain  # the server is mended; but its answers were paid for and stay bad
        again = build(server, tmp_path / "run", *demo(world), "--set", "teacher.max_answers=6")
        assert again.code == 0, again.err
        assert again.json()["failed"] == 0


def test_killed_and_resumed_pays_only_for_what_was_in_flight(world: Path, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    with ScriptedServer() as server:
        assert build(server, undisturbed, *demo(world)).code == 0
        needed = len(server.requests)
    with ScriptedServer(delay_s=0.3) as server:
        run = tmp_path / "run"
        arguments = ["build", "--run", str(run), "--teacher", "openai", "--model", "m", "--base-url", server.base_url]
        arguments += ["--concurrency", "2", *map(str, demo(world))]
        process = subprocess.Popen([sys.executable, "-m", "vtscot", *arguments], stderr=subprocess.DEVNULL)
        while len(server.requests) < needed // 2 and process.poll() is None:
            signal.sigtimedwait([], 0.05)
        process.kill()
        process.wait()
        ended = build(server, run, *demo(world))
        assert ended.code == 0, ended.err
        assert needed <= len(server.requests) <= needed + 2
    for path in sorted(p for p in (undisturbed / "dataset").rglob("*") if p.is_file()):
        assert path.read_bytes() == (run / "dataset" / path.relative_to(undisturbed / "dataset")).read_bytes(), path
