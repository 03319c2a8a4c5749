"""Writes the demo as a MeViS tree, one process per core; a video depends on nothing but (seed, number).

```
<root>/{train,valid_u}/JPEGImages/<vid>/<00000>.jpg   meta_expressions.json   mask_dict.json
<root>/demo.json                                      written last: what a complete tree was made with
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from vtscot.processes import cores, processes

from .files import RECORD, SPLITS, prepare, read_record, write_json
from .seeds import VERSION
from .video import Video, write_video

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DemoSummary:
    """What the tree holds: videos and frames in all, queries per split."""

    videos: int
    frames: int
    queries: dict[str, int]


def write_demo(
    root: Path,
    *,
    videos: int = 24,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DemoSummary:
    """Writes `videos` videos, every fourth one to `valid_u`; a complete tree of the same settings is reused.

    `workers` defaults to the cores at hand; the bytes do not depend on it. `progress(done, videos)` is called after
    each video. Raises ValueError for fewer than one video or worker, DataError where `root` holds other videos.
    """
    if videos < 1:
        raise ValueError(f"videos must be at least 1, not {videos}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    root = Path(root)
    record = read_record(root, videos, seed)
    if record is None:
        prepare(root)
        record = _write(root, videos, seed, min(workers or cores(), videos), progress)
    elif progress:
        progress(videos, videos)
    return _summary(record)


def split_of(number: int) -> str:
    return "valid_u" if number % 4 == 3 else "train"


def _summary(record: dict[str, Any]) -> DemoSummary:
    return DemoSummary(
        videos=record["videos"],
        frames=sum(sum(record["frames"][split].values()) for split in SPLITS),
        queries={split: record["queries"][split] for split in SPLITS},
    )


def _write(root: Path, videos: int, seed: int, workers: int, progress: Progress | None) -> dict[str, Any]:
    done: dict[int, Video] = {}
    for video in _produce(root, videos, seed, workers):
        done[video.number] = video
        if progress:
            progress(len(done), videos)
    record: dict[str, Any] = {"version": VERSION, "seed": seed, "videos": videos, "frames": {}, "queries": {}}
    for split in SPLITS:
        rows = [done[number] for number in range(videos) if split_of(number) == split]
        write_json(root / split / "meta_expressions.json", {"videos": {row.name: row.meta for row in rows}}, indent=1)
        write_json(root / split / "mask_dict.json", {key: track for row in rows for key, track in row.masks.items()})
        record["frames"][split] = {row.name: len(row.meta["frames"]) for row in rows}
        record["queries"][split] = sum(len(row.meta["expressions"]) for row in rows)
    write_json(root / RECORD, record, indent=1)
    return record


def _produce(root: Path, videos: int, seed: int, workers: int) -> Iterator[Video]:
    """The videos as they are finished, in whatever order."""
    jobs = [(root / split_of(number) / "JPEGImages", seed, number) for number in range(videos)]
    if workers == 1:
        yield from (write_video(*job) for job in jobs)
        return
    with processes(workers, cv2.setNumThreads, 1) as pool:
        for future in as_completed([pool.submit(write_video, *job) for job in jobs]):
            yield future.result()
