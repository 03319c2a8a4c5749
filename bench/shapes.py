"""What the released shapes cost: Qwen3-VL-2B and -4B with SAM 2 (Hiera-L), joined, with random weights.

For each shape the real commands run, in processes of their own, about demo videos stretched to 854x480, whose episodes
have two looks and an answer: `vtscot train sft` takes a few steps of the shape's released recipe, and replies to the
first observation are written greedily under the budget `evaluation`. Told are the parameters, tokens per second and
peak memory (what torch allocated on a GPU, the whole process on a CPU), with the device's name. The first step is left
out where there are several. Weights are drawn, so losses and words mean nothing. The tokenizer is trained on the
episodes, so text has a few tokens more or less than with Qwen's; most tokens are those of images.

    python bench/shapes.py [--quick] [--json] [--shapes 2b,4b] [--steps N] [--device DEVICE] [--set KEY=VALUE ...]

A shape takes 4 bytes per parameter on the disk, twice. On a CPU of 24 GB: --shapes 2b --steps 1 --rows 1
--set precision=fp32 --set batch.effective=1. Figures: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any, Final

from _released import write_policy  # the part of this bench beside it

WIDTH, HEIGHT = 854, 480
VIDEOS, QUICK, REPLY = 12, 1, 64  # every fourth video is held out
RECIPES: Final = {"2b": "sft_videoseg_o3_2b", "4b": "sft_videoseg_o3_4b", "tiny": "sft_tiny"}
LOOKS: Final = ("mining.difficulty.one_look=1e-9", "mining.difficulty.two_looks=1e-9")


def enlarge(root: Path) -> None:
    """Stretch the frames and masks of the demo world's train split to `WIDTH` x `HEIGHT`; it stays a MeViS tree."""
    from PIL import Image

    from vtscot import masks

    for path in sorted((root / "train" / "JPEGImages").rglob("*.jpg")):
        Image.open(path).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=90)
    file = root / "train" / "mask_dict.json"
    tracks = json.loads(file.read_text())
    for track in tracks.values():
        for i, mask in enumerate(track):
            track[i] = mask and masks.resize(masks.Rle.from_coco(mask), HEIGHT, WIDTH).coco()
    file.write_text(json.dumps(tracks))


def peak_gb(device: str) -> float:
    """The most memory that this process took."""
    import resource

    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device)) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def train(shape: str, run: Path, policy: Path, out: Path, device: str, settings: Sequence[str]) -> dict[str, Any]:
    """Some steps of the shape's recipe by `vtscot train sft`."""
    from vtscot.cli.main import run as vtscot
    from vtscot.training.metrics import read_metrics

    line = ["train", "sft", "--data", str(run), "--model", str(policy), "--recipe", RECIPES[shape], "--out", str(out)]
    for setting in settings:
        line += ["--set", setting]
    if code := vtscot([*line, "--device", device]):
        raise SystemExit(f"vtscot {' '.join(line)} failed with {code}")
    steps = read_metrics(out)
    told = steps[1:] or steps
    about = json.loads((out / "training.json").read_text())
    return {
        "trained": sum(about["trained"].values()),
        "step_tokens": round(median(step["tokens"] for step in told)),
        "step_seconds": round(median(step["seconds"] for step in told), 2),
        "tokens_per_second": round(sum(step["tokens"] for step in told) / sum(step["seconds"] for step in told), 1),
        "peak_gb": round(peak_gb(device), 2),
    }


def write(run: Path, policy: Path, device: str, rows: int) -> dict[str, Any]:
    """Greedy replies of `REPLY` tokens to the first observation, `rows` at once; reading and writing told apart."""
    from vtscot.budget import preset
    from vtscot.policy.cache import Counters
    from vtscot.policy.load import load_policy
    from vtscot.policy.rollout import Ask, roll
    from vtscot.sft.examples import open_examples

    model, processor = load_policy(policy, device, "bfloat16" if device.startswith("cuda") else "float32")
    examples = open_examples(str(run))
    asks = [Ask(f"q/{i}", "the red circle", examples[i % len(examples)].frames) for i in range(rows)]

    def timed(tokens: int) -> tuple[float, Counters]:
        counters, began = Counters(), time.perf_counter()
        budget = preset("evaluation").model_copy(update={"max_new_tokens": tokens, "max_turns": 1})
        list(roll(model, processor, asks, budget, batch_size=rows, counters=counters))
        return time.perf_counter() - began, counters

    timed(2)  # the first call of anything is slower
    reading, read = timed(1)
    both, written = timed(REPLY)
    more = written.generated_tokens - read.generated_tokens
    return {
        "rows": rows,
        "read_tokens_per_second": round(read.prefilled_tokens / reading, 1),
        "written_tokens_per_second": round(more / (both - reading), 1),
        "peak_gb": round(peak_gb(device), 2),
    }


def device_name(device: str) -> str:
    """What the figures are of."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {torch.get_num_threads()} threads"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def apart(options: argparse.Namespace, part: str, shape: str, work: Path) -> Any:
    """One part of the measuring in a process of its own, whose memory is what is told."""
    line = [
        sys.executable,
        __file__,
        "--part",
        part,
        "--shapes",
        shape,
        "--work",
        str(work),
        "--device",
        options.device,
    ]
    line += ["--steps", str(options.steps), "--rows", str(options.rows)]
    for setting in options.set:
        line += ["--set", setting]
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    return json.loads(ended.stdout.splitlines()[-1])


def one_part(options: argparse.Namespace) -> Any:
    run, policy = options.work / "run", options.work / options.shapes
    if options.part == "policy":
        return write_policy(options.shapes, run, policy, options.device)
    if options.part == "write":
        return write(run, policy, options.device, options.rows)
    out = options.work / f"{options.shapes}-trained"
    settings = [f"max_steps={options.steps}", "save_every=100000", *options.set]
    return train(options.shapes, run, policy, out, options.device, settings)


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    from vtscot.cli.main import run as vtscot
    from vtscot.demo import write_demo

    write_demo(work / "demo", videos=QUICK if options.quick else VIDEOS)
    enlarge(work / "demo")
    build = ["build", "--source", "mevis", "--root", str(work / "demo"), "--run", str(work / "run")]
    for setting in LOOKS:
        build += ["--set", setting]
    with redirect_stdout(sys.stderr):
        code = vtscot(build)
    if code:
        raise SystemExit(f"the records could not be built ({code})")
    found: dict[str, Any] = {"device": device_name(options.device)}
    for shape in options.shapes.split(","):
        parameters = apart(options, "policy", shape, work)
        found[shape] = {
            "parameters": parameters,
            "train": apart(options, "train", shape, work),
            "write": apart(options, "write", shape, work),
        }
    return found


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines of text."""
    lines = [found["device"]]
    for shape, figures in found.items():
        if shape == "device":
            continue
        trained, written = figures["train"], figures["write"]
        lines += [
            f"{shape}: {sum(figures['parameters'].values()):,} parameters, {trained['trained']:,} trained",
            f"  a step of {trained['step_tokens']:,} tokens: {trained['step_seconds']:.1f} s,"
            f" {trained['tokens_per_second']:,.0f} tokens/s, peak {trained['peak_gb']:.1f} GB",
            f"  rollouts, {written['rows']} rows: {written['read_tokens_per_second']:,.0f} tokens/s read,"
            f" {written['written_tokens_per_second']:,.1f} written, peak {written['peak_gb']:.1f} GB",
        ]
    return lines


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny shape, one video, one step")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--shapes", help="2b, 4b or tiny, separated by commas [default: 2b,4b]")
    parser.add_argument("--steps", type=int, help="of the recipe [default: 3]")
    parser.add_argument("--rows", type=int, default=8, help="replies that are written at once")
    parser.add_argument("--device", default="", help="[default: the GPU where there is one]")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the shape's recipe")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.shapes = options.shapes or ("tiny" if options.quick else "2b,4b")
    options.steps = options.steps or (1 if options.quick else 3)
    if options.quick:
        options.rows, options.set = 2, ["batch.effective=2", "batch.per_device=1", "max_tokens=8192", *options.set]
    if not options.device:
        from vtscot.policy.load import choose_device

        options.device = choose_device("auto").type
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    if options.part:
        print(json.dumps(one_part(options)))
        return 0
    with tempfile.TemporaryDirectory(prefix="vtscot-bench-") as scratch:
        found = measure(options, Path(scratch))
    print(json.dumps(found) if options.json else "\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
