"""Recipes of training: every setting of the cold start as one validated model, read from YAML. Needs no torch.

Order of precedence: the recipe (a shipped name or a file), then `--set key=value`, then the flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import Field, model_validator

from vtscot.budget import PresetName
from vtscot.policy.settings import TrainableSettings
from vtscot.records import Frozen
from vtscot.settings import changes, parse_tree, put, recipe_text, shipped_names, validated
from vtscot.training.settings import LossSettings, OptimiserSettings

DEFAULT: Final = "sft_tiny"
PREFIX: Final = "sft_"  # of the names of shipped recipes
_INSTEAD: Final = {"max_steps": "epochs", "epochs": "max_steps"}  # what takes the place of what a recipe has


class DecisionSettings(Frozen):
    """Words of one kind that decide something wherever they stand in a reply, each one token; see `decisions`."""

    words: tuple[str, ...]
    weight: float = Field(default=1.0, gt=0)  # of these tokens, beside that of content
    random: float = Field(default=0.0, ge=0, le=1)  # share of the replies whose decisions are read at random
    followed: bool = True  # what stands after them follows from them


class BatchSettings(Frozen):
    """Records per optimisation step over all processes, and how many of them each process takes at once.

    `sorted_steps` steps share their records by length, so that those of one batch need little padding.
    """

    effective: int = Field(default=32, ge=1)
    per_device: int = Field(default=1, ge=1)
    sorted_steps: int = Field(default=1, ge=1)


class SftRecipe(Frozen):
    """A resolved recipe: one cold start, said completely. The defaults are the released settings (4B)."""

    trainable: TrainableSettings = TrainableSettings()
    losses: LossSettings = LossSettings()
    decisions: tuple[DecisionSettings, ...] = ()
    optimiser: OptimiserSettings = OptimiserSettings()
    batch: BatchSettings = BatchSettings()
    epochs: float | None = Field(default=None, gt=0)  # 1, where max_steps says nothing else
    max_steps: int | None = Field(default=None, ge=1)  # instead of epochs
    max_tokens: int = Field(default=8192, ge=1)  # longer records are left out, and counted
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = True
    budget_at_use: PresetName = "evaluation"  # the budget that the trained policy names in its config
    seed: int = Field(default=0, ge=0)
    save_every: int = Field(default=200, ge=1)  # steps
    keep: int = Field(default=1, ge=1)  # checkpoints
    log_every: int = Field(default=1, ge=1)  # steps
    loader_workers: int = Field(default=0, ge=0)  # processes that read and encode; 0: the training process itself
    cache_mb: int = Field(default=1024, ge=0)  # of encoded images and frames, in each of those processes
    features_mb: int = Field(default=0, ge=0)  # of what a frozen vision tower makes, kept in each training process
    report_to: tuple[Literal["wandb", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> SftRecipe:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError("give either epochs or max_steps, not both")
        return self


def shipped() -> tuple[str, ...]:
    """Names of the training recipes that come with vtscot."""
    return shipped_names(PREFIX)


def load_sft_recipe(
    name: str | None = None, assignments: Iterable[str] = (), flags: Mapping[str, object] | None = None
) -> SftRecipe:
    """The recipe of a shipped name or a file; UsageError names the file and the key of whatever it does not know.

    `flags` are dotted keys from the command line; those that are None were not given.
    """
    text, where = recipe_text(name or DEFAULT, shipped())
    tree = parse_tree(text, where)
    for key, value in changes(assignments, flags):
        if key in _INSTEAD and value is not None:
            tree.pop(_INSTEAD[key], None)
        put(tree, key, value)
    return validated(SftRecipe, tree, where)
