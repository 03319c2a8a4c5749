"""Nothing is paid twice: rebuilding, changed settings, more queries, edited prompts, failed queries.

A real server counts what is sent; the builds run in this process.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import vtscot.prompts
from tests.cli import vtscot as command
from tests.server import Body, Reply, ScriptedServer, completion, cut, error, html, late, schema_brain
from vtscot.build import Summary, build, rebuild
from vtscot.errors import RunError, UsageError
from vtscot.estimate import estimate
from vtscot.recipe import Recipe, load_recipe

LIMIT = 3


class Notes:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        """Not looked at."""

    def advance(self, steps: int = 1) -> None:
        """Not looked at."""

    def note(self, text: str) -> None:
        self.said.append(text)

    def status(self, text: str) -> None:
        """Not looked at."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vtscot.demo import write_demo

    root = tmp_path_factory.mktemp("world")
    write_demo(root, videos=1, seed=5, workers=1)
    return root


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def recipe(world: Path, server: ScriptedServer, *assignments: str, limit: int = LIMIT) -> Recipe:
    flags = {
        "source.root": str(world),
        "limit": limit,
        "workers": 1,
        "teacher.name": "openai",
        "teacher.model": "m",
        "teacher.base_url": server.base_url,
        "teacher.backoff_s": 0.01,
    }
    return load_recipe("mevis", None, assignments, flags)


@pytest.fixture
def run(world: Path, server: ScriptedServer, tmp_path: Path) -> Path:
    """A finished run of a few queries."""
    build(recipe(world, server), tmp_path / "run")
    return tmp_path / "run"


def files(run: Path) -> dict[str, bytes]:
    """All that was published: dataset, card and report."""
    paths = [*(run / "dataset").rglob("*"), run / "report.html"]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths if path.is_file()}


def failures(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]


def states(summary: Summary) -> dict[str, int]:
    return summary.figures.states


def test_rebuilding_writes_the_same_bytes_and_sends_nothing(run: Path, server: ScriptedServer) -> None:
    before, sent = files(run), len(server.requests)
    shutil.rmtree(run / "dataset")
    (run / "report.html").unlink()
    rebuild(run)
    assert files(run) == before
    assert len(server.requests) == sent


def test_other_thresholds_are_verified_for_nothing(run: Path, world: Path, tmp_path: Path) -> None:
    strict = "verify.min_iou=0.95"
    notes = Notes()
    summary = rebuild(run, [strict, "workers=1"], notes)
    assert "changed  verify.min_iou: 0.3 -> 0.95" in notes.said
    with ScriptedServer() as other:
        anew = build(recipe(world, other, strict), tmp_path / "anew")
    assert states(summary) == states(anew)
    assert {k: v for k, v in files(run).items() if k != "report.html"} == {
        k: v
        for k, v in files(tmp_path / "anew").items()
        if k != "report.html"  # the report tells the seconds
    }


def test_a_grounder_that_asks_no_model_rebuilds_for_nothing(run: Path, server: ScriptedServer) -> None:
    sent = len(server.requests)
    summary = rebuild(run, ["verify.grounder=words"])
    assert summary.figures.graders == ("words + grabcut",)
    assert len(server.requests) == sent


def test_a_missing_answer_is_counted_and_named(run: Path, world: Path, server: ScriptedServer) -> None:
    with sqlite3.connect(run / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM answers WHERE rowid = (SELECT min(rowid) FROM answers)")
    connection.close()
    notes, sent, before = Notes(), len(server.requests), files(run)
    rebuild(run, (), notes)
    assert f"1 of {LIMIT} queries lack answers; vtscot build asks for them" in notes.said
    now = files(run)  # its outcome is known with these settings; the answer itself cannot be shown any more
    assert now.pop("report.html") != before.pop("report.html")
    assert now == before
    changed = rebuild(run, ["verify.min_iou=0.31"], notes)
    assert changed.figures.reasons["failed"] == {"not-in-ledger": 1}
    (failed,) = failures(run)
    assert f"{failed['id']}: an answer is missing in the ledger" in notes.said
    assert len(server.requests) == sent
    again = build(recipe(world, server, "verify.min_iou=0.31"), run)
    assert states(again)["failed"] == 0
    assert len(server.requests) == sent + 1
    assert failures(run) == []


def test_more_queries_pay_for_themselves(run: Path, world: Path, server: ScriptedServer, tmp_path: Path) -> None:
    few = len(server.requests)
    build(recipe(world, server, limit=LIMIT + 2), run)
    both = len(server.requests)
    build(recipe(world, server, limit=LIMIT + 2), tmp_path / "all")
    assert few < both == len(server.requests) - both


@pytest.mark.parametrize(
    ("template", "schema"),
    [
        pytest.param("teacher/linguistic.j2", "linguistic_answer", id="one pass"),
        pytest.param("verifier/ground.j2", "ground_answer", id="the verifier"),
    ],
)
def test_an_edited_prompt_pays_for_its_own_requests(
    template: str, schema: str, run: Path, world: Path, server: ScriptedServer, edited: Callable[[str], None]
) -> None:
    first = list(server.requests)
    edited(template)
    build(recipe(world, server), run)
    names = [body["response_format"]["json_schema"]["name"] for body in server.requests]
    assert set(names[len(first) :]) == {schema}
    assert len(names) - len(first) == names[: len(first)].count(schema)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Edits a template in a copy of the prompts that is used from then on."""
    caches = (vtscot.prompts._environment, vtscot.prompts.prompts_digest)

    def edit(name: str) -> None:
        copy = tmp_path / "prompts"
        shutil.copytree(Path(str(vtscot.prompts._ROOT)), copy)
        path = copy / name
        path.write_text(path.read_text() + "\nTake your time.\n")
        monkeypatch.setattr(vtscot.prompts, "_ROOT", copy)
        for cache in caches:
            cache.cache_clear()

    yield edit
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def test_changed_settings_are_taken_when_told_to(run: Path, world: Path, server: ScriptedServer) -> None:
    sent, notes = len(server.requests), Notes()
    changed = recipe(world, server, "verify.min_ratio=0.75")
    with pytest.raises(RunError, match=r"verify\.min_ratio: 0\.7 -> 0\.75.*--update"):
        build(changed, run)
    build(changed, run, notes, update=True)
    assert notes.said[0] == "changed  verify.min_ratio: 0.7 -> 0.75"
    assert notes.said[1] == f"0 of {sent} requests are not in the ledger yet"
    assert len(server.requests) == sent
    build(changed, run)  # from now on these are the run's settings
    prices = ("teacher.input_price=10000", "teacher.output_price=20000")  # per million; 100 and 20 tokens an answer
    warmer = recipe(world, server, "verify.min_ratio=0.75", "teacher.temperature=0.9", *prices)
    build(warmer, run, notes, update=True)
    told = (
        f"{sent} of {sent} requests are not in the ledger yet: about {1.4 * sent:.2f}, by what the answers so far cost"
    )
    assert told in notes.said
    assert len(server.requests) == 2 * sent


def test_a_dry_run_counts_what_the_ledger_answers(run: Path, world: Path, server: ScriptedServer) -> None:
    sent = len(server.requests)
    edges = {"verify.min_ratio=0.75": 0, "teacher.temperature=0.9": sent}
    for assignment, wanted in edges.items():
        changed = recipe(world, server, assignment)
        figures = estimate(changed, run.parent / assignment, Notes(), run)
        assert (figures["requests"], figures["stored"]) == (wanted, sent - wanted)
        assert (figures["input_tokens"] == 0) == (wanted == 0)
    assert len(server.requests) == sent


@pytest.mark.parametrize("assignment", ["source.split=valid_u", "source.videos=7"])
def test_another_source_is_another_run(run: Path, assignment: str) -> None:
    with pytest.raises(RunError, match="another source"):
        rebuild(run, [assignment])


def test_a_mistake_in_a_setting_is_a_matter_of_usage(run: Path) -> None:
    with pytest.raises(UsageError, match=r"verify\.min_iou"):
        rebuild(run, ["verify.min_iou=2"])
    ended = command("rebuild", run, "--set", "verify.min_iou")
    assert (ended.code, "key=value" in ended.complaint) == (2, True)


def test_what_is_no_run_is_not_rebuilt(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        rebuild(tmp_path)


def test_the_command_prints_what_build_prints(run: Path) -> None:
    ended = command("rebuild", run, "--json")
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert figures["queries"] == LIMIT == sum(figures[state] for state in ("kept", "rejected", "failed", "skipped"))


def test_only_failed_tries_again_what_failed_and_nothing_else(world: Path, tmp_path: Path) -> None:
    refusing = [True]

    def moody(number: int, body: Body) -> Reply | None:
        return error(400, "At most 1 image(s) may be provided in one request") if refusing[0] else None

    with ScriptedServer(script=moody) as server:
        first = build(recipe(world, server, limit=1), tmp_path / "run")
        assert states(first)["failed"] == 1
        (failure,) = failures(tmp_path / "run")
        assert (failure["reason"], failure["retryable"]) == ("bad-request", False)
        refusing[0] = False
        assert states(build(recipe(world, server, limit=1), tmp_path / "run"))["failed"] == 1  # it would fail for ever
        notes = Notes()
        again = build(recipe(world, server), tmp_path / "run", notes, only_failed=True)
        assert states(again)["failed"] == 0
        assert again.figures.queries == 1
        assert any(said.startswith(f"{LIMIT - 1} queries were not worked on yet") for said in notes.said)
        assert failures(tmp_path / "run") == []


def test_a_dry_run_says_what_an_update_would_change(run: Path, world: Path, server: ScriptedServer) -> None:
    where = ("--source", "mevis", "--root", world, "--run", run, "--limit", str(LIMIT), "--base-url", server.base_url)
    ended = command(
        *(
            "build",
            *where,
            "--teacher",
            "openai",
            "--model",
            "m",
            "--update",
            "--dry-run",
            "--set",
            "verify.min_iou=0.5",
        )
    )
    assert ended.code == 0, ended.err
    assert "changed  verify.min_iou: 0.3 -> 0.5" in ended.err
    assert f"requests            0   with 0 images; {len(server.requests)} more are answered by the ledger" in ended.out


def test_only_failed_goes_without_update(run: Path) -> None:
    ended = command("build", "--run", run, "--only-failed", "--update")
    assert ended.code == 2
    assert "--only-failed" in ended.complaint


KINDS: list[Callable[[Body], Reply]] = [
    lambda body: error(429, retry_after=0),
    lambda body: error(500),
    lambda body: late(2.5),
    lambda body: cut(),
    lambda body: html(),
    lambda body: Reply(content=b'{"choices": [{"finish_reason": "stop", "message": {"content": "{\\"tem'),
    lambda body: completion('{"temporal": "It mo'),
    lambda body: completion('{"poem": "roses"}'),
    lambda body: error(400, "At most 1 image(s) may be provided in one request"),
    lambda body: completion(json.dumps({"boxes": [json.loads(schema_brain(body)), 7]})),
]
"""429, 500, time-out, cut connection, no JSON in three ways, another schema, and images or boxes miscounted."""


def flaky(number: int, body: Body) -> Reply | None:
    """Three of ten requests go wrong, by chance: in a fixed pattern a query can meet the same fault in every round."""
    chance = Random(number)
    return chance.choice(KINDS)(body) if chance.random() < 0.3 else None


def test_a_flaky_server_leaves_every_query_accounted_for(world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with ScriptedServer(script=flaky) as server:
        asked = recipe(world, server, "teacher.timeout_s=2", limit=8)
        summary = build(asked, run)
        assert summary.figures.queries == 8 == sum(states(summary).values())
        assert len(failures(run)) == states(summary)["failed"]
        assert all(one["reason"] and one["detail"] for one in failures(run))
        rounds = 0
        while states(summary)["failed"] and rounds < 8:
            rounds += 1
            # Bad answers were paid for: a question that had as many as it may is asked again with a higher limit alone.
            more = recipe(world, server, "teacher.timeout_s=2", f"teacher.max_answers={3 + rounds}", limit=8)
            summary = build(more, run, only_failed=True)
        assert states(summary)["failed"] == 0
        assert len(server.requests) > 60
    with ScriptedServer() as steady:
        calm = build(recipe(world, steady, limit=8), tmp_path / "calm")
    assert states(summary) == states(calm)
