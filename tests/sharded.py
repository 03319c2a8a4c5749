"""vtscot as one of several processes on a CPU that share out weights, by FSDP 2 or ZeRO 3, with the shipped config.

`SHARDED_BY` names the config. accelerate shards by FSDP over accelerators only, though torch does on a CPU as well
(gloo): here it is told that the processes belong to some. Run by torch's launcher, since that of accelerate starts
several processes on a CPU only with MPI: python -m torch.distributed.run ... -m tests.sharded train sft ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.training import after_figures

CONFIGS: Final = Path(__file__).resolve().parents[1] / "pipelines" / "accelerate"
_FSDP: Final = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}  # of `accelerate launch`
_ZERO: Final = {
    "zero3_init_flag": "ACCELERATE_DEEPSPEED_ZERO3_INIT",
    "gradient_accumulation_steps": "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
    "gradient_clipping": "ACCELERATE_GRADIENT_CLIPPING",
}


def settings_of(way: str) -> dict[str, str]:
    """What `accelerate launch` puts into the environment for that config."""
    config = yaml.safe_load((CONFIGS / f"{way}.yaml").read_text(encoding="utf-8"))
    if way == "fsdp":
        named = {_FSDP.get(name, name.upper()): str(value) for name, value in config["fsdp_config"].items()}
        return {**named, "ACCELERATE_USE_FSDP": "true"}
    found = config["deepspeed_config"].items()
    named = {_ZERO.get(name, f"ACCELERATE_DEEPSPEED_{name.upper()}"): str(value).lower() for name, value in found}
    return {**named, "ACCELERATE_USE_DEEPSPEED": "true", "DS_ACCELERATOR": "cpu"}


def over_cpus() -> None:
    """Have accelerate take the processes for those of an accelerator."""
    from accelerate import state

    begin = state.AcceleratorState.__init__

    def begin_sharded(self: Any, *args: Any, **kwargs: Any) -> None:
        state.PartialState(cpu=True)
        if not state.AcceleratorState._shared_state:
            state.PartialState._shared_state["distributed_type"] = state.DistributedType.MULTI_NPU
        begin(self, *args, **kwargs)

    state.AcceleratorState.__init__ = begin_sharded


def main() -> None:
    way = os.environ["SHARDED_BY"]
    os.environ |= settings_of(way)
    if way == "fsdp":
        over_cpus()
    if "DIE_AT" in os.environ:
        after_figures(pytest.MonkeyPatch(), int(os.environ["DIE_AT"]), lambda: os._exit(9))  # a power cut

    from vtscot.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
