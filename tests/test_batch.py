"""Requests through the Batch API of a real local server: uploaded once, resumed, and answered like chat requests."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.asking import KEY, REQUEST, Answer, good, settings
from tests.batches import BatchServer
from tests.cli import vtscot
from tests.server import Reply, completion, cut, error
from vtscot.demo import write_demo
from vtscot.endpoint.batch import read_line
from vtscot.endpoint.client import ChatClient, Stats
from vtscot.endpoint.request import Request
from vtscot.errors import EndpointError, TeacherError
from vtscot.ledger import Ledger, OpenBatch

REQUESTS = tuple(dataclasses.replace(REQUEST, system=f"Answer {i}.") for i in range(5))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def ask(
    ledger: Ledger, url: str, *requests: Request, within: float = 20, **more: object
) -> tuple[list[str | BaseException], Stats, list[str]]:
    """What the requests came to, asked at once, in batches; what the client counted, and what it said."""
    said: list[str] = []
    values: dict[str, object] = {"batch": True, "batch_quiet_s": 0.1, "batch_poll_s": 0.02, **more}

    async def run() -> tuple[list[str | BaseException], Stats, list[str]]:
        client = ChatClient(settings(url, **values), ledger, say=said.append)
        asked = [client.ask(request, Answer, lambda answer: answer.colour) for request in requests]
        try:
            async with asyncio.timeout(within):
                return await asyncio.gather(*asked, return_exceptions=True), client.stats, said
        finally:
            await client.close()

    return asyncio.run(run())


def test_many_requests_go_in_one_file_and_their_answers_are_those_of_chat_requests(ledger: Ledger) -> None:
    with BatchServer(good, polls=2) as server:
        results, stats, said = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.jobs), len(server.lines)) == (1, 1, 5)
        assert server.requests == [], "nothing was asked one by one"
        assert (stats.sent, stats.answered, stats.input_tokens) == (5, 5, 500)
        again, stats, _ = ask(ledger, server.base_url, *REQUESTS, batch=False)
        assert again == ["red"] * 5
        assert (stats.from_ledger, stats.sent, server.requests, server.uploads) == (5, 0, [], 1)
    assert ledger.open_batches() == []
    assert any("5 requests sent" in text for text in said)
    assert any("completed" in text for text in said)
    assert not (ledger.path.parent / "batches").exists()


def test_files_are_cut_to_what_a_server_takes(ledger: Ledger) -> None:
    with BatchServer(good) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS, batch_requests=2)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.lines)) == (3, 5)
    assert ledger.usage().answers == 5


PARTIAL: dict[str, tuple[Callable[[int], Reply | None], int]] = {
    "a line fails": (lambda number: error(500, "overloaded") if number == 1 else None, 6),
    "a line is missing": (lambda number: cut() if number == 1 else None, 6),
    "a rate limit": (lambda number: error(429, "slow down") if number < 2 else None, 7),
    "no completion": (lambda number: Reply(content=b'{"hello": 1}') if number == 4 else None, 6),
    "an unusable answer": (lambda number: completion("{") if number == 0 else None, 6),
}


@pytest.mark.parametrize(("line", "lines"), PARTIAL.values(), ids=PARTIAL)
def test_what_fails_alone_goes_into_the_next_batch(
    ledger: Ledger, line: Callable[[int], Reply | None], lines: int
) -> None:
    with BatchServer(good, line=lambda number, body: line(number)) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (len(server.lines), server.uploads) == (lines, 2)


def test_what_fails_for_good_fails_alone_with_a_reason(ledger: Ledger) -> None:
    def line(number: int, body: dict[str, object]) -> Reply | None:
        return error(400, "context too long") if "Answer 3." in str(body) else None

    with BatchServer(good, line=line) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert [str(result)[:3] for result in results] == ["red", "red", "red", "mev", "red"]
        assert isinstance(results[3], TeacherError)
        assert (results[3].reason, results[3].retryable) == ("bad-request", False)
        assert server.uploads == 1


def test_an_expired_batch_keeps_what_it_has(ledger: Ledger) -> None:
    with BatchServer(good, line=lambda number, body: cut() if number in (2, 3) else None, ends=["expired"]) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert len(server.lines) == 7


def test_a_server_without_json_schema_learns_it_from_lines(ledger: Ledger) -> None:
    with BatchServer(good) as server:
        server.formats = frozenset({"json_object"})
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.lines)) == (2, 10)


def test_a_full_server_is_asked_again_with_the_same_file(ledger: Ledger) -> None:
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    with BatchServer(good, refuse=[full, full]) as server:
        results, _, said = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.jobs)) == (1, 3)
    assert any("full for now" in text for text in said)


def test_a_refused_batch_ends_the_run_with_the_reason(ledger: Ledger) -> None:
    with BatchServer(good, refuse=[{"code": "invalid_model", "message": f"no model m for {KEY}"}]) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
    assert all(isinstance(result, EndpointError) for result in results)
    assert "invalid_model" in str(results[0])
    assert KEY not in str(results[0])
    assert ledger.open_batches() == []


def test_a_server_without_batches_is_told_apart(ledger: Ledger) -> None:
    with BatchServer(good, calls=lambda number, call: error(404, "no such path")) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
    assert "--batch" in str(results[0])
    assert isinstance(results[0], EndpointError)


def stopped(ledger: Ledger, server: BatchServer, ready: Callable[[], bool]) -> None:
    """Ask in batches and stop as a killed build does, once `ready`."""

    async def run() -> None:
        values = {"batch": True, "batch_quiet_s": 0.05, "batch_poll_s": 0.02}
        client = ChatClient(settings(server.base_url, **values), ledger)
        asked = [asyncio.create_task(client.ask(one, Answer, lambda answer: answer.colour)) for one in REQUESTS]
        async with asyncio.timeout(20):
            while not ready():
                await asyncio.sleep(0.005)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("batch", [True, False], ids=["with_batch", "without"])
def test_a_stopped_build_asks_about_the_same_batch(ledger: Ledger, batch: bool) -> None:
    with BatchServer(good, polls=10**6) as server:
        stopped(ledger, server, lambda: any(job.polls > 2 for job in server.jobs.values()))
        (open_,) = ledger.open_batches()
        assert open_.batch_id == "batch_0"
        assert len(open_.requests) == 5
        server.polls = 0
        results, stats, said = ask(ledger, server.base_url, *REQUESTS, batch=batch)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.jobs), len(server.lines), server.requests) == (1, 1, 5, [])
        assert stats.sent == 0
    assert "5 requests are on their way" in said[0]
    assert ledger.open_batches() == []


@pytest.mark.parametrize("lost", ["POST /batches", "POST /files"])
def test_what_the_server_got_before_a_kill_is_found_by_its_name(ledger: Ledger, lost: str) -> None:
    """The server takes the file (or the batch), and its answer never arrives."""
    with BatchServer(good, calls=lambda number, call: cut() if call == lost else None, lists=False) as server:
        stopped(ledger, server, lambda: lost in server.called)
        (open_,) = ledger.open_batches()
        assert open_.batch_id is None
        server.calls, server.lists = lambda number, call: None, True
        made = len(server.jobs)
        before = server.uploads
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert server.uploads == before, "the file was there already"
        assert len(server.jobs) == max(1, made)
        assert len(server.lines) == 5


@pytest.mark.parametrize("lost", ["POST /batches", "POST /files"])
def test_a_cut_connection_sends_nothing_twice(ledger: Ledger, lost: str) -> None:
    times = iter([cut()])
    with BatchServer(good, calls=lambda number, call: next(times, None) if call == lost else None) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.jobs), len(server.lines)) == (1, 1, 5)


def test_a_batch_that_is_nowhere_is_asked_again(ledger: Ledger) -> None:
    keys = [request.key(settings(None).asks(), 0) for request in REQUESTS]
    asyncio.run(ledger.asave_batch(OpenBatch("vtscot-gone", dict.fromkeys(keys, '{"tokens": [1, 1]}'))))
    with BatchServer(good) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS)
        assert results == ["red"] * 5
        assert (server.uploads, len(server.lines)) == (1, 5)


def test_polling_survives_a_server_that_is_away_for_a_while(ledger: Ledger) -> None:
    away = iter([error(502), cut(), error(429, retry_after=0)])
    calls = lambda number, call: next(away, None) if call.startswith("GET /batches/") else None  # noqa: E731
    with BatchServer(good, polls=1, calls=calls) as server:
        results, _, _ = ask(ledger, server.base_url, *REQUESTS, max_attempts=6)
        assert results == ["red"] * 5
        assert server.uploads == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"<html>", "not-json"),
        (b'{"custom_id": "k", "response": null, "error": {"code": "batch_expired", "message": "m"}}', "batch_expired"),
        (b'{"custom_id": "k", "response": {"status_code": 503, "body": null}}', "server-error"),
        (b'{"custom_id": "k", "response": {"status_code": "?", "body": []}}', "server-error"),
        (b'{"custom_id": "k"}', "batch-error"),
    ],
)
def test_lines_that_are_no_answers(line: bytes, reason: str) -> None:
    _, raw, fault = read_line(line)
    assert fault is not None
    assert (raw, fault.reason, fault.again) == (b"", reason, True)


def test_the_key_stays_out_of_what_a_batch_leaves_behind(ledger: Ledger) -> None:
    with BatchServer(good, line=lambda number, body: error(400, f"Bearer {KEY}") if number == 0 else None) as server:
        results, _, said = ask(ledger, server.base_url, *REQUESTS)
        assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.headers)
    assert KEY not in repr(results) + "".join(said)
    assert all(KEY.encode() not in path.read_bytes() for path in ledger.path.parent.rglob("*") if path.is_file())


def test_a_killed_process_uploads_nothing_twice(tmp_path: Path) -> None:
    """SIGKILL while the server works on the first batch, and again on a later one; then a build to the end."""
    write_demo(tmp_path / "world", videos=1, seed=5, workers=1)
    where = ["--run", str(tmp_path / "run"), "--source", "mevis", "--root", str(tmp_path / "world"), "--limit", "2"]
    quick = ["teacher.batch_quiet_s=0.3", "teacher.batch_poll_s=0.05", "verify.segmenter=box", "teacher.mode=single"]
    with BatchServer(polls=10**6) as server:
        endpoint = ["--teacher", "openai", "--model", "m", "--base-url", server.base_url, "--batch"]
        arguments = ["build", *where, *endpoint, *(f"--set={one}" for one in quick)]
        for kill in range(2):
            process = subprocess.Popen([sys.executable, "-m", "vtscot", *arguments], stderr=subprocess.DEVNULL)
            while not (len(server.jobs) > kill and max(job.polls for job in server.jobs.values()) > 2):
                assert process.poll() is None
                signal.sigtimedwait([], 0.05)
            process.kill()
            process.wait()
            server._work(server.jobs[f"batch_{kill}"])
            for job in server.jobs.values():
                job.polls = 0
        server.polls = 0
        ended = vtscot(*arguments, "--json")
        assert ended.code in (0, 1), ended.err
        sent = [text for name, text in server.files.values() if name.startswith("vtscot-")]
        keys = [json.loads(line)["custom_id"] for text in sent for line in text.splitlines()]
        assert len(keys) == len(set(keys)) == len(server.lines)
        assert ended.json()["failed"] == 0
