"""The ledger: what is acknowledged is on disk, one process writes, and every failure says the way out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asking import REQUEST, ask, settings
from tests.server import ScriptedServer, completion
from vtscot.endpoint.client import ChatClient
from vtscot.errors import RunError
from vtscot.ledger import Ledger, Usage, explain
from vtscot.records import Outcome, Query


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


def outcome(exp_id: str, reason: str = "never-visible") -> Outcome:
    query = Query(source="demo", split="train", video="v", exp_id=exp_id, expression="the dog")
    return Outcome(query=query, state="skipped", reason=reason)


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_answers_survive_reopening(path: Path) -> None:
    raw = b"\xff\x00 any bytes"
    with Ledger(path) as ledger:
        assert ledger.answer("k") is None
        ledger.store("k", "summary", raw)
    with Ledger(path) as ledger:
        assert ledger.answer("k") == raw


def test_a_later_answer_takes_the_place_of_the_earlier(ledger: Ledger) -> None:
    ledger.store("k", "", b"old")
    ledger.store("k", "", b"new")
    assert ledger.answer("k") == b"new"


def test_many_waiting_writers_share_commits_and_all_get_stored(ledger: Ledger) -> None:
    async def store_all() -> None:
        await asyncio.gather(*(ledger.astore(str(i), "", b"%d" % i) for i in range(600)))

    asyncio.run(store_all())
    assert [ledger.answer(str(i)) for i in (0, 299, 599)] == [b"0", b"299", b"599"]


def test_a_cancelled_writer_has_written_all_the_same(ledger: Ledger) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(ledger.astore("k", "", b"paid"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    ledger.set_setting("after", "it")  # written in order, so the answer is there by now
    assert ledger.answer("k") == b"paid"


def test_outcomes_come_in_the_order_of_their_ids(ledger: Ledger) -> None:
    for exp_id in ("b", "c", "a"):
        ledger.save_outcome(outcome(exp_id), "digest")
    assert [o.query.exp_id for o in ledger.outcomes()] == ["a", "b", "c"]


def test_outcomes_are_read_to_the_end(ledger: Ledger) -> None:
    async def save_all() -> None:
        await asyncio.gather(*(ledger.asave_outcome(outcome(f"{i:04d}"), "digest") for i in range(600)))

    asyncio.run(save_all())
    assert [o.query.exp_id for o in ledger.outcomes()] == [f"{i:04d}" for i in range(600)]


def test_an_outcome_counts_only_for_the_input_it_was_made_from(ledger: Ledger) -> None:
    ledger.save_outcome(outcome("0"), "old")
    assert ledger.outcome("demo/train/v/0", "old") == outcome("0")
    assert ledger.outcome("demo/train/v/0", "new") is None
    ledger.save_outcome(outcome("0", reason="empty-expression"), "new")
    assert ledger.outcome("demo/train/v/0", "old") is None
    assert [o.reason for o in ledger.outcomes()] == ["empty-expression"]


def test_settings_are_kept(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.setting("identity") is None
        ledger.set_setting("identity", "1")
        ledger.set_setting("identity", "2")
    with Ledger(path) as ledger:
        assert ledger.setting("identity") == "2"


def test_usage_sums_what_servers_counted_and_passes_over_the_rest(ledger: Ledger) -> None:
    ledger.store("a", "", json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 2}}).encode())
    ledger.store("b", "", json.dumps({"usage": {"prompt_tokens": 5, "completion_tokens": 1}}).encode())
    ledger.store("c", "", b"{}")
    ledger.store("d", "", b"<html>\xff")
    assert ledger.usage() == Usage(answers=4, input_tokens=12, output_tokens=3)


def test_a_reader_needs_no_lock_and_cannot_write(ledger: Ledger, path: Path) -> None:
    ledger.set_setting("name", "value")
    with Ledger(path, read_only=True) as reader:
        assert reader.setting("name") == "value"
        with pytest.raises(RunError, match="reading only"):
            reader.set_setting("name", "other")


@pytest.mark.usefixtures("ledger")
def test_a_second_process_is_told_who_holds_the_run(path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from vtscot.errors import RunError
        from vtscot.ledger import Ledger
        try:
            Ledger(Path(sys.argv[1]))
        except RunError as error:
            print(error)
    """
    said, _ = run_python(code, path).communicate(timeout=30)
    assert f"{path.parent} is in use by another vtscot process (pid {os.getpid()})" in said
    assert said.count("\n") == 1


def test_a_killed_process_leaves_its_answers_and_no_lock(path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from vtscot.ledger import Ledger
        ledger = Ledger(Path(sys.argv[1]))
        for i in range(20):
            ledger.store(str(i), "", b"paid")
        print("stored", flush=True)
        time.sleep(60)
    """
    process = run_python(code, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "stored\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    with Ledger(path) as ledger:
        assert all(ledger.answer(str(i)) == b"paid" for i in range(20))
        ledger.store("20", "", b"more")


def test_a_torn_log_costs_only_what_was_torn(path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from vtscot.ledger import Ledger
        ledger = Ledger(Path(sys.argv[1]))
        for i in range(20):
            ledger.store(str(i), "", b"paid" * 1000)
        os._exit(0)  # no checkpoint: all of it is in the log
    """
    assert run_python(code, path).wait(timeout=30) == 0
    wal = path.with_name(f"{path.name}-wal")
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 100)
    with Ledger(path) as ledger:
        assert [ledger.answer(str(i)) is not None for i in range(20)] == [True] * 19 + [False]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"this is no database, but text" * 300), id="not_a_database"),
        pytest.param(lambda path: os.truncate(path, 5000), id="cut_short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8092), id="overwritten"),
    ],
)
def test_a_damaged_ledger_is_named(path: Path, damage: object) -> None:
    with Ledger(path) as ledger:
        ledger.store("k", "", b"x" * 50_000)
    assert callable(damage)
    damage(path)
    with pytest.raises(RunError, match=r"ledger\.sqlite") as caught, Ledger(path) as ledger:
        ledger.answer("k")
        ledger.store("other", "", b"x")
    assert "\n" not in str(caught.value)


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunError, match="its version is 99"):
        Ledger(path)


def test_a_refused_ledger_can_be_opened_again(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="damaged"):
        Ledger(path)
    path.unlink()
    Ledger(path).close()


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot use"):
        Ledger(tmp_path / "absent" / "ledger.sqlite")


def test_no_room_for_more_pages_says_to_free_space(ledger: Ledger, path: Path) -> None:
    ledger.store("before", "", b"x" * 10_000)
    assert ledger._writer is not None
    ledger._writer._connection.execute("PRAGMA max_page_count = 8")  # SQLite's own SQLITE_FULL, as from a full disk
    with pytest.raises(RunError, match="free some space and run the same command again"):
        ledger.store("k", "", b"x" * 200_000)
    with pytest.raises(RunError, match="free some space"):
        ledger.check()  # before anything more is paid for
    ledger._writer._connection.execute("PRAGMA max_page_count = 100000")
    assert ledger.answer("before") is not None
    assert ledger.answer("k") is None
    ledger.store("k", "", b"x" * 200_000)
    ledger.check()


def test_a_file_size_limit_is_an_error_and_not_a_loss(path: Path) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        from vtscot.errors import RunError
        from vtscot.ledger import Ledger
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = Ledger(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        stored = 0
        try:
            for stored in range(100):
                ledger.store(str(stored), "", b"x" * 10_000)
        except RunError as error:
            print(stored, error)
        ledger.close()
    """
    said, complaint = run_python(code, path).communicate(timeout=30)
    stored = int(said.split()[0])
    assert 0 < stored < 100
    assert "run the same command again" in said
    assert not complaint
    with Ledger(path) as ledger:
        assert all(ledger.answer(str(i)) is not None for i in range(stored))


def test_a_full_disk_below_sqlite_is_recognised(path: Path) -> None:
    assert "free some space" in str(explain(OSError(28, "No space left on device"), path))


def test_a_request_of_eight_frames_takes_few_bytes(path: Path, tmp_path: Path) -> None:
    from bench.teacher import SHOWN, TEMPORAL, moments, write_videos

    requests = 24
    thought = {"temporal": "From frame 3 on the dog moves slowly to the right. " * 25, "keyframe": 20}

    async def ask_all(ledger: Ledger, url: str) -> None:
        client = ChatClient(settings(url), ledger)
        for moment in moments(write_videos(tmp_path, 1), requests):
            request = await TEMPORAL.prepare(moment)
            assert len(request.pictures) == SHOWN
            await client.ask(request, TEMPORAL.answer, lambda answer: answer)
        await client.close()

    with ScriptedServer(lambda body: json.dumps(thought)) as server, Ledger(path) as ledger:
        asyncio.run(ask_all(ledger, server.base_url))
        assert ledger.usage().answers == requests
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    assert len(thought["temporal"]) > 1200
    assert size / requests <= 8192
    print(f"{size / requests:.0f} bytes a request")


def test_what_is_read_has_been_synced_before(path: Path) -> None:
    """The answer cannot be parsed; it is in the ledger all the same, as it came."""
    with Ledger(path) as ledger:
        assert ledger._writer is not None
        assert ledger._writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert ledger._writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with ScriptedServer(script=lambda number, body: completion("no JSON at all")) as server:
            ask(ledger, settings(server.base_url, max_answers=1), REQUEST)
        assert b"no JSON at all" in (ledger.answer(REQUEST.key(settings(None).asks(), 0)) or b"")
