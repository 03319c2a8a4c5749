"""The report of a large run: how long a browser takes to show it from disk, to search it and to open an episode.

A run of 10,000 queries about 500 made-up videos (moving rings on a textured ground, 320x180, 1 to 3 turns), written
by `write_report` and opened from `file://` in headless Chromium. To reach: the first paint within 1 s, an episode with
all its pictures decoded within 0.5 s (the median of episodes all over the run, each in a part not loaded before), a
search within 0.1 s. An empty page is timed beside it, to tell the machine from the page.

    python bench/report.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import Page, chromium, find_chromium
from vtscot.budget import Budget
from vtscot.episode import episode_of
from vtscot.masks import Rle
from vtscot.publish.context import PublishContext
from vtscot.publish.figures import figures
from vtscot.publish.report import write_report
from vtscot.records import Check, Grounding, Outcome, Plan, Provenance, Query, Record, Selection, Step, Thought, Verdict
from vtscot.sources.base import Licence
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT, FRAMES, PER_VIDEO = 320, 180, 48, 20
BUDGET: Final = Budget(temporal_frames=20, spatial_frames=5, window_frames=5)
TO_REACH: Final = {"first_paint": 1.0, "episode": 0.5, "search": 0.1}  # seconds
OPENED: Final = 15
READY: Final = "document.querySelector('article')?.dataset.ready === 'true'"
WORDS: Final = (
    "ring",
    "square",
    "moves",
    "left",
    "right",
    "behind",
    "large",
    "small",
    "blue",
    "red",
    "first",
    "hidden",
)


class Synthetic:
    """The frames of one video: a ring that drifts over waves; made when they are asked for."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._ground = self._random.normal(110, 22, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
        self._phase, self._colour = self._random.uniform(0, 6), self._random.uniform(40, 255, 3)

    def __len__(self) -> int:
        return FRAMES

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{i:05d}" for i in range(FRAMES))

    def size(self, i: int) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def mask(self, i: int) -> np.ndarray:
        """(H, W) bool: the ring."""
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        distance = np.hypot(
            x - WIDTH * (0.15 + 0.7 * i / FRAMES), y - HEIGHT * (0.5 + 0.2 * np.sin(i / 5 + self._phase))
        )
        ring: np.ndarray = (distance < 30) & (distance > 11)
        return ring

    def array(self, i: int, max_pixels: int | None = None) -> np.ndarray:
        return np.array(self.image(i, max_pixels))

    @lru_cache(maxsize=64)  # noqa: B019 - one video is open at a time
    def _whole(self, i: int) -> Image:
        from PIL import Image

        pixels = np.roll(self._ground, i, axis=1).copy()
        pixels[self.mask(i)] = self._colour
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        from vtscot.budget import fit

        whole = self._whole(i)
        return whole if max_pixels is None else whole.resize(fit(WIDTH, HEIGHT, max_pixels))

    def digest(self, i: int) -> str:
        return f"{i:064x}"


@lru_cache(maxsize=2)
def frames_of(video: str) -> Synthetic:
    return Synthetic(int(video.rsplit("/", 1)[1]))


@lru_cache(maxsize=2)
def track_of(video: str) -> MaskTrack:
    frames = frames_of(video)
    hidden = range(7, 12)
    return MaskTrack.from_coco([None if i in hidden else Rle.from_array(frames.mask(i)).coco() for i in range(FRAMES)])


def outcome_of(number: int) -> Outcome:
    """Query number `number`: nine of ten are kept, the others rejected or failed."""
    video, place = divmod(number, PER_VIDEO)
    random = np.random.default_rng(number)
    expression = "the " + " ".join(random.choice(WORDS, 6))
    query = Query(
        source="demo", split="train", video=f"{video:04d}", exp_id=str(place), expression=expression, anno_ids=("1",)
    )
    if number % 50 == 7:
        return Outcome(query=query, state="failed", reason="timeout", detail="no answer in 60 s", retryable=True)
    record = record_of(query, 1 + number % 3, None if number % 13 else "keyframe-iou", random)
    return Outcome(
        query=query, state="rejected" if record.verdict.reason else "kept", reason=record.verdict.reason, record=record
    )


def record_of(query: Query, turns: int, reason: str | None, random: np.random.Generator) -> Record:
    """An episode that looks closer in every turn, with some sentences of thought."""
    starts = [int(random.integers(0, 8 * (turn + 1))) for turn in range(turns)]
    windows = [Selection(start=start, end=start + 24, keyframe=start + 12) for start in starts]
    plan = Plan(
        query_id=query.id,
        num_frames=FRAMES,
        difficulty=turns / 3,
        steps=tuple(Step(selection=window, keyframes=(window.keyframe,)) for window in windows),
    )
    episode = episode_of(query, plan, [_thought(window, random) for window in windows], BUDGET)
    iou = 0.1 if reason else float(random.uniform(0.5, 1))
    groundings = tuple(
        Grounding(turn=i, frame=o.decoded, boxes=((120.0, 50.0, 60.0, 60.0),), iou=iou, ceiling=0.95, gradable=True)
        for i, o in enumerate(episode.observations)
    )
    checks = tuple(Check(name=f"check-{i}", passed=True, value=0.5, threshold=0.3) for i in range(15))
    failed = () if reason is None else (Check(name=reason, passed=False, value=iou, threshold=0.35),)
    verdict = Verdict(
        kept=reason is None,
        reason=reason,
        checks=checks + failed,
        groundings=groundings,
        grounder="words",
        segmenter="grabcut",
    )
    provenance = Provenance(vtscot="0", teacher="oracle", recipe="0" * 16, prompts="0" * 16, seed=0)
    return Record(query=query, plan=plan, episode=episode, verdict=verdict, provenance=provenance)


def _thought(window: Selection, random: np.random.Generator) -> Thought:
    def say(start: str) -> str:
        return start + " " + ". ".join(" ".join(random.choice(WORDS, 11)) for _ in range(4))

    named = f"Frames {window.start} to {window.end} matter."
    return Thought(temporal=say(named), spatial=say("There."), linguistic=say("Words."), action=say("Look."))


def context() -> PublishContext:
    licence = Licence(
        "cc0-1.0", "Creative Commons Zero 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", True
    )
    return PublishContext(
        licences={"demo": licence},
        frames=frames_of,
        tracks=lambda query: track_of(query.video_id),
        settings={},
        seconds={},
        prompts="0" * 16,
        version="0",
        teacher="oracle",
    )


def written(count: int, folder: Path, one_file: int | None) -> dict[str, Any]:
    """Write the report; seconds (making the frames included), and sizes in MB."""
    outcomes = sorted((outcome_of(number) for number in range(count)), key=lambda outcome: outcome.query.id)
    begun, working = time.perf_counter(), time.process_time()
    page = write_report(
        outcomes, figures(outcomes), context(), folder, **({} if one_file is None else {"one_file": one_file})
    )
    seconds, worked = time.perf_counter() - begun, time.process_time() - working
    scripts = [path.stat().st_size for path in (folder / "report").iterdir()]
    return {
        "queries": count,
        "write_seconds": seconds,
        "write_cpu_seconds": worked,
        "page_mb": page.stat().st_size / 1e6,
        "folder_mb": sum(scripts) / 1e6,
        "scripts": len(scripts),
        "largest_script_mb": max(scripts) / 1e6,
    }


def paint(page: Page, address: str) -> dict[str, float]:
    """Seconds from the start of the navigation to the first paint, and to the list with all of its thumbnails."""
    page.open("about:blank")
    page.open(address)
    listed = page.run(_when(f"document.readyState === 'complete' && {_settled('.thumb img', '.row .thumb')}"))
    painted = "performance.getEntriesByType('paint').find(e => e.name === 'first-contentful-paint')"
    page.run(_when(painted))
    first = page.run(f"{painted}.startTime")
    return {"first": first / 1e3, "listed": listed / 1e3}


def _settled(images: str, places: str) -> str:
    """A condition: there are images, and each has been loaded."""
    return (
        f"document.querySelectorAll('{images}').length >= document.querySelectorAll('{places}').length * 0.9 &&"
        f" [...document.querySelectorAll('{images}')].every(i => i.complete && i.naturalWidth)"
    )


def _when(condition: str) -> str:
    """A promise of the time at which a condition holds first."""
    return f"""new Promise((yes, no) => {{ const look = () => ({condition}) ? yes(performance.now())
        : performance.now() > 60000 ? no(new Error('never')) : setTimeout(look, 2); look(); }})"""


def opened(page: Page, count: int) -> list[float]:
    """Seconds to open episodes all over the run, each from the click until its pictures are decoded."""
    seconds = []
    for i in range(OPENED):
        number = (2 * i + 1) * count // (2 * OPENED)
        number += number % 50 == 7
        name = f"demo/train/{number // PER_VIDEO:04d}/{number % PER_VIDEO}"
        seconds.append(
            page.run(
                f"""(async () => {{ const begun = performance.now(); location.hash = '#id={name}';
                await {_when(f"document.querySelector('article')?.dataset.id === '{name}' && {READY}")};
                await Promise.all([...document.images].map(image => image.decode()));
                return performance.now() - begun; }})()"""
            )
            / 1e3
        )
    return seconds


def searched(page: Page) -> list[float]:
    """Seconds from a key in the search field to the list that it leaves."""
    page.run("location.hash = '#'")
    page.run(_when("document.querySelector('.row')"))
    field = "const field = document.getElementById('by-q')"
    return [
        page.run(
            f"""(() => {{ {field}; field.value = '{word}'; const begun = performance.now();
            field.dispatchEvent(new Event('input')); document.body.offsetHeight;
            return performance.now() - begun; }})()"""
        )
        / 1e3
        for word in ("r", "ri", "ring", "ring blue", "ring blue hidden", "0042")
    ]


def thoughts(page: Page) -> float:
    """Seconds until all thoughts have been searched."""
    page.run("location.hash = '#q=nowhere&in=thoughts'")
    begun = page.run("performance.now()")
    count = "document.getElementById('count').textContent"
    done = page.run(_when(f"{count}.startsWith('0 of') && !{count}.includes('%')"))
    return float((done - begun) / 1e3)


def measured(page: Page, report: Path, empty: Path, count: int) -> dict[str, Any]:
    """All times in seconds, medians."""
    paints = [paint(page, report.as_uri()) for _ in range(5)]
    plain = [paint(page, empty.as_uri())["first"] for _ in range(5)]
    paint(page, report.as_uri())
    opening, searching = opened(page, count), searched(page)
    heap = page.run("performance.memory.usedJSHeapSize") / 1e6
    return {
        "first_paint": statistics.median(p["first"] for p in paints),
        "first_paint_of_an_empty_page": statistics.median(plain),
        "listed": statistics.median(p["listed"] for p in paints),
        "episode": statistics.median(opening),
        "episode_slowest": max(opening),
        "search": max(searching),
        "thoughts": thoughts(page),
        "heap_mb": heap,
        "errors": len(page.errors),
    }


def main() -> int:
    """Measure and print; exit code 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 queries instead of 10,000")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = 200 if options.quick else 10_000
    program = find_chromium()
    if program is None:
        print("no Chromium here: the report is only written", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        sizes = written(count, Path(name), 1_000_000 if options.quick else None)
        empty = Path(name, "empty.html")
        empty.write_text("<!doctype html><title>empty</title><p>nothing")
        times: dict[str, Any] = {}
        if program is not None:
            with chromium(program) as page:
                page.resize(1280, 1000)
                times = measured(page, Path(name, "report.html"), empty, count)
    print(json.dumps({**sizes, **times}) if options.json else "\n".join(lines(sizes, times)))
    return int(any(times.get(key, 0.0) > most for key, most in TO_REACH.items()) or bool(times.get("errors")))


def lines(sizes: Mapping[str, Any], times: Mapping[str, Any]) -> Sequence[str]:
    """The figures for people."""
    told = [f"{name.replace('_', ' '):30}{value:>10,.3f}" for name, value in sizes.items()]
    for name, value in times.items():
        bound = f"   to reach: at most {TO_REACH[name]:g}" if name in TO_REACH else ""
        told.append(f"{name.replace('_', ' '):30}{value:>10.3f}{bound}")
    return told


if __name__ == "__main__":
    sys.exit(main())
