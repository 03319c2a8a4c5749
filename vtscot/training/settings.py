"""Settings that the stages of training share. Needs no torch."""

from __future__ import annotations

from typing import Final, Literal, Protocol

from pydantic import Field, model_validator

from vtscot.policy.settings import TrainableSettings
from vtscot.records import Frozen

PARTS: Final = frozenset(TrainableSettings.model_fields) - {"lora"}


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


class StageRecipe(Protocol):
    """What the recipes of all stages say."""

    @property
    def optimiser(self) -> OptimiserSettings: ...
    @property
    def precision(self) -> str: ...
    @property
    def gradient_checkpointing(self) -> bool: ...
    @property
    def seed(self) -> int: ...
    @property
    def save_every(self) -> int: ...
    @property
    def keep(self) -> int: ...
    @property
    def log_every(self) -> int: ...
    @property
    def report_to(self) -> tuple[str, ...]: ...
