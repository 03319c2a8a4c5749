"""Index and mine a mask_dict.json of 8,000 tracks / 563k masks, against decoding every mask.

What is measured, on one core, each way in a process of its own:
* ours: `build_index` (without frames on disk), then `mine` for one expression per track; masks per second of both
  together, and the peak resident memory of the process;
* the way evaluators do it, on a sample of the tracks in the same run: pycocotools decodes every mask, area and box come
  from the boolean array with `sum` and `np.where`. The ratio is in masks per second; their `json.load` is left out.
  `careful` is the same with `any` per row and column instead of `np.where`: as fast as decoding gets.

What dominates, by a profile: of the index, rlemasklib's parsing of the counts with areas and boxes (some 60%), then
writing (15%), turning JSON into RLEs (10%), finding where tracks end (5%) and hashing the file (5%); of mining, numpy
calls on arrays as long as one video. Memory: half of the peak is numpy, pyarrow and the areas and boxes of all tracks.

The file is made once and kept in the temporary folder: outlines of a few hundred irregular blobs of 480x854 whose RLEs
have some 700 characters, moved over the frames by rewriting the first and the last run of the RLE.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HEIGHT, WIDTH = 480, 854
SHAPES, POSES = 12, 96  # blobs, and outlines of each: none comes twice in a track, so that nothing compresses too well
TRACKS_PER_VIDEO = 5
WORDS = (
    "that moves left",
    "that stops first",
    "moving to the right",
    "in the middle",
    "that turns around",
    "at the top",
)
TARGET = {"frames_per_second": 60_000, "peak_mib": 350, "ratio": 60}


def blob(rng: np.random.Generator, radius: float, phase: float) -> npt.NDArray[np.bool_]:
    """(480, 854) bool: an irregular outline with a ragged edge, in the left half."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) - np.array([HEIGHT / 2, WIDTH / 3], np.float32)[:, None, None]
    turns = (np.arctan2(y, x) * (1024 / (2 * np.pi))).astype(int)  # the wave is looked up, not computed per pixel
    angles = np.arange(1024) * (2 * np.pi / 1024)
    wave = sum(np.sin(k * angles + phase * k) / k for k in (2, 3, 5, 8, 13))
    edge = (radius * (1 + 0.25 * np.asarray(wave)))[turns]
    ragged = rng.standard_normal((HEIGHT, WIDTH), np.float32) * np.float32(0.8)
    return np.asarray(np.hypot(y * 0.8, x) + ragged < edge)


def number(value: int) -> str:
    """One number of COCO's compressed counts."""
    text = ""
    while True:
        bits = value & 0x1F
        value >>= 5
        more = value != (-1 if bits & 0x10 else 0)
        text += chr(48 + (bits | 0x20 if more else bits))
        if not more:
            return text


class Outline:
    """An RLE that can be moved sideways at the cost of its first and last run."""

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(flat.view(np.int8))) + 1
        runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
        middle = [run - runs[i - 2] if i > 2 else run for i, run in enumerate(runs)][1:-1]
        self.first, self.last = runs[0], runs[-1] - runs[-3]
        self.middle = "".join(map(number, middle)).replace("\\", "\\\\")

    def moved(self, columns: int) -> str:
        """JSON text of the counts, moved to the right."""
        by = columns * HEIGHT
        ends = [number(end).replace("\\", "\\\\") for end in (self.first + by, self.last - by)]
        return f"{ends[0]}{self.middle}{ends[1]}"


def frames_of(video: int) -> int:
    """Frames of a video: 60 to 95."""
    return 60 + video * 7 % 36


def generate(root: Path, tracks: int, poses: int) -> None:
    """Write a MeViS tree without frames: one split, `train`."""
    rng = np.random.default_rng(0)
    radii = np.geomspace(19, 115, SHAPES)
    outlines = [[Outline(blob(rng, r, s + 0.05 * p)) for p in range(poses)] for s, r in enumerate(radii)]
    folder = root / "train"
    folder.mkdir(parents=True)
    videos: dict[str, Any] = {}
    with (folder / "mask_dict.json").open("w") as file:
        for track in range(tracks):
            video = track // TRACKS_PER_VIDEO
            body = videos.setdefault(f"video{video:04d}", {"vid_id": video, "expressions": {}, "frames": []})
            body["frames"] = [f"{i:05d}" for i in range(frames_of(video))]
            text = f"the thing {WORDS[track % len(WORDS)]} number {track % TRACKS_PER_VIDEO}"
            expression = {"exp": text, "obj_id": [track % TRACKS_PER_VIDEO], "anno_id": [track]}
            body["expressions"][str(len(body["expressions"]))] = expression
            file.write(("{" if track == 0 else ", ") + f'"{track}": [' + ", ".join(entries(outlines, track)) + "]")
        file.write("}")
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))


def entries(outlines: list[list[Outline]], track: int) -> Iterator[str]:
    """One RLE or null per frame: the object crosses the frame, and is hidden for a tenth of the time."""
    frames = frames_of(track // TRACKS_PER_VIDEO)
    poses = outlines[track * 5 % SHAPES]
    hidden = range(track * 11 % frames, track * 11 % frames + frames // 11)
    start, speed = track * 13 % 150, (track * 7 % 5 - 2) * 1.5
    for frame in range(frames):
        at = int(min(max(start + speed * frame, -90), 300))
        counts = poses[frame % len(poses)].moved(at)
        yield "null" if frame in hidden else f'{{"size": [{HEIGHT}, {WIDTH}], "counts": "{counts}"}}'


def ours(root: Path, directory: Path) -> dict[str, float]:
    """Index, then mine every query."""
    from vtscot.index import build_index
    from vtscot.mining import MiningSettings, mine
    from vtscot.sources.registry import open_source

    began = time.perf_counter()
    index = build_index(open_source("mevis", root, "train"), directory, check_frames=False)
    indexed = time.perf_counter()
    settings = MiningSettings()
    for query in index.queries:
        others = index.video_tables(query.video)
        target = others.pop(query.anno_ids[0])
        mine(query, len(target), target, others, settings)
    ended = time.perf_counter()
    masks = sum(int(table.visible.sum()) for _, table in index.tables())
    assert not index.skipped
    return {
        "masks": masks,
        "queries": len(index.queries),
        "index_seconds": indexed - began,
        "mine_seconds": ended - indexed,
        "frames_per_second": masks / (ended - began),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def decoding(root: Path) -> dict[str, float]:
    """Decode the masks of some tracks, evenly chosen, and take area and box from the pixels."""
    tracks = list(json.loads((root / "train" / "mask_dict.json").read_bytes()).values())
    chosen = [rle for track in tracks[:: len(tracks) // min(61, len(tracks) // 20)] for rle in track if rle]
    return {
        "sample_masks": len(chosen),
        "decoding_frames_per_second": rate(chosen, np.where),
        "careful_frames_per_second": rate(chosen, lambda mask: [np.flatnonzero(mask.any(axis=i)) for i in (1, 0)]),
    }


def rate(rles: list[dict[str, Any]], find: Callable[[npt.NDArray[np.bool_]], Sequence[npt.NDArray[np.int64]]]) -> float:
    """Masks per second; `find` gives the rows and the columns of a mask."""
    from pycocotools import mask as coco

    began = time.perf_counter()
    for rle in rles:
        mask = coco.decode(rle).astype(bool)
        rows, columns = find(mask)
        _ = mask.sum(), (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return len(rles) / (time.perf_counter() - began)


def alone(role: str, root: Path) -> dict[str, float]:
    """Run one side in a fresh process on one core."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--role", role, "--root", str(root)]
    done = subprocess.run(command, env=os.environ | single, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def play(role: str, root: Path) -> None:
    """The child's part."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if role == "decode":
        print(json.dumps(decoding(root)))
        return
    directory = Path(tempfile.mkdtemp(dir=root))
    try:
        print(json.dumps(ours(root, directory)))
    finally:
        shutil.rmtree(directory)


def main() -> int:
    """Returns 1 where a figure is missed (not with --quick, which is too short to tell)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 tracks")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        play(options.role, options.root)
        return 0
    tracks = 200 if options.quick else 8000
    root = Path(tempfile.gettempdir()) / f"vtscot-bench-index-4-{tracks}"
    if not root.is_dir():
        with tempfile.TemporaryDirectory(dir=root.parent) as made:
            generate(Path(made) / "tree", tracks, 4 if options.quick else POSES)
            with suppress(OSError):  # another bench made it meanwhile
                (Path(made) / "tree").rename(root)
    result = alone("decode", root) | alone("ours", root)
    result["ratio"] = result["frames_per_second"] / result["decoding_frames_per_second"]
    result["careful_ratio"] = result["frames_per_second"] / result["careful_frames_per_second"]
    result["megabytes"] = (root / "train" / "mask_dict.json").stat().st_size / 1e6
    missed = [name for name in TARGET if (result[name] < TARGET[name]) != (name == "peak_mib")]
    report(result, missed, options.json)
    return 0 if options.quick else bool(missed)


def report(result: dict[str, float], missed: list[str], as_json: bool) -> None:
    """Print the figures."""
    if as_json:
        print(json.dumps({name: round(value, 3) for name, value in result.items()}))
        return
    for name, value in result.items():
        target = f"   to reach: {TARGET[name]:,}{' MISSED' if name in missed else ''}" if name in TARGET else ""
        print(f"{name:>28} {value:>12,.1f}{target}")


if __name__ == "__main__":
    sys.exit(main())
