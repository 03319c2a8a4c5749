"""Worker processes, the same for every command that shares its work out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from vtscot.errors import RunError


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(
    workers: int, prepare: Callable[..., None] | None = None, *settings: Any
) -> Iterator[ProcessPoolExecutor]:
    """So many worker processes, each begun with `prepare(*settings)`, a function that can be found by its name.

    An error or an interruption of this process ends them at once: what they hold is made again by the next run. A
    worker that is ended from outside is a RunError.
    """
    # Spawned: a forked child would share open files and threads, a ledger's and OpenCV's among them.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(prepare, *settings)
    )
    try:
        yield pool
    except BrokenProcessPool:
        fewer = f"; try workers {workers // 2} instead of {workers}" if workers > 1 else ""
        raise RunError(f"a worker process was ended from outside, perhaps for memory{fewer}") from None
    except BaseException:
        for worker in list((pool._processes or {}).values()):  # Python 3.14 has kill_workers()
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(prepare: Callable[..., None] | None, *settings: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted and ends its workers
    if prepare is not None:
        prepare(*settings)
