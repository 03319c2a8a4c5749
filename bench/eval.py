"""The whole command `vtscot eval` on made-up predictions: frames per second, and memory against the number of them.

A MeViS tree without images and an interchange JSON are written: videos of 20 frames of 854x480 with three blobs each,
ten expressions per video. What is measured, in processes of their own:
* `vtscot eval --workers 1 --json` from start to end (index, finding, scoring) on few and on ten times as many
  expressions: frames per second, and the peak resident memory of its largest process, which must not grow;
* the same with one process per core;
* the released evaluators' way (decode both masks, J with numpy, F with cv2.dilate) on a sample of the same pairs and
  without reading any file: what the ratio is to. Scores must agree to 1e-9 with those of the command.

    python bench/eval.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from metrics import made_up_tracks, released  # the bench beside this one

FRAMES, PER_VIDEO, GROWTH = 20, 10, 10
TARGET = {"ratio": 5.0, "growth": 1.15}  # at least; at most


def write_world(root: Path, expressions: int) -> tuple[Path, Path]:
    """(tree, predictions) with so many expressions."""
    pairs = made_up_tracks(FRAMES)
    videos: dict[str, Any] = {}
    masks: dict[str, Any] = {}
    truth, predicted = ([coco(pair[i]) for pair in pairs] for i in (0, 1))
    for video in range(expressions // PER_VIDEO):
        body: dict[str, Any] = {"frames": [f"{i:05d}" for i in range(FRAMES)], "expressions": {}}
        for n in range(PER_VIDEO):
            anno = video * len(pairs) + n % len(pairs)
            masks[str(anno)] = truth[n % len(pairs)]
            body["expressions"][str(n)] = {"exp": f"thing number {n}", "obj_id": [n % len(pairs)], "anno_id": [anno]}
        videos[f"video{video:05d}"] = body
    folder = root / "tree" / "train"
    folder.mkdir(parents=True)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    (folder / "mask_dict.json").write_text(json.dumps(masks))
    with (root / "predictions.json").open("w") as file:
        texts = [json.dumps({"prediction_masks": track}) for track in predicted]
        one = ", ".join(f'"{n}": {texts[n % len(pairs)]}' for n in range(PER_VIDEO))
        file.write("{" + ", ".join(f'"{name}": {{{one}}}' for name in videos) + "}")
    return root / "tree", root / "predictions.json"


def coco(track: Any) -> list[dict[str, Any]]:
    """A track as annotation files hold it."""
    return [track.rle(i).coco() for i in range(len(track))]


def command(root: Path, predictions: Path, scores: Path, *options: str) -> tuple[float, float]:
    """(seconds, MiB of the largest process) of one run."""
    where = ["--source", "mevis", "--root", str(root), "--split", "train", "--predictions", str(predictions)]
    line = [sys.executable, "-m", "vtscot", "eval", *where, "--json", "--csv", str(scores), *options]
    began = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode())
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def released_rate(scores: Path) -> float:
    """Frames per second of the released way; its scores must be those of the command."""
    pairs = made_up_tracks(FRAMES)
    began = time.perf_counter()
    means = []
    for truth, predicted in pairs:
        values = [released(*both) for both in zip(coco(truth), coco(predicted), strict=True)]
        means.append([sum(column) / FRAMES for column in zip(*values, strict=True)])
    rate = len(pairs) * FRAMES / (time.perf_counter() - began)
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        j, f = means[int(row["exp_id"]) % len(pairs)]
        assert abs(float(row["J"]) - j) < 1e-9, row
        assert abs(float(row["F"]) - f) < 1e-9, row
    return rate


def measure(few: int) -> dict[str, float]:
    """All figures."""
    from vtscot.metrics import active_backend

    with tempfile.TemporaryDirectory() as folder:
        small, large = (Path(folder) / name for name in ("small", "large"))
        worlds = [write_world(root, count) for root, count in ((small, few), (large, few * GROWTH))]
        command(*worlds[0], small / "warm.csv", "--workers", "1")  # whatever is compiled or cached is so now
        _, rss_few = command(*worlds[0], small / "scores.csv", "--workers", "1")
        one, rss_many = command(*worlds[1], large / "one.csv", "--workers", "1")
        cores, _ = command(*worlds[1], large / "cores.csv")
        assert (large / "one.csv").read_bytes() == (large / "cores.csv").read_bytes()
        plain = released_rate(small / "scores.csv")
        megabytes = worlds[1][1].stat().st_size / 1e6
    frames = few * GROWTH * FRAMES
    return {
        "expressions": few * GROWTH,
        "frames": frames,
        "megabytes": megabytes,
        "compiled": float(active_backend() == "numba"),
        "one_core_frames_per_second": frames / one,
        "all_cores_frames_per_second": frames / cores,
        "released_frames_per_second": plain,
        "ratio": frames / one / plain,
        f"mib_at_{few}": rss_few,
        f"mib_at_{few * GROWTH}": rss_many,
        "growth": rss_many / rss_few,
    }


def main() -> int:
    """Returns 1 where a figure is missed (not with --quick, which is too short to tell)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 and 200 expressions")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    options = parser.parse_args()
    result = measure(20 if options.quick else 120)
    missed = [name for name in TARGET if (result[name] < TARGET[name]) != (name == "growth")]
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in result.items()}))
    else:
        for name, value in result.items():
            target = f"   to reach: {TARGET[name]}{' MISSED' if name in missed else ''}" if name in TARGET else ""
            print(f"{name:>28} {value:>12,.2f}{target}")
    return 0 if options.quick else bool(missed)


if __name__ == "__main__":
    sys.exit(main())
