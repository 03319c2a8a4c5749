"""What the offline segmenters reach from the ground-truth box: the ceiling of verification, and the time of a call.

Every object on every n-th frame of the demo world (8 videos) and of the real videos beside the checkout, if they are
there. IoU: mean, 10th percentile and smallest; share of objects below the default `min_ceiling` (not gradable).

    python bench/segmenter.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vtscot.demo import write_demo
from vtscot.index import Index, build_index
from vtscot.pieces import box_of
from vtscot.segmenter import WEIGHTLESS, open_segmenter
from vtscot.segmenter.base import Image, Mask
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.verify.base import VerifySettings
from vtscot.verify.grading import iou_of

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "mevis"
MAX_SECONDS = 0.06


def objects(source: Source, index: Index, step: int) -> Iterator[tuple[str, Image, Mask]]:
    """(video, image, mask) of every plainly visible object on every `step`-th frame."""
    for name, video in index.videos.items():
        frames = source.frames(video)
        tracks = [index.track(anno_id) for anno_id in index.objects(name)]
        for i in range(0, len(frames), step):
            image = frames.array(i)
            for track in tracks:
                if track.areas[i] >= VerifySettings().min_visible * track.height * track.width:
                    yield name, image, track.decode(i)


def measure(name: str, root: Path, step: int, work: Path) -> list[dict[str, Any]]:
    """One row per video group and segmenter."""
    source = open_source(name, root, "train")
    seen = list(objects(source, build_index(source, work / name), step))
    groups = sorted({video for video, _, _ in seen}) if name == "mevis" else ["demo"]
    rows = []
    for group in groups:
        part = [(image, mask) for video, image, mask in seen if group in (video, "demo")]
        for back_end in WEIGHTLESS:
            rows.append({"video": group, "objects": len(part), "segmenter": back_end, **grade(back_end, part)})
    return rows


def grade(back_end: str, part: list[tuple[Image, Mask]]) -> dict[str, float]:
    segmenter, ious, times = open_segmenter(back_end), [], []
    for image, mask in part:
        begun = time.perf_counter()
        found = segmenter.segment(image, box_of(mask))
        times.append(time.perf_counter() - begun)
        ious.append(iou_of(found, mask))
    return {
        "iou": float(np.mean(ious)),
        "p10": float(np.quantile(ious, 0.1)),
        "min": min(ious),
        "not_gradable": float(np.mean(np.array(ious) < VerifySettings().min_ceiling)),
        "seconds": float(np.median(times)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the frames")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    step = 24 if options.quick else 6
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_demo(work / "tree", videos=8, seed=0, workers=1)
        rows = measure("demo", work / "tree", step, work)
        if REAL.is_dir():
            rows += measure("mevis", REAL, step, work)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        head = f"{'IoU':>7}{'p10':>7}{'min':>7}{'not gradable':>14}{'ms/call':>9}"
        print(f"{'video':12}{'objects':>8}  {'segmenter':10}{head}")
        for row in rows:
            print(
                f"{row['video']:12}{row['objects']:>8}  {row['segmenter']:10}{row['iou']:>7.3f}{row['p10']:>7.3f}"
                f"{row['min']:>7.3f}{row['not_gradable']:>14.3f}{1000 * row['seconds']:>9.1f}"
            )
    return 0 if all(row["seconds"] <= MAX_SECONDS for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
