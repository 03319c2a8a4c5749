"""vtscot as one of several processes on a CPU that share out weights by FSDP 2, with the shipped config.

accelerate shards over accelerators only, though torch does on a CPU as well (gloo): here it is told that the processes
belong to some. Run by torch's launcher: python -m torch.distributed.run ... -m tests.sharded train sft ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.training import after_figures

CONFIG: Final = Path(__file__).resolve().parents[1] / "pipelines" / "accelerate" / "fsdp.yaml"
_NAMES: Final = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}  # of `accelerate launch`


def main() -> None:
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["fsdp_config"]
    os.environ |= {_NAMES.get(name, name.upper()): str(value) for name, value in settings.items()}
    os.environ["ACCELERATE_USE_FSDP"] = "true"

    from accelerate import state

    begin = state.AcceleratorState.__init__

    def begin_sharded(self: Any, *args: Any, **kwargs: Any) -> None:
        state.PartialState(cpu=True)
        if not state.AcceleratorState._shared_state:
            state.PartialState._shared_state["distributed_type"] = state.DistributedType.MULTI_NPU
        begin(self, *args, **kwargs)

    state.AcceleratorState.__init__ = begin_sharded

    if "DIE_AT" in os.environ:
        after_figures(pytest.MonkeyPatch(), int(os.environ["DIE_AT"]), lambda: os._exit(9))  # a power cut

    from vtscot.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
