"""Time of mining per query: tables of a target and four other objects, 70 frames, the plan validated. One core.

What is measured: processor time of `mine` (so that neighbours on the machine count less), the best of five rounds over
the same made-up queries; how many looks their plans have, and facts per plan. `--profile` lists where the time goes.

    python bench/mining.py [--quick] [--json] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from vtscot.mining import MiningSettings, mine
from vtscot.records import Plan, Query
from vtscot.tracks import TrackTable

FRAMES, OTHERS, SIZE = 70, 4, (480, 854)
TARGET = {"ms_per_query": 0.35}
WORDS = (
    "the black swan",
    "the dog walking to the left",
    "the car that stops first",
    "the man who leaves before the other",
)


def table(rng: np.random.Generator) -> TrackTable:
    """A shaky object on a path with a bend, half of them out of view for a while, with flicker."""
    height, width = SIZE
    w, h = rng.uniform(30, 200, 2)
    stops = rng.uniform(0, 1, (4, 2)) * (width - w, height - h)
    at = np.linspace(0, 3, FRAMES)
    path = np.stack([np.interp(at, np.arange(4), stops[:, axis]) for axis in (0, 1)], axis=1)
    path += rng.normal(0, 1.5, path.shape)
    box = np.concatenate([path, np.broadcast_to((w, h), path.shape) + rng.normal(0, 1, path.shape)], axis=1).round()
    if rng.random() < 0.5:
        start = int(rng.integers(0, FRAMES - 20))
        box[start : start + 20] = 0
    box[rng.random(FRAMES) < 0.01] = 0
    area = (box[:, 2] * box[:, 3] * 0.6).astype(np.int64)
    return TrackTable(height, width, area, box)


def jobs(count: int) -> list[tuple[Query, TrackTable, dict[str, TrackTable]]]:
    """Made-up queries; the same ones in every run."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        query = Query(source="bench", split="train", video=f"v{i}", exp_id="0", expression=WORDS[i % len(WORDS)])
        made.append((query, table(rng), {str(k): table(rng) for k in range(OTHERS)}))
    return made


def plans(work: list[tuple[Query, TrackTable, dict[str, TrackTable]]]) -> list[Plan]:
    settings = MiningSettings()
    return [mine(query, FRAMES, target, others, settings) for query, target, others in work]


def measure(count: int) -> dict[str, Any]:
    """The figures over `count` queries."""
    work = jobs(count)
    plans(work[:50])
    seconds = []
    for _ in range(5):
        began = time.process_time()
        made = plans(work)
        seconds.append(time.process_time() - began)
    best = min(seconds)
    return {
        "queries": count,
        "frames": FRAMES,
        "others": OTHERS,
        "ms_per_query": round(1000 * best / count, 3),
        "frames_per_second": round(FRAMES * count / best),
        "looks": dict(sorted(Counter(len(plan.steps) - 1 for plan in made).items())),
        "facts_per_plan": round(sum(len(plan.facts) for plan in made) / count, 1),
        "target": TARGET,
    }


def profile(count: int) -> None:
    work = jobs(count)
    with cProfile.Profile() as profiler:
        plans(work)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    count = 100 if options.quick else 1000
    figures = measure(count)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:20} {value}")
    if options.profile:
        profile(count)


if __name__ == "__main__":
    main()
