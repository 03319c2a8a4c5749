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
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._made_up import PER_VIDEO, context, outcome_of
from tests.browser import Page, chromium, find_chromium
from vtscot.publish.figures import figures
from vtscot.publish.report import write_report

TO_REACH: Final = {"first_paint": 1.0, "episode": 0.5, "search": 0.1}  # seconds
OPENED: Final = 15
READY: Final = "document.querySelector('article')?.dataset.ready === 'true'"


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
