"""Worker processes: what they are begun with, and how they end."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest

from vtscot.errors import DataError, RunError
from vtscot.processes import cores, processes

_told: list[str] = []


def _tell(word: str, other: str) -> None:
    _told.extend((word, other))


def _say(_: int) -> tuple[list[str], bool]:
    return _told, signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def _refuse(_: int) -> None:
    raise DataError("this one cannot be read")


def test_every_worker_is_prepared_and_leaves_interruptions_to_its_parent() -> None:
    with processes(2, _tell, "frames", "masks") as pool:
        assert list(pool.map(_say, range(4))) == [(["frames", "masks"], True)] * 4
    assert not _told


def test_a_worker_that_is_ended_from_outside_is_named() -> None:
    with (
        pytest.raises(RunError, match="ended from outside, perhaps for memory; try workers 1 instead of 2"),
        processes(2) as pool,
    ):
        pool.submit(partial(os._exit, 9)).result()


def test_an_error_of_one_ends_the_others_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(DataError, match="this one cannot be read"), processes(2) as pool:
        slow, broken = pool.submit(time.sleep, 120), pool.submit(_refuse, 0)
        broken.result()
    assert time.monotonic() - begun < 60
    assert not slow.done() or slow.exception() is not None


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
