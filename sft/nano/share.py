"""One training by several processes of one machine: each draws a share of every step, gradients are averaged.

Started by torch's launcher (`python -m torch.distributed.run --nproc_per_node N -m vtscot.sft.nano`). Process 0 alone
writes files; the others wait for it where they need them. Without a launcher there is one share, the whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
from torch import distributed

PATIENCE: Final = timedelta(hours=6)  # as long as process 0 may need to make the worlds


@dataclass(frozen=True)
class Share:
    """Process `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Gradients become their mean over the processes; those that no process has stay None."""
        if self.size == 1:
            return
        there = torch.tensor([float(p.grad is not None) for p in parameters])
        distributed.all_reduce(there)
        moved = [p for p, count in zip(parameters, there.tolist(), strict=True) if count]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in moved])
        distributed.all_reduce(flat)
        for parameter, part in zip(moved, (flat / self.size).split([p.numel() for p in moved]), strict=True):
            parameter.grad = part.view_as(parameter)


@contextmanager
def open_share() -> Iterator[Share]:
    """The share of this process, from what the launcher has set in the environment."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Share()
        return
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Share(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
