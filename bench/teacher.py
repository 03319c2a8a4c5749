"""Throughput of the teacher stage: 512 requests of 8 frames, 64 in flight, a local server that answers after 2 s.

Run with `python bench/teacher.py [--quick] [--json]`. To reach: >= 90% of the ideal (512 / 64 x 2 s), memory flat.

What is timed: rendering, frame digests, decoding, scaling, marking and encoding of images, the HTTP exchange, and the
synced commit of every answer, from an empty ledger and a fresh client to the last parsed answer; the import of the
openai package (about 0.7 s, once) is not. The server is a process of its own on the same machine, and takes its share
of the cores; `cpu` is what this process alone used.

* `shared` is the figure: the temporal pass of 512 queries over 24 videos of 854x480, each request with 8 frames at the
  cold-start budget. Queries of a video show the same frames, as they do in every dataset, so most images come from the
  cache.
* `distinct`: the same requests, but no image is ever shown twice (each is decoded, scaled and encoded anew; the files
  behind them are those of the 24 videos, so the disk is spared).
* `sharp`: the spatial pass with 8 sharp frames and the target outlined; 4 targets per video, so that a marked frame is
  shared by about 5 queries. In practice a spatial pass shows 1 to 5 frames.

Memory is the process's resident set at 25%, 50% and 100% of the requests. `ledger` is what one request takes there, in
bytes, to stay below 8192; the answers of the local server are short, a long one adds its own length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import openai  # noqa: F401  imported before the clock starts
from PIL import Image

from vtscot.budget import Budget
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.request import Picture, Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.episode import observations
from vtscot.frames import FolderFrames
from vtscot.ledger import Ledger
from vtscot.masks import Rle
from vtscot.records import Plan, Query, Selection, Step
from vtscot.teacher.base import TraceTask
from vtscot.teacher.passes import SPATIAL, TEMPORAL, Moment, Pass
from vtscot.tracks import MaskTrack

WIDTH, HEIGHT, FRAMES, SHOWN = 854, 480, 40, 8
DELAY_S, IN_FLIGHT, REQUESTS, VIDEOS, TARGETS = 2.0, 64, 512, 24, 4
JOBS = 2 * IN_FLIGHT  # a query asks two passes at a time; here each has one request, so twice as many queries
BUDGET = Budget(temporal_frames=SHOWN, spatial_frames=SHOWN)


@dataclass(frozen=True)
class Figure:
    """One run: seconds, CPU seconds, the ideal seconds, resident MiB at 25%, 50% and 100%, ledger bytes a request."""

    name: str
    requests: int
    seconds: float
    cpu: float
    ideal: float
    memory: tuple[float, ...]
    ledger: int

    @property
    def share(self) -> float:
        return self.ideal / self.seconds


def write_videos(root: Path, videos: int) -> list[FolderFrames]:
    """Textured frames of about 60 KB; only those that are shown are written."""
    names = [f"{i:05d}" for i in range(FRAMES)]
    shown = sorted({frame.index for frame in observations(_plan(0), BUDGET)[0].frames})
    made = []
    for number in range(videos):
        rng = np.random.default_rng(number)
        folder = root / str(number)
        folder.mkdir()
        coarse = Image.fromarray(rng.integers(0, 255, (60, 107, 3), dtype=np.uint8))
        texture = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        for i in shown:
            Image.fromarray(np.roll(texture, 3 * i, axis=1)).save(folder / f"{names[i]}.jpg", quality=90)
        made.append(FolderFrames(folder, names))
    return made


def _plan(number: int) -> Plan:
    step = Step(selection=Selection(start=5, end=30, keyframe=20), keyframes=(20, 15))
    return Plan(query_id=f"bench/train/v/{number}", num_frames=FRAMES, difficulty=0, steps=(step,))


def _target(number: int) -> MaskTrack:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    left = 100 + 150 * (number % TARGETS)
    mask[150:300, left : left + 120] = True
    return MaskTrack(HEIGHT, WIDTH, (Rle.from_array(mask).counts,) * FRAMES)


def moments(videos: Sequence[FolderFrames], requests: int) -> list[Moment]:
    """One turn 0 per query, video by video, as a source yields them."""
    made = []
    for number in range(requests):
        video = number * len(videos) // requests
        query = Query(source="bench", split="train", video=str(video), exp_id=str(number), expression=f"shape {number}")
        plan = _plan(number)
        task = TraceTask(query, plan, observations(plan, BUDGET), videos[video], _target(number), {}, seed=0)
        shown = frozenset(task.observations[0].indices)
        made.append(Moment(task, 0, plan.steps[0], task.observations[0], shown, ()))
    return made


def made_distinct(request: Request, numbers: Iterator[int]) -> Request:
    """The request with images that no cache knows."""
    parts = (
        replace(part, digest=f"{part.digest} {next(numbers)}") if isinstance(part, Picture) else part
        for part in request.content
    )
    return replace(request, content=tuple(parts))


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


@contextmanager
def local_server() -> Iterator[str]:
    """The base URL of a server process."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), "--delay", str(DELAY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


async def drive(client: ChatClient, work: Sequence[Moment], ask: Pass, *, distinct: bool) -> tuple[float, ...]:
    """Ask all, JOBS queries in work, IN_FLIGHT requests in flight; resident memory at 25%, 50% and 100%."""
    todo, numbers, done, memory = iter(work), count(), 0, list[float]()

    async def worker() -> None:
        nonlocal done
        for moment in todo:
            request = await ask.prepare(moment)
            request = made_distinct(request, numbers) if distinct else request
            await client.ask(request, ask.answer, lambda answer: answer)
            done += 1
            if done in (len(work) // 4, len(work) // 2, len(work)):
                memory.append(resident_mib())

    await asyncio.gather(*(worker() for _ in range(JOBS)))
    return tuple(memory)


def run(name: str, work: Sequence[Moment], ask: Pass, *, distinct: bool = False) -> Figure:
    """One figure, with a ledger and a server of its own."""

    async def timed(ledger: Ledger, url: str) -> tuple[float, float, tuple[float, ...]]:
        begun, used = time.perf_counter(), time.process_time()
        client = ChatClient(EndpointSettings(model="m", base_url=url, concurrency=IN_FLIGHT), ledger)
        memory = await drive(client, work, ask, distinct=distinct)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - used
        await client.close()
        return seconds, cpu, memory

    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(Path(folder) / "ledger.sqlite") as ledger,
        local_server() as url,
    ):
        seconds, cpu, memory = asyncio.run(timed(ledger, url))
        assert ledger.usage().answers == len(work)
        ledger.close()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Figure(name, len(work), seconds, cpu, len(work) / IN_FLIGHT * DELAY_S, memory, size // len(work))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 requests, only the figure itself")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    requests = 256 if options.quick else REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        work = moments(write_videos(Path(folder), VIDEOS), requests)
        figures = [run("shared", work, TEMPORAL)]
        if not options.quick:
            figures.append(run("distinct", work, TEMPORAL, distinct=True))
            figures.append(run("sharp", work, SPATIAL))
    if options.json:
        print(json.dumps({f.name: {**vars(f), "share": f.share} for f in figures}))
        return
    for figure in figures:
        memory = " / ".join(f"{mib:.0f}" for mib in figure.memory)
        print(
            f"{figure.name:9} {figure.requests} requests of {SHOWN} frames in {figure.seconds:.2f} s,"
            f" {figure.share:.1%} of the ideal {figure.ideal:.0f} s;"
            f" cpu {figure.cpu:.1f} s; resident MiB at 25/50/100%: {memory}; {figure.ledger} bytes of ledger each"
        )


if __name__ == "__main__":
    main()
