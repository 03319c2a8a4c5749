"""The leak filter: how many leaks it finds and how many good sentences it takes for leaks.

Hand-written sentences (vtscot/selftest/sentences.py, unseen_sentences.py) alone; then planted into every episode of the
oracle on the demo world, and on the clean episodes. To reach: recall >= 0.99 of the sentences it was made for, alone
and planted, and false alarms <= 0.01 of both. What it reaches on sentences it was not made for is printed beside,
without a bound.

    python bench/leaks.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from vtscot.budget import preset
from vtscot.demo import write_demo
from vtscot.index import build_index
from vtscot.selftest.leakage import Share, false_alarms, planted, sentence_figures
from vtscot.selftest.measure import cases
from vtscot.selftest.planting import Case
from vtscot.sources.registry import open_source

MIN_RECALL, MAX_FALSE = 0.99, 0.01


def oracle_cases(videos: int) -> list[Case]:
    """The oracle's episodes on a demo world of so many videos."""
    with tempfile.TemporaryDirectory() as folder:
        write_demo(Path(folder, "tree"), videos=videos, seed=0, workers=1)
        made: list[Case] = []
        for split in ("train", "valid_u"):
            source = open_source("demo", Path(folder, "tree"), split)
            made += cases(source, build_index(source, Path(folder, split)), preset("cold_start"), seed=0)
        return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 demo videos instead of 24")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    made = oracle_cases(4 if options.quick else 24)
    sentences, inside, clean = sentence_figures(), planted(made), false_alarms(made)
    if options.json:
        groups = {"sentences": sentences, "planted": inside, "clean": {"episodes": clean}}
        print(json.dumps({name: {k: [v.hits, v.total] for k, v in group.items()} for name, group in groups.items()}))
    else:
        show(sentences, inside, clean)
    recalls = [share.value for name, share in sentences.items() if name in inside] + [s.value for s in inside.values()]
    return 0 if min(recalls) >= MIN_RECALL and max(sentences["innocent"].value, clean.value) <= MAX_FALSE else 1


def show(sentences: dict[str, Share], inside: dict[str, Share], clean: Share) -> None:
    print(f"{'kind of leak':16}{'sentences':>10}{'found':>8}{'planted':>9}{'found':>8}")
    for kind, share in inside.items():
        own = sentences[kind]
        print(f"{kind:16}{own.total:>10}{own.value:>8.3f}{share.total:>9}{share.value:>8.3f}")
    unseen, innocent, other = sentences["unseen"], sentences["innocent"], sentences["unseen innocent"]
    print(f"{'not made for':16}{unseen.total:>10}{unseen.value:>8.3f}")
    print(
        f"false alarms: {innocent.hits} of {innocent.total} innocent sentences, {other.hits} of {other.total} that it"
    )
    print(f"was not made for, {clean.hits} of {clean.total} clean episodes")
    for name, share in {**sentences, **inside, "clean": clean}.items():
        for text in share.wrong:
            print(f"  wrong ({name}): {text}")


if __name__ == "__main__":
    sys.exit(main())
