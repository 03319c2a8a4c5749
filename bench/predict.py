"""How much memory `vtscot predict` takes for a long video, and how fast it is.

A clip and a folder of JPEGs of 854x480 are made, and the whole command runs on each in a process of its own with a tiny
policy (the small shapes of `vtscot init-policy --tiny`, on one core): PNGs, RLE, overlay and page included. A policy
with random weights never answers, so the mask is planted: a disc on the middle frame, as a policy would decode it, is
followed both ways, and SAM 2 is made to believe that it is there in every frame: its masks are more ragged than real
ones. Exit code 1 where a process needs 3 GB or more.

    python bench/predict.py [--quick] [--json] [--frames N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 854, 480
LIMIT_GB = 3.0
FRAMES, QUICK = 5000, 24


def pictures(count: int) -> Any:
    """A disc that crosses a textured ground which moves the other way: BGR frames."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 64, 3), dtype=np.uint8)
    ground = cv2.resize(noise, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for i in range(count):
        left = (2 * i) % WIDTH
        frame = np.ascontiguousarray(ground[:, left : left + WIDTH])
        cv2.circle(frame, _centre(i), 70, (40, 40, 220), -1)
        yield frame


def _centre(i: int) -> tuple[int, int]:
    return 80 + abs((3 * i) % (2 * (WIDTH - 160)) - (WIDTH - 160)), HEIGHT // 2


def write_clip(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 24, (WIDTH, HEIGHT))
    for frame in pictures(count):
        writer.write(frame)
    writer.release()


def write_folder(folder: Path, count: int) -> None:
    folder.mkdir()
    for i, frame in enumerate(pictures(count)):
        cv2.imwrite(str(folder / f"{i:05d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 85])


def planted(policy: Path, video: Path, out: Path) -> None:
    """In a process of its own: the command with a rollout whose mask is planted; prints figures as JSON."""
    import resource

    import torch

    from vtscot.cli.main import run
    from vtscot.policy import rollout

    torch.set_num_threads(1)
    original = rollout.roll
    rollout.roll = lambda *args, **kwargs: plant(original, *args, **kwargs)
    started = time.perf_counter()
    command = ["predict", "--model", str(policy), "--video", str(video), "--query", "the disc", "--out", str(out)]
    code = run([*command, "--device", "cpu", "--json"])
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"code": code, "seconds": seconds, "peak_gb": peak, "cpu_seconds": time.process_time()}))


def plant(original: Any, policy: Any, processor: Any, asks: Any, budget: Any, *args: Any, **kwargs: Any) -> Any:
    """The real rollout, cut short, with an answer whose mask is the disc of the frame it is decoded on."""
    import torch

    from vtscot.episode import first_observation
    from vtscot.policy.rollout import RolledTurn, Rollout
    from vtscot.records import Selection, Thought, Turn

    (real,) = original(policy, processor, asks, budget.model_copy(update={"max_new_tokens": 16}), *args, **kwargs)
    shown = first_observation(len(asks[0].frames), budget)
    x, y = _centre(shown.decoded)
    side = policy.config.image_size // 4
    rows, columns = np.mgrid[0:side, 0:side] / side
    near = np.hypot(columns * WIDTH - x, rows * HEIGHT - y) < 70
    logits = torch.from_numpy(np.where(near, 8.0, -8.0).astype(np.float32))
    thought = Thought(temporal="t", spatial="s", linguistic="l", action="a")
    turn = Turn(thought=thought, action="answer", selection=Selection(start=0, end=0, keyframe=0))
    reply = torch.zeros(0, dtype=torch.int64)
    rolled = RolledTurn(shown, reply, "planted", turn, None, torch.zeros(0), logits, 1.0, 1.0, shown.decoded)
    yield Rollout(asks[0], 0, (rolled,), "answered", real.pieces)


def measure(policy: Path, video: Path, out: Path, count: int) -> dict[str, float]:
    """Figures of the command on one video."""
    command = [sys.executable, __file__, "--planted", str(policy), str(video), str(out)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    predicted, figures = (json.loads(line) for line in ended.stdout.splitlines()[-2:])
    if figures["code"] or len(list((out / "Annotations").rglob("*.png"))) != count:
        raise SystemExit(f"{video}: predict failed with {figures['code']}")
    return {
        "frames": count,
        "frames_with_mask": predicted["queries"]["0"]["frames_with_mask"],
        "peak_gb": round(figures["peak_gb"], 3),
        "seconds": round(figures["seconds"], 1),
        "cpu_seconds": round(figures["cpu_seconds"], 1),
        "frames_per_second": round(count / figures["seconds"], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} frames instead of {FRAMES}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--planted", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.planted:
        planted(*options.planted)
        return 0
    count = options.frames or (QUICK if options.quick else FRAMES)
    with tempfile.TemporaryDirectory(prefix="vtscot-bench-") as scratch:
        work = Path(scratch)
        from vtscot.policy.init import init_tiny

        policy = init_tiny(work / "policy", 0, ["the disc", "Step 1: it moves to the left."])
        policy.sam.mask_decoder.pred_obj_score_head.proj_out.bias.data += 100
        policy.save_pretrained(work / "policy")
        write_clip(work / "clip.mp4", count)
        write_folder(work / "folder", count)
        videos = {"clip": work / "clip.mp4", "folder": work / "folder"}
        found = {name: measure(work / "policy", path, work / f"{name}-out", count) for name, path in videos.items()}
    if options.json:
        print(json.dumps({"limit_gb": LIMIT_GB, **found}))
    else:
        print(f"{'video':<8}{'frames':>8}{'with mask':>11}{'peak GB':>9}{'seconds':>9}{'CPU s':>8}{'frames/s':>10}")
        for name, row in found.items():
            print(
                f"{name:<8}{row['frames']:>8}{row['frames_with_mask']:>11}{row['peak_gb']:>9.2f}{row['seconds']:>9.0f}"
                f"{row['cpu_seconds']:>8.0f}{row['frames_per_second']:>10.1f}"
            )
    return int(any(row["peak_gb"] >= LIMIT_GB for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
