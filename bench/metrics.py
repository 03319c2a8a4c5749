"""J and F of one frame from RLE, against the released evaluators: decode both masks, J with numpy, F with cv2.dilate.

On the real OSVOS predictions of ../shared/data where these are at hand (150 frames of 854x480), else on made-up pairs
of the same size. The ways take turns on one core in the same run, several times; of each way the round with the least
CPU time counts. How slow the released way is depends on the state of the allocator: it makes some 30 arrays of a frame.
`tracks` is `track_scores` on MaskTracks, `dicts` is `j_and_f` on pairs of COCO dicts, which are untrusted and checked
first. The two backends must give the same bits, and the released way the same numbers to 1e-9.

    python bench/metrics.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from vtscot.masks import Rle
from vtscot.metrics import Backend, FrameScores, active_backend, bound_pix, j_and_f, track_scores
from vtscot.tracks import MaskTrack

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HEIGHT, WIDTH = 480, 854
TARGET = {"numpy": 12, "numba": 35}

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Tracks = list[tuple[MaskTrack, MaskTrack]]
Pairs = list[tuple[dict[str, Any], dict[str, Any]]]


def boundary(mask: Mask) -> Mask:
    """Boundary pixels as the released evaluators find them."""
    mask = mask.astype(bool)
    right, below, both = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edges = mask ^ right | mask ^ below | mask ^ both
    edges[-1], edges[:, -1], edges[-1, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1], False
    return edges


def released(ground_truth: dict[str, Any], prediction: dict[str, Any]) -> tuple[float, float]:
    """(J, F) of one frame, step by step as released, with the void pixels that no frame here has.

    Neither mask is empty or full here.
    """
    a, b = (coco.decode(mask) for mask in (ground_truth, prediction))
    void = np.zeros_like(a).astype(bool)
    shared = np.sum((a.astype(bool) & b.astype(bool)) & np.logical_not(void))
    either = np.sum((a.astype(bool) | b.astype(bool)) & np.logical_not(void))
    radius = bound_pix(*a.shape)
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    edges_a, edges_b = boundary(a * np.logical_not(void)), boundary(b * np.logical_not(void))
    hits_a = edges_a * cv2.dilate(edges_b.astype(np.uint8), disk)
    hits_b = edges_b * cv2.dilate(edges_a.astype(np.uint8), disk)
    precision, recall = np.sum(hits_b) / float(np.sum(edges_b)), np.sum(hits_a) / float(np.sum(edges_a))
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return float(shared / either), float(f)


def real_tracks() -> Tracks:
    """Ground truth and OSVOS prediction of the first expression of each real video."""
    videos = json.loads((DATA / "mevis/train/meta_expressions.json").read_text())["videos"]
    truth = json.loads((DATA / "mevis/train/mask_dict.json").read_text())
    predicted = json.loads((DATA / "predictions/mevis_predictions.json").read_text())
    return [
        (
            MaskTrack.from_coco(truth[str(video["expressions"]["0"]["anno_id"][0])]),
            MaskTrack.from_coco(predicted[name]["0"]["prediction_masks"]),
        )
        for name, video in videos.items()
    ]


def made_up_tracks(frames: int = 50) -> Tracks:
    """Wobbling blobs of three sizes that move, and blobs of the same sizes with another wobble and rougher edges."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    angle = np.arctan2(y - HEIGHT / 2, x - WIDTH / 2)
    distance = np.hypot(y - HEIGHT / 2, x - WIDTH / 2)

    def blob(radius: float, ragged: float) -> Mask:
        waves = sum(0.12 / k * np.sin(k * angle + rng.uniform(0, 6.3)) for k in range(2, 9))
        return np.asarray(distance + rng.normal(0, ragged, distance.shape) < radius * (1 + waves))

    def track(mask: Mask) -> MaskTrack:
        poses = (np.roll(mask, (i % 7, 2 * i - frames), (0, 1)) for i in range(frames))
        return MaskTrack(HEIGHT, WIDTH, tuple(Rle.from_array(pose).counts for pose in poses))

    return [(track(blob(radius, 0.3)), track(blob(radius, 0.5))) for radius in (60, 110, 180)]


def as_dict(track: MaskTrack, i: int) -> dict[str, Any]:
    rle = track.rle(i)
    assert rle is not None, "every frame of these tracks has a mask"
    return rle.coco()


def fastest(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each way's best round; the ways take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - start)
    return best


def scores(tracks: Tracks, backend: Backend) -> Floats:
    """J and F of all frames (N, 2)."""
    return np.concatenate([np.stack(track_scores(*pair, backend=backend), axis=1) for pair in tracks])


def frame_by_frame(pairs: Pairs, backend: Backend) -> list[FrameScores]:
    return [j_and_f(*pair, backend=backend) for pair in pairs]


def agreement(tracks: Tracks, pairs: Pairs, backends: Sequence[Backend]) -> float:
    """The largest difference from the released way; exits where the backends differ from each other."""
    found = [scores(tracks, backend) for backend in backends]
    if any(not np.array_equal(found[0], other) for other in found[1:]):
        sys.exit("the backends do not give the same scores")
    return float(np.abs(found[0] - np.array([released(*pair) for pair in pairs])).max())


def measure(rounds: int, stride: int) -> dict[str, Any]:
    real = DATA.is_dir()
    tracks = [
        (MaskTrack(a.height, a.width, a.masks[::stride]), MaskTrack(b.height, b.width, b.masks[::stride]))
        for a, b in (real_tracks() if real else made_up_tracks())
    ]
    pairs = [(as_dict(a, i), as_dict(b, i)) for a, b in tracks for i in range(len(a))]
    backends: list[Backend] = ["numpy", "numba"] if active_backend() == "numba" else ["numpy"]
    difference = agreement(tracks, pairs, backends)
    ways: dict[str, Callable[[], object]] = {"released": lambda: [released(*pair) for pair in pairs]}
    for backend in backends:
        ways[f"{backend} tracks"] = partial(scores, tracks, backend)
        ways[f"{backend} dicts"] = partial(frame_by_frame, pairs, backend)
    seconds = fastest(ways, rounds)
    return {
        "data": "OSVOS predictions" if real else "made up",
        "frames": len(pairs),
        "ms_per_frame": {name: 1000 * value / len(pairs) for name, value in seconds.items()},
        "ratio": {name: seconds["released"] / value for name, value in seconds.items() if name != "released"},
        "largest_difference": difference,
        "target": {name: value for name, value in TARGET.items() if name in backends},
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['frames']} frames ({result['data']}), largest difference {result['largest_difference']:.1e}")
    for name, value in result["ms_per_frame"].items():
        ratio = result["ratio"].get(name)
        goal = f"{ratio:7.1f}x  (target {TARGET[name.split()[0]]}x)" if ratio else ""
        print(f"{name:14s} {value:8.3f} ms/frame {goal}")


def main() -> int:
    """Returns 1 where a target is missed or the scores differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="every fifth frame, three rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    result = measure(rounds=3 if options.quick else 7, stride=5 if options.quick else 1)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
    reached = all(result["ratio"][f"{name} tracks"] >= goal for name, goal in result["target"].items())
    return 0 if reached and result["largest_difference"] <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
