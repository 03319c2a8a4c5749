"""`vtscot push` as it is called: who is asked, what a run that is not finished gets, and where the address goes."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli import vtscot
from tests.hub import TOKEN, Hub, serve_hub
from vtscot.errors import PublishError
from vtscot.ledger import Ledger
from vtscot.publish.unfinished import check_run

REPO = "someone/demo"
NOBODY = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}


@pytest.fixture
def run(sft_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sft_run, tmp_path / "run"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        yield hub


def place(hub: Hub, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def test_a_run_is_sent_and_its_address_printed(run: Path, hub: Hub, tmp_path: Path) -> None:
    ended = vtscot("push", run, "--repo", REPO, "--yes", **place(hub, tmp_path))
    assert ended.code == 0, ended.err
    assert ended.out == f"{hub.address}/datasets/{REPO}\n"
    assert "pull request 1 is merged" in ended.err
    assert hub.repos[REPO].files["README.md"] == (run / "dataset" / "README.md").read_bytes()
    folder = vtscot("push", run / "dataset", "--repo", REPO, "--yes", "--branch", "b", **place(hub, tmp_path))
    assert folder.out == f"{hub.address}/datasets/{REPO}/tree/b\n", folder.err


def ask(answer: bytes, command: list[str | Path], env: dict[str, str]) -> tuple[int, str]:
    """Run `vtscot` on a terminal and type `answer` when it asks; exit code and all that it showed."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "vtscot", *map(str, command)]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | env) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # how a terminal ends on Linux
                break
            shown += piece
            if b"[y/N]" in shown and answer:
                os.write(ours, answer)
                answer = b""
            if not piece:
                break
        code = process.wait(60)
    os.close(ours)
    return code, shown.decode()


def fail_first(run: Path) -> None:
    """Let a query of the run have failed for a reason that may pass."""
    with Ledger(run / "ledger.sqlite") as ledger:
        first = next(ledger.outcomes())
        failed = {"state": "failed", "reason": "timeout", "retryable": True, "record": None}
        ledger.save_outcome(first.model_copy(update=failed), "again")


def test_it_asks_on_a_terminal_and_says_what_is_unfinished(run: Path, hub: Hub, tmp_path: Path) -> None:
    code, shown = ask(b"y\n", ["push", run, "--repo", REPO], place(hub, tmp_path))
    assert code == 0, shown
    assert "Send it? [y/N]" in shown
    assert "README.md" in hub.repos[REPO].files
    fail_first(run)
    code, shown = ask(b"n\n", ["push", run, "--repo", "someone/other"], place(hub, tmp_path))
    assert code == 1, shown
    assert "note: 1 of" in shown
    assert "Send it, unfinished as the run is? [y/N]" in shown
    assert "vtscot: nothing was sent" in shown
    assert list(hub.repos) == [REPO]


def test_without_a_terminal_it_has_to_be_told(run: Path) -> None:
    ended = vtscot("push", run, "--repo", REPO, **NOBODY)
    assert ended.code == 2
    assert ended.complaint.endswith("there is no terminal to ask on: give --yes, or --dry-run")


def test_a_dry_run_needs_nobody(run: Path) -> None:
    ended = vtscot("push", run, "--repo", REPO, "--dry-run", **NOBODY)
    assert ended.code == 0, ended.err
    assert "what is there is not known" in ended.err
    assert "README.md" in ended.err


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    ended = vtscot("push", tmp_path, "--repo", REPO, "--yes", **NOBODY)
    assert ended.code == 1
    assert "it is no run and no dataset of vtscot" in ended.complaint


# ---- runs that are not finished ----


def test_a_finished_run_has_nothing_to_say(run: Path) -> None:
    assert check_run(run, run / "dataset") == []


def test_queries_not_worked_on_are_counted(run: Path) -> None:
    ledger = sqlite3.connect(run / "ledger.sqlite")
    total = ledger.execute("SELECT count(*) FROM outcomes").fetchone()[0]
    ledger.execute("DELETE FROM outcomes WHERE query_id = (SELECT min(query_id) FROM outcomes)")
    ledger.commit()
    ledger.close()
    (line,) = check_run(run, run / "dataset")
    assert line == f"1 of {total} queries were not worked on yet; vtscot build --run {run} goes on with them"


def test_failures_that_may_pass_are_counted(run: Path) -> None:
    fail_first(run)
    (line,) = check_run(run, run / "dataset")
    assert "queries failed and may pass in another build (timeout 1)" in line


def test_a_dataset_older_than_its_ledger_is_refused(run: Path) -> None:
    shard = next((run / "dataset").rglob("*.parquet"))
    pq.write_table(pq.read_table(shard).slice(1), shard)
    with pytest.raises(PublishError, match=r"is older than the run's ledger: 1 of .* vtscot rebuild "):
        check_run(run, run / "dataset")
