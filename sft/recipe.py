"""Recipes of training: every setting of the cold start as one validated model, read from YAML. Needs no torch.

Order of precedence: the recipe (a shipped name or a file), then `--set key=value`, then the flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from vtscot.budget import PRESETS
from vtscot.errors import UsageError
from vtscot.policy.settings import TrainableSettings
from vtscot.recipe import parse_set
from vtscot.records import Frozen

DEFAULT: Final = "sft_tiny"
PREFIX: Final = "sft_"  # of the names of shipped recipes
PARTS: Final = frozenset(TrainableSettings.model_fields) - {"lora"}
M = TypeVar("M", bound=Frozen)


class LossSettings(Frozen):
    """Weights of the terms, and how the points of the masks are drawn. The defaults are the released ones."""

    lm: float = Field(default=1.0, ge=0)
    bce: float = Field(default=2.0, ge=0)
    dice: float = Field(default=0.5, ge=0)
    object: float = Field(default=1.0, ge=0)  # ours: whether the target is in the frame
    points: int = Field(default=12544, ge=1)
    oversample: float = Field(default=3.0, ge=1)
    importance: float = Field(default=0.75, ge=0, le=1)
    content: float = Field(default=1.0, gt=0)  # weight of the tokens that few replies hold, others 1

    @model_validator(mode="after")
    def _drawn_from(self) -> LossSettings:
        if self.importance > self.oversample:
            raise ValueError("importance x points are chosen among oversample x points: importance must not exceed it")
        return self


class DecisionSettings(Frozen):
    """Words that decide something wherever they stand in a reply, if they are one token; see `decisions`."""

    words: tuple[str, ...] = ()
    weight: float = Field(default=1.0, gt=0)  # of these tokens, beside that of content
    random: float = Field(default=0.0, ge=0, le=1)  # share of the replies whose earlier decisions are read at random


class OptimiserSettings(Frozen):
    """AdamW. `scale` multiplies the learning rate of single parts of the policy."""

    lr: float = Field(default=4e-5, gt=0)
    scale: dict[str, float] = {}  # noqa: RUF012
    weight_decay: float = Field(default=0.05, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)  # share of all steps
    schedule: Literal["cosine", "linear", "constant"] = "cosine"

    @model_validator(mode="after")
    def _known_parts(self) -> OptimiserSettings:
        unknown = sorted(set(self.scale) - PARTS)
        if unknown:
            raise ValueError(f"scale: there is no part {unknown[0]!r}; there are {', '.join(sorted(PARTS))}")
        if any(factor <= 0 for factor in self.scale.values()):
            raise ValueError("scale: factors are positive; a part that is not to be trained is frozen by `trainable`")
        return self


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
    decisions: DecisionSettings = DecisionSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    batch: BatchSettings = BatchSettings()
    epochs: float | None = Field(default=None, gt=0)  # 1, where max_steps says nothing else
    max_steps: int | None = Field(default=None, ge=1)  # instead of epochs
    max_tokens: int = Field(default=8192, ge=1)  # longer records are left out, and counted
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = True
    budget_at_use: str = "evaluation"  # the budget that the trained policy names in its config
    seed: int = Field(default=0, ge=0)
    save_every: int = Field(default=200, ge=1)  # steps
    keep: int = Field(default=1, ge=1)  # checkpoints
    log_every: int = Field(default=1, ge=1)  # steps
    loader_workers: int = Field(default=0, ge=0)  # processes that read and encode; 0: the training process itself
    cache_mb: int = Field(default=1024, ge=0)  # of encoded images and frames, in each of those processes
    report_to: tuple[Literal["wandb", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> SftRecipe:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError("give either epochs or max_steps, not both")
        if self.budget_at_use not in PRESETS:
            raise ValueError(f"budget_at_use: no budget {self.budget_at_use!r}; there are {', '.join(PRESETS)}")
        return self


def shipped() -> tuple[str, ...]:
    """Names of the training recipes that come with vtscot."""
    names = (path.name for path in files("vtscot.pipelines").iterdir())
    return tuple(sorted(name[:-5] for name in names if name.startswith(PREFIX) and name.endswith(".yaml")))


def load_sft_recipe(
    name: str | None = None, assignments: Iterable[str] = (), flags: Mapping[str, object] | None = None
) -> SftRecipe:
    """The recipe of a shipped name or a file; UsageError names the file and the key of whatever it does not know.

    `flags` are dotted keys from the command line; those that are None were not given.
    """
    return read_recipe(SftRecipe, name or DEFAULT, shipped(), assignments, flags)


def read_recipe(
    kind: type[M],
    name: str,
    known: tuple[str, ...],
    assignments: Iterable[str] = (),
    flags: Mapping[str, object] | None = None,
) -> M:
    """A recipe of any kind: from `known`, shipped ones or from the file `name`, then `key=value`, then flags."""
    text, where = _text(name, known)
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{where} is not a mapping of settings")
    for key, value in map(parse_set, assignments):
        _put(tree, key, value)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(tree, key, value)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{where}: {key + ': ' if key else ''}{reason}") from error


def _text(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    if name in known:
        return files("vtscot.pipelines").joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"pipelines/{name}.yaml"
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no recipe {name}: give a file, or one of {', '.join(known)}")
    try:
        return path.read_text(encoding="utf-8"), name
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {name}: {error}") from error


def _put(tree: dict[str, Any], dotted: str, value: object) -> None:
    """Set one dotted key; `max_steps` takes the place of `epochs`, and the other way round."""
    *folders, leaf = dotted.split(".")
    other = {"max_steps": "epochs", "epochs": "max_steps"}.get(dotted)
    if other is not None and value is not None:
        tree.pop(other, None)  # of a recipe that has it
    for folder in folders:
        if not isinstance(tree.get(folder), dict):
            tree[folder] = {}
        tree = tree[folder]
    tree[leaf] = value
