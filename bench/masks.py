"""What a call of vtscot.masks costs beside rlemasklib's own, on masks of 854x480.

Both sides get the same compressed COCO counts: vtscot as `Rle`, rlemasklib as the dict its functional API takes.
rlemasklib has no resize on dicts; there it parses, resizes and packs with its RLEMask. `measure` has no counterpart:
it is set against rlemasklib's area and box of the same list, and checks what it reads besides.

    python bench/masks.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rlemasklib
from rlemasklib import RLEMask

from vtscot import masks
from vtscot.masks import Rle

HEIGHT, WIDTH = 480, 854
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "mevis" / "train" / "mask_dict.json"
MAX_RATIO = 1.5

Call = Callable[[], object]
Row = dict[str, Any]


def blob(rng: np.random.Generator, radius: float) -> np.ndarray:
    """A filled shape whose border wobbles: (H, W) bool."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    dy, dx = y - rng.uniform(0.3, 0.7) * HEIGHT, x - rng.uniform(0.3, 0.7) * WIDTH
    angle = np.arctan2(dy, dx)
    waves = [rng.normal(0, 0.25 / k) * np.sin(k * angle + rng.uniform(0, 6.3)) for k in range(1, 30)]
    noise = rng.normal(0, 0.01, (HEIGHT, WIDTH))
    return np.hypot(dy, dx) < radius * (1 + sum(waves) + noise)


def mask_sets() -> dict[str, list[Rle]]:
    rng = np.random.default_rng(0)
    sets = {
        name: [Rle.from_array(np.roll(shape, (step, 3 * step), (0, 1))) for shape in shapes for step in range(16)]
        for name, radius in (("small blobs", 20), ("blobs", 80), ("large blobs", 180))
        for shapes in [[blob(rng, radius) for _ in range(4)]]
    }
    if REAL.is_file():
        tracks = json.loads(REAL.read_text()).values()
        sets["real"] = [Rle.from_coco(entry) for track in tracks for entry in track[:12] if entry is not None]
    return sets


def calls(a: Rle, b: Rle, rles: Sequence[Rle]) -> dict[str, tuple[Call, Call]]:
    """What is compared: name -> (ours, theirs)."""
    far = Rle.from_array(~masks.decode(a))  # as many runs, no common pixel
    da, db, dfar = ({"size": list(rle.size), "counts": rle.counts} for rle in (a, b, far))
    dicts = [{"size": list(rle.size), "counts": rle.counts} for rle in rles]
    counts = [rle.counts for rle in rles]
    crop = tuple(masks.box(a).tolist())
    corner = np.array(crop, np.int64)
    return {
        "area": (lambda: masks.area(a), lambda: rlemasklib.area(da)),
        "areas (list)": (lambda: masks.areas(rles), lambda: rlemasklib.area(dicts)),
        "box": (lambda: masks.box(a), lambda: rlemasklib.to_bbox(da)),
        "boxes (list)": (lambda: masks.boxes(rles), lambda: rlemasklib.to_bbox(dicts)),
        "measure (list)": (
            lambda: masks.measure(counts, HEIGHT, WIDTH),
            lambda: (rlemasklib.area(dicts), rlemasklib.to_bbox(dicts)),
        ),
        "union": (lambda: masks.union([a, b]), lambda: rlemasklib.union([da, db])),
        "intersection": (lambda: masks.intersection(a, b), lambda: rlemasklib.intersection([da, db])),
        "iou": (lambda: masks.iou(a, b), lambda: rlemasklib.iou([da, db])),
        "iou (apart)": (lambda: masks.iou(a, far), lambda: rlemasklib.iou([da, dfar])),
        "resize": (
            lambda: masks.resize(a, 240, 427),
            lambda: RLEMask.from_dict(da).resize((240, 427)).to_dict(),
        ),
        "decode": (lambda: masks.decode(a), lambda: rlemasklib.decode(da)),
        "decode (crop)": (lambda: masks.decode(a, crop), lambda: rlemasklib.decode(rlemasklib.crop(da, corner))),
    }


def seconds(call: Call, loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def compare(ours: Call, theirs: Call, budget: float) -> tuple[float, float]:
    """Best seconds per call of both, measured in turns so that a busy neighbour disturbs both alike."""
    loops = max(1, int(budget / 50 / max(seconds(ours, 3), seconds(theirs, 3))))
    rounds = [(seconds(ours, loops), seconds(theirs, loops)) for _ in range(25)]
    return min(own for own, _ in rounds), min(other for _, other in rounds)


def bench(budget: float) -> list[Row]:
    rows = []
    for kind, rles in mask_sets().items():
        bytes_ = sum(len(rle.counts) for rle in rles) / len(rles)
        for name, (ours, theirs) in calls(rles[0], rles[1], rles).items():
            own, other = compare(ours, theirs, budget)
            per = len(rles) if "list" in name else 1
            figures = {"vtscot_us": own / per * 1e6, "rlemasklib_us": other / per * 1e6, "ratio": own / other}
            rows.append(
                {"masks": kind, "bytes": round(bytes_), "call": name} | {k: round(v, 2) for k, v in figures.items()}
            )
    return rows


def show(rows: list[Row]) -> None:
    print(f"{'masks':<12} {'call':<15} {'vtscot us':>10} {'rlemasklib us':>14} {'ratio':>6}")
    for row in rows:
        late = "" if row["ratio"] <= MAX_RATIO else f"  above {MAX_RATIO}"
        print(
            f"{row['masks']:<12} {row['call']:<15} {row['vtscot_us']:>10.2f} {row['rlemasklib_us']:>14.2f} "
            f"{row['ratio']:>6.2f}{late}"
        )
    print(f"worst ratio {max(row['ratio'] for row in rows):.2f} (to reach: {MAX_RATIO}); times per mask")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time; rougher figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    rows = bench(0.02 if options.quick else 0.2)
    if options.json:
        print(json.dumps({"worst_ratio": max(row["ratio"] for row in rows), "to_reach": MAX_RATIO, "rows": rows}))
    else:
        show(rows)


if __name__ == "__main__":
    main()
