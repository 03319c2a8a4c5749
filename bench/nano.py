"""What `nano` can do without any dialogue: tables, windows and words about videos it was not trained on.

The videos are the first of nano's own seed, which its training keeps for measuring; six expressions of each, drawn as
in training. The decisions of a table are made greedily, one on the other, and the text between them is given
(`vtscot.sft.nano.measure`). Beside keyframes and windows stand the best constants. Last, true masks are followed by SAM
2's memory through the 16 frames of each video that are kept sharp; beside it a mask that stays where it was.

    python bench/nano.py [--quick] [--json] [--videos N] [--model runs/nano/nano]    # of a training
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vtscot.policy.load import load_policy
from vtscot.sft.nano.measure import measure
from vtscot.sft.nano.model import Warmup
from vtscot.sft.nano.queries import KINDS, draw
from vtscot.sft.nano.tasks import Tasks
from vtscot.sft.nano.tracking import follow
from vtscot.sft.nano.train import BUDGET
from vtscot.sft.nano.world import read_shards, write_shard

QUERIES = 6


def figures(videos: int, model: str = "nano") -> dict[str, float]:
    """The figures of `measure` on the first videos of nano's seed."""
    policy, processor = load_policy(model, "cpu")
    side = policy.config.sam_config.vision_config.backbone_config.image_size[0]
    tasks, rng = Tasks(processor, BUDGET), np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="vtscot-nano-") as folder:
        write_shard(Path(folder) / "0000.bin", range(videos), BUDGET, processor.token_side, side)
        clips = list(read_shards(Path(folder)))
        examples = [tasks.example(clip, rng, draw(clip, rng, QUERIES, KINDS), False) for clip in clips]
        return measure(Warmup(policy), examples, processor) | follow(policy.sam, clips)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 videos")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--model", default="nano", help="a policy of nano's shape; the shipped one by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = figures(2 if options.quick else options.videos, options.model)
    print(json.dumps(found) if options.json else "\n".join(f"{name:20}{value:8.3f}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
