"""`python -m vtscot.sft.nano --out DIR`: what `make nano` runs. Goes on where an earlier run in the folder stopped.

On N cores: `python -m torch.distributed.run --standalone --nproc_per_node N -m vtscot.sft.nano --out DIR`.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from vtscot.errors import VtscotError
from vtscot.sft.nano.settings import load_settings
from vtscot.sft.nano.share import open_share
from vtscot.sft.nano.train import train


def main() -> int:
    """Exit code 0, 1 for an error, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m vtscot.sft.nano", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the policy is in its nano/")
    parser.add_argument("--recipe", type=Path, default=Path(str(files("vtscot.pipelines") / "nano.yaml")))
    parser.add_argument("--workers", type=int, default=2, help="processes that make the worlds")
    say = partial(print, flush=True)
    told = parser.parse_args()
    torch.set_num_threads(1)
    try:
        with open_share() as share:
            folder = train(load_settings(told.recipe), told.out, say, told.workers, share)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on in {told.out}", file=sys.stderr)
        return 130
    except VtscotError as error:
        say(str(error), file=sys.stderr)
        return 1
    if share.first:
        say(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
