"""How jobs are driven through the stages: in processes where the work is arithmetic, in one event loop where it waits.

Both drivers yield results as they come, in no particular order; nothing that is written depends on that order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

from vtscot.endpoint.client import ChatClient
from vtscot.index import open_index
from vtscot.ledger import Ledger
from vtscot.processes import processes
from vtscot.recipe import Recipe
from vtscot.segmenter import open_segmenter
from vtscot.sources.registry import open_source
from vtscot.stages import Done, Job, Tools, process
from vtscot.teacher import open_teacher
from vtscot.verify import open_grounder, open_judge

R = TypeVar("R")
Stage = Callable[[Job, Tools], Coroutine[Any, Any, R]]
"""What is done with one job in a worker process; a function that can be found by its name."""

CHUNK: Final = 6  # jobs per task: small enough to share the work out evenly at the end


@dataclass(frozen=True)
class Workplace:
    """What a process needs to make its own tools. Models are asked through `answers` alone, a ledger, if it is set."""

    recipe: Recipe
    source_root: Path
    index: Path
    answers: Path | None = None

    def tools(self, ledger: Ledger | None = None, say: Callable[[str], None] | None = None) -> Tools:
        """The tools of this process; those that ask a model keep its answers in `ledger` and tell `say`."""
        recipe = self.recipe
        client = ChatClient(recipe.teacher, ledger, say=say) if ledger is not None else self._replay()
        return Tools(
            recipe=recipe,
            source=open_source(recipe.source.name, self.source_root, recipe.source.split),
            index=open_index(self.index),
            teacher=open_teacher(
                recipe.teacher.name,
                client,
                recipe.teacher.style,
                mode=recipe.teacher.mode,
                tokens=recipe.teacher.pass_tokens,
            ),
            grounder=open_grounder(recipe.verify.grounder, client, recipe.seed),
            segmenter=open_segmenter(
                recipe.verify.segmenter, recipe.verify.checkpoint, recipe.verify.device, recipe.verify.dtype
            ),
            judge=open_judge(recipe.verify.judge, client, recipe.seed),
            client=client,
        )

    def _replay(self) -> ChatClient | None:
        """A client that sends nothing and answers from the ledger."""
        if self.answers is None or not self.recipe.asks_a_model:
            return None
        return ChatClient(self.recipe.teacher, Ledger(self.answers, read_only=True), offline=True)


_tools: Tools | None = None  # of a worker process; set once by `_prepare`


def _prepare(place: Workplace) -> None:
    global _tools  # noqa: PLW0603
    _tools = place.tools()


def _work(stage: Stage[R], jobs: Sequence[Job]) -> list[R]:
    if _tools is None:
        raise RuntimeError("the worker was not prepared")
    return _in_turn(stage, jobs, _tools)


def _in_turn(stage: Stage[R], jobs: Sequence[Job], tools: Tools) -> list[R]:
    async def all_of_them() -> list[R]:
        done = [await stage(job, tools) for job in jobs]
        await asyncio.sleep(0)  # where an interruption is heard that came during arithmetic
        return done

    return asyncio.run(all_of_them())


def chunks(jobs: Sequence[Job], size: int = CHUNK) -> Iterator[list[Job]]:
    """Jobs in runs of at most `size` that share a video, so that frames are decoded for several queries at once."""
    for _, group in groupby(jobs, key=lambda job: job.query.video):
        together = list(group)
        yield from (together[i : i + size] for i in range(0, len(together), size))


def in_processes(jobs: Sequence[Job], place: Workplace, workers: int, stage: Stage[R]) -> Iterator[R]:
    """Drive jobs through a pool of processes, each with its own tools; one worker is this process itself."""
    if workers == 1:
        tools = place.tools()
        for job in jobs:
            yield from _in_turn(stage, [job], tools)
        return
    waiting: set[Future[list[R]]] = set()
    todo = chunks(jobs)
    with processes(workers, _prepare, place) as pool:
        while True:
            while len(waiting) < 2 * workers and (chunk := next(todo, None)) is not None:
                waiting.add(pool.submit(_work, stage, chunk))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


def in_loop(jobs: Sequence[Job], tools: Tools, concurrency: int) -> Iterator[Done]:
    """Drive jobs through an event loop of this process, so many at a time; an exception of one cancels the others."""
    with asyncio.Runner() as runner:
        results = _gather(jobs, tools, concurrency)
        try:
            while (done := runner.run(anext(results, None))) is not None:
                yield done
        finally:
            runner.run(results.aclose())


async def _gather(jobs: Sequence[Job], tools: Tools, concurrency: int) -> AsyncGenerator[Done, None]:
    todo = iter(jobs)
    running: set[asyncio.Task[Done]] = set()
    try:
        while True:
            while len(running) < concurrency and (job := next(todo, None)) is not None:
                running.add(asyncio.create_task(process(job, tools)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            failures = [error for task in done if (error := task.exception()) is not None]
            for task in done:
                if task.exception() is None:
                    yield task.result()  # what is finished is saved, whatever happened to its neighbours
            if failures:
                raise failures[0]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if tools.client is not None:
            await tools.client.close()
