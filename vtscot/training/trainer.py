"""What the trainers of all stages have of ours: the optimiser's groups, and checkpoints that are whole.

A mixin before transformers' Trainer or one built on it; it uses Trainer's members and `recipe`, `save_processor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import Trainer

from vtscot.policy.trainable import part_of

from .saving import CHECKPOINTS, SAVING, settle, unsaved
from .settings import StageRecipe

_WRAPPERS: Final = ("module.", "_fsdp_wrapped_module.", "_orig_mod.", "_checkpoint_wrapped_module.")


class PolicyTrainer:
    """`recipe` says the optimiser and how many checkpoints are kept; `save_processor` writes what reads the inputs."""

    recipe: StageRecipe
    save_processor: Callable[[Path], object]
    args: Any
    state: Any
    model: Any
    accelerator: Any
    optimizer: Any
    is_fsdp_enabled: bool

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with the learning rate of each part; norms and biases do not decay."""
        if getattr(self, "optimizer", None) is None:
            trained = self.model if model is None else model
            settings = self.recipe.optimiser
            groups = list(_groups(trained, settings.lr, settings.scale, settings.weight_decay))
            fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
            betas = (settings.beta1, settings.beta2)
            self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=fused)
        return self.optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint beside the last one and give it its name when it is whole; no model card."""
        folder, step = Path(self.args.output_dir) / CHECKPOINTS, self.state.global_step
        if self.is_fsdp_enabled:
            _complete(self.optimizer)
        try:
            Trainer._save_checkpoint(self, model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                settle(folder, step, self.recipe.keep)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise unsaved(folder, step, error) from error
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(self.args.output_dir) / CHECKPOINTS / SAVING)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """The policy with its processor; no pickled arguments beside it."""
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            policy = self.accelerator.unwrap_model(self.model)
            if state_dict is not None:  # gathered from shards, where weights that are tied are no longer one tensor
                tied = policy.all_tied_weights_keys
                state_dict = {name: weight for name, weight in state_dict.items() if name not in tied}
            policy.save_pretrained(folder, state_dict=state_dict)
            self.save_processor(folder)


def _complete(optimizer: Any) -> None:
    """FSDP goes on from a checkpoint only if every trained parameter has a state in it; one that no loss reaches has
    none (SAM 2's head for IoU). Its moments are 0, and stay so."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter not in optimizer.state:
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                optimizer.state[parameter] = {"step": step, **moments}


def _groups(model: torch.nn.Module, lr: float, scale: dict[str, float], decay: float) -> Iterator[dict[str, Any]]:
    """Trained parameters by part, and by whether they decay."""
    found: dict[tuple[str, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault((part_of(_plain(name)), parameter.ndim > 1), []).append(parameter)
    for (part, matrix), parameters in found.items():
        weight_decay = decay if matrix else 0.0
        yield {"params": parameters, "lr": lr * scale.get(part, 1.0), "weight_decay": weight_decay, "part": part}


def _plain(name: str) -> str:
    """A parameter's name without those of the wrappers around the policy."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name
