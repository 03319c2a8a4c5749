"""Adapters on the language model: put in, and merged away. They are part of a checkpoint until they are merged."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer

from vtscot.errors import PolicyError


def inject_lora(vlm: Any, settings: dict[str, Any], seed: int = 0) -> None:
    """Put adapters of `settings` (r, alpha, dropout, targets) on the language model; drawn from `seed`."""
    config = LoraConfig(
        r=settings["r"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=list(settings["targets"]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, vlm.model.language_model)
        except ValueError as error:
            raise PolicyError(f"no adapters can be put on {', '.join(settings['targets'])}: {error}") from error
    vlm.train(vlm.training)  # dropout of the new layers as that of the old ones


def merge_lora(policy: Any) -> None:
    """Add the adapters to the weights they adapt and take them away; nothing happens where there are none."""
    if policy.config.lora is None:
        return
    for parent in list(policy.vlm.model.language_model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    policy.config.lora = None
