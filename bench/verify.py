"""How far the offline verifier can be trusted: what it keeps of good episodes, and what it notices of planted errors.

Episodes of the oracle teacher, on the demo world and on the real videos beside the checkout, if they are there: share
kept, seconds per episode, and per kind of planted error the share that is rejected. Exit code 1 where a figure misses.

    python bench/verify.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from vtscot.budget import preset
from vtscot.demo import write_demo
from vtscot.index import build_index
from vtscot.segmenter import open_segmenter
from vtscot.selftest import cases, judge, plant_all
from vtscot.selftest.planting import PLANTERS, Case
from vtscot.sources.registry import open_source
from vtscot.verify import open_grounder
from vtscot.verify.base import VerifySettings

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "mevis"
MIN_RECALL = 0.99
MAX_FALSE = 0.01
MAX_SECONDS = 0.25


def measure(name: str, root: Path, splits: list[str], work: Path, segmenter_name: str) -> dict[str, Any]:
    """All figures of one source."""
    settings = VerifySettings(segmenter=segmenter_name)
    grounder, segmenter = open_grounder(settings.grounder, None), open_segmenter(settings.segmenter)
    made: list[Case] = []
    for split in splits:
        source = open_source(name, root, split)
        made += cases(source, build_index(source, work / name / split), preset("cold_start"), seed=0)
    begun = time.perf_counter()
    verdicts = [judge(case, grounder, segmenter, settings) for case in made]
    seconds = (time.perf_counter() - begun) / len(made)
    kept = [case for case, verdict in zip(made, verdicts, strict=True) if verdict.kept]
    ious = [v.keyframe_iou for c, v in zip(made, verdicts, strict=True) if c.task.target is not None and v.groundings]
    tallies = {
        kind: plant_all(kind, kept, lambda case: judge(case, grounder, segmenter, settings), 0) for kind in PLANTERS
    }
    return {
        "source": name,
        "segmenter": segmenter_name,
        "episodes": len(made),
        "kept": len(kept),
        "false_rejections": 1 - len(kept) / len(made),
        "reasons": dict(Counter(v.reason for v in verdicts if v.reason is not None)),
        "mean_keyframe_iou": sum(ious) / len(ious),
        "seconds_per_episode": seconds,
        "recall": {kind: tally.recall for kind, tally in tallies.items()},
        "planted": {kind: tally.planted for kind, tally in tallies.items()},
        "noticed_as": {kind: tally.reasons for kind, tally in tallies.items()},
        "missed": {kind: list(tally.missed) for kind, tally in tallies.items() if tally.missed},
    }


def show(figures: dict[str, Any]) -> None:
    kept, total = figures["kept"], figures["episodes"]
    print(f"\n{figures['source']}, segmenter {figures['segmenter']}: {kept} of {total} good episodes kept", end="")
    print(f" (false rejections {figures['false_rejections']:.3f}, to reach <= {MAX_FALSE})", figures["reasons"] or "")
    print(f"mean keyframe IoU {figures['mean_keyframe_iou']:.3f}; {figures['seconds_per_episode']:.3f} s per episode")
    print(f"{'planted error':26}{'n':>5}{'recall':>9}   noticed as")
    for kind, recall in figures["recall"].items():
        value = "-" if recall is None else f"{recall:.3f}"
        reasons = ", ".join(f"{reason} {n}" for reason, n in figures["noticed_as"][kind].items())
        print(f"{kind:26}{figures['planted'][kind]:>5}{value:>9}   {reasons}")
    for kind, missed in figures.get("missed", {}).items():
        print(f"missed {kind}: {', '.join(missed)}")


def reached(figures: dict[str, Any]) -> bool:
    """True where recall, false rejections and time are as they should be."""
    recalls = [recall for recall in figures["recall"].values() if recall is not None]
    return (
        min(recalls) >= MIN_RECALL
        and figures["false_rejections"] <= MAX_FALSE
        and figures["seconds_per_episode"] <= MAX_SECONDS
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 demo videos instead of 24")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--segmenter", default="grabcut")
    parser.add_argument("--seed", type=int, default=0, help="of the demo world")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_demo(work / "tree", videos=4 if options.quick else 24, seed=options.seed, workers=1)
        figures = [measure("demo", work / "tree", ["train", "valid_u"], work, options.segmenter)]
        if REAL.is_dir():
            figures.append(measure("mevis", REAL, ["train"], work, options.segmenter))
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for one in figures:
            show(one)
    return 0 if all(map(reached, figures)) else 1


if __name__ == "__main__":
    sys.exit(main())
