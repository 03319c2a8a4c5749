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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtscot.budget import preset
from vtscot.cli.selftest import lines
from vtscot.demo import write_demo
from vtscot.mining import MiningSettings
from vtscot.progress import Silent
from vtscot.selftest.figures import Measured
from vtscot.selftest.run import Measuring, measure
from vtscot.verify.base import VerifySettings

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
TREES = (("mevis", "train"), ("ref-youtube-vos", "train"), ("revos", "train"))
MAX_SECONDS = 0.25


def figures(name: str, root: Path, splits: tuple[str, ...], work: Path, segmenter: str) -> Measured:
    """All figures of one source, measured on one core."""
    settings = VerifySettings(segmenter=segmenter)
    measuring = Measuring(name, root, splits, work / name, preset("cold_start"), MiningSettings(), settings)
    return measure(measuring, 1, Silent())


def plain(found: Measured) -> dict[str, Any]:
    return asdict(found) | found.json() | {"undecidable": found.undecidable}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 demo videos instead of 24, one real set")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--segmenter", default="grabcut")
    parser.add_argument("--seed", type=int, default=0, help="of the demo world")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_demo(work / "tree", videos=2 if options.quick else 24, seed=options.seed, workers=1)
        found = [figures("demo", work / "tree", ("train", "valid_u"), work, options.segmenter)]
        real = [(name, split) for name, split in TREES if (REAL / name).is_dir()][: 1 if options.quick else None]
        found += [figures(name, REAL / name, (split,), work, options.segmenter) for name, split in real]
    if options.json:
        print(json.dumps([plain(one) for one in found], indent=1))
    else:
        for one in found:
            print("\n".join([f"\n{one.source}", *lines(one)]))
    return 0 if all(not one.shortfalls and one.seconds <= MAX_SECONDS for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
