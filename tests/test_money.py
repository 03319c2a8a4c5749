"""What a run costs: estimated, previewed, counted, and stopped at a limit without losing a query."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.batches import BatchServer
from tests.server import Body, ScriptedServer, envelope, error, images
from vtscot.build import build
from vtscot.cli.main import run as run_command
from vtscot.cli.progress import PlainProgress
from vtscot.endpoint.price import Purse, Tokens, price
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import CostError, UsageError
from vtscot.estimate import estimate
from vtscot.preview import preview
from vtscot.progress import Silent
from vtscot.recipe import Recipe, load_recipe

KEY = "sk-test-0123456789abcdef0123456789"
PRICES = {"teacher.input_price": 10.0, "teacher.output_price": 20.0}
EACH = (100 * 10.0 + 20 * 20.0) / 1e6  # of an answer of the scripted server


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vtscot.demo import write_demo

    root = tmp_path_factory.mktemp("world")
    write_demo(root, videos=1, seed=5, workers=1)
    return root


def recipe(world: Path, server: ScriptedServer, **more: object) -> Recipe:
    flags: dict[str, object] = {
        "source.root": str(world),
        "limit": 4,
        "workers": 1,
        "teacher.name": "openai",
        "teacher.model": "m",
        "teacher.base_url": server.base_url,
        "teacher.backoff_s": 0.01,
        "verify.segmenter": "box",
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return load_recipe("mevis", None, (), flags)


def priced(world: Path, server: ScriptedServer, **more: object) -> Recipe:
    return recipe(world, server, **PRICES, **more)


def command(world: Path, server: ScriptedServer, run: Path, *more: str) -> list[str]:
    where = ["--run", str(run), "--source", "mevis", "--root", str(world), "--limit", "4", "--teacher", "openai"]
    endpoint = ["--model", "m", "--base-url", server.base_url, "--set", "verify.segmenter=box", "--concurrency", "2"]
    return ["build", *where, *endpoint, *(f"--set={key}={value}" for key, value in PRICES.items()), *more]


def files(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted((run / "dataset").rglob("*")) if p.is_file()}


def uncounted(body: Body) -> Body:
    """A completion of a server that counts no tokens."""
    return {key: value for key, value in body.items() if key != "usage"}


def test_prices_are_per_million_and_half_in_batches() -> None:
    settings = EndpointSettings(input_price=2.5, output_price=10.0)
    assert price(Tokens(1_000_000, 100_000), settings) == pytest.approx(3.5)
    assert price(Tokens(1_000_000, 100_000), settings, batch=True) == pytest.approx(1.75)
    assert price(Tokens(1, 1), EndpointSettings()) is None


def test_a_limit_without_prices_is_refused(world: Path) -> None:
    with ScriptedServer() as server, pytest.raises(UsageError, match="--max-cost needs prices"):
        recipe(world, server, teacher__max_cost=1.0)


def test_money_that_is_on_its_way_counts() -> None:
    purse = Purse(EndpointSettings(input_price=1.0, output_price=1.0, max_cost=10.0), spent=4.0)
    held = purse.hold(Tokens(5_000_000, 0), batch=False)
    with pytest.raises(CostError):
        purse.hold(Tokens(2_000_000, 0), batch=False)
    purse.release(held)
    assert purse.reached, "what was held back once stays back: the run is to stop"


def test_the_estimate_is_near_what_a_build_sends(world: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        plan = priced(world, server)
        told = estimate(plan, tmp_path / "scratch", Silent(), tmp_path / "run")
        assert not (tmp_path / "run").exists()
        assert server.requests == []
        summary = build(plan, tmp_path / "run")
        assert summary.figures.states["failed"] == 0
        assert told["requests"] == len(server.requests)
        assert told["images"] == sum(len(images(body)) for body in server.requests)
        text = sum(len(json.dumps([m["content"] for m in body["messages"]])) for body in server.requests)
        seen = sum(len(url) for body in server.requests for url in images(body))
        assert told["input_tokens"] > (text - seen) / 8, "the words alone are more than this"
        assert told["output_tokens"] == 300 * told["requests"]
        cost = (told["input_tokens"] * 10 + told["output_tokens"] * 20) / 1e6
        assert told["cost"] == pytest.approx(cost)
        assert told["seconds"] > 0
        again = estimate(plan, tmp_path / "scratch2", Silent(), tmp_path / "run")
    assert (again["settled"], again["requests"], again["cost"]) == (4, 0, 0.0)


@pytest.mark.parametrize(
    ("more", "times"),
    [({"teacher__mode": "single"}, None), ({"teacher__n_best": 3}, 3), ({"teacher__batch": True}, 1)],
    ids=["single", "n_best", "batch"],
)
def test_the_estimate_knows_how_it_is_asked(
    world: Path, tmp_path: Path, more: dict[str, object], times: int | None
) -> None:
    with ScriptedServer() as server:
        plain = estimate(priced(world, server), tmp_path / "a", Silent())
        told = estimate(priced(world, server, **more), tmp_path / "b", Silent())
    turns = sum(int(n) * count for n, count in plain["turns"].items())
    if times is None:
        assert told["requests"] == plain["requests"] - 2 * turns
        assert told["cost"] < plain["cost"]
    else:
        assert told["requests"] == times * plain["requests"]
        factor = 0.5 if more.get("teacher__batch") else times
        assert told["cost"] == pytest.approx(factor * plain["cost"])
    assert (told["seconds"] is None) == bool(more.get("teacher__batch"))


def test_a_preview_is_paid_once(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer() as server:
        assert build(priced(world, server), tmp_path / "whole").figures.queries == 4
        needed, server.requests[:] = len(server.requests), []
        seen = preview(priced(world, server), tmp_path / "run", 2, Silent())
        asked = len(server.requests)
        assert len(seen.outcomes) == 2
        assert 0 < asked < needed
        assert seen.spent == pytest.approx(asked * EACH)
        assert seen.projected == pytest.approx(2 * asked * EACH)
        assert not (tmp_path / "run" / "dataset").exists()
        build(priced(world, server), tmp_path / "run")
        assert len(server.requests) == needed
        arguments = command(world, server, tmp_path / "run", "-n", "1")
        assert run_command(["preview", *arguments[1:]]) == 0
        assert len(server.requests) == needed
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    out = capsys.readouterr().out
    assert "Step 1: Temporal Dynamics." in out
    assert "all 4 queries would cost about" in out


def test_a_build_stops_at_its_limit_and_goes_on_with_a_higher_one(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer() as server:
        assert run_command(command(world, server, tmp_path / "whole")) == 0
        needed, server.requests[:] = len(server.requests), []
        limit = ["--max-cost", str(needed * EACH / 2), "--set=teacher.expected_output_tokens=20"]
        assert run_command(command(world, server, tmp_path / "run", "--json", *limit)) == 1
        told = capfd.readouterr()
        figures = json.loads(told.out.splitlines()[-1])
        assert figures["queries"] == sum(figures[state] for state in ("kept", "rejected", "failed", "skipped")) == 4
        assert figures["reasons"]["max-cost"] >= 1
        spent = len(server.requests) * EACH
        assert 0 < spent <= needed * EACH / 2
        line = told.err.strip().splitlines()[-1]
        assert "the cost limit is reached" in line
        again = shlex.split(line.partition("go on with: ")[2])
        assert again[0] == "vtscot"
        while run_command(again[1:]) == 1:
            line = capfd.readouterr().err.strip().splitlines()[-1]
            again = shlex.split(line.partition("go on with: ")[2])
        assert len(server.requests) == needed
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_server_that_counts_no_tokens_is_charged_by_estimate(world: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        good = server._good

        def silent(body: Body) -> Any:
            reply = good(body)
            return type(reply)(reply.status, json.dumps(uncounted(json.loads(reply.content))).encode())

        server._good = silent  # type: ignore[method-assign]
        seen = preview(priced(world, server), tmp_path / "run", 1, Silent())
        assert seen.spent is not None
        assert seen.spent > len(server.requests) * EACH
        told = estimate(priced(world, server), tmp_path / "scratch", Silent())
    assert seen.spent == pytest.approx(told["cost"] / 4, rel=0.7)


def test_bad_answers_are_paid_for_too(world: Path, tmp_path: Path) -> None:
    with ScriptedServer(brain=lambda body: "{}") as server:
        seen = preview(priced(world, server, teacher__max_answers=2), tmp_path / "run", 1, Silent())
        assert seen.outcomes[0].state == "failed"
        assert seen.spent == pytest.approx(len(server.requests) * EACH)
    assert envelope("{}")["usage"]["prompt_tokens"] == 100


def test_a_run_in_batches_is_the_same_run(world: Path, tmp_path: Path) -> None:
    with BatchServer() as server:
        build(priced(world, server), tmp_path / "chat")
        needed = len(server.requests)
        quick = {"teacher__batch": True, "teacher__batch_quiet_s": 0.3, "teacher__batch_poll_s": 0.05}
        build(priced(world, server, **quick), tmp_path / "batch")
        assert len(server.requests) == needed
        assert len(server.lines) == needed
        assert server.uploads <= 3 * 3, "a wave per pass and turn, whatever the number of queries"
        seen = preview(priced(world, server), tmp_path / "batch", 1, Silent())
        assert seen.spent == pytest.approx(needed * EACH / 2)
    assert files(tmp_path / "batch") == files(tmp_path / "chat")


def test_the_best_of_several_is_kept_and_nothing_is_paid_twice(world: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        build(priced(world, server), tmp_path / "run")
        first = len(server.requests)
        summary = build(priced(world, server, teacher__n_best=2), tmp_path / "run", update=True)
        assert summary.figures.queries == 4
        second = len(server.requests) - first
        assert 0 < second <= first, "the first trace is there already"
        build(priced(world, server, teacher__n_best=2), tmp_path / "run")
        assert len(server.requests) == first + second


def test_progress_tells_money_rate_and_errors_in_plain_lines(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(script=lambda number, body: error(500) if number == 1 else None) as server:
        build(priced(world, server), tmp_path / "run", PlainProgress(every=0.0))
    lines = capfd.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("trace and verify: 4 of 4")]
    assert told, lines
    assert "spent 0." in told[-1]
    assert "of about 0." in told[-1]
    assert "answers/s, 1 errors" in told[-1]
    assert not any("\x1b" in line or "\r" in line for line in lines)
