"""What `pipelines/nano.yaml` declares: sizes, worlds, and the levels of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, model_validator

from vtscot.policy.settings import TinySettings
from vtscot.records import Frozen
from vtscot.settings import file_text, parse_tree, validated
from vtscot.sft.nano.queries import KINDS

SHARD: Final = 50  # videos per file


class Alone(Frozen):
    """A level of SAM 2 without the rest. `lr` is held for half of the steps, then falls in a straight line."""

    steps: int = Field(ge=0)
    lr: float = Field(default=1e-3, gt=0)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        warm = min(1.0, (step + 1) / 60)
        return self.lr * warm * min(1.0, max(0.03, 2 * (1 - step / self.steps)))


class SamLevel(Alone):
    """Level A: SAM 2 and prompts made from facts."""

    frames: int = Field(default=16, ge=1)
    prompts: int = Field(default=4, ge=1, description="per frame")


class TrackLevel(Alone):
    """The last level: SAM 2's memory follows a mask."""

    sequences: int = Field(default=16, ge=1, description="per step")
    length: int = Field(default=5, ge=2, description="frames of each, the one with the given mask among them")


class Level(Frozen):
    """`steps` optimisation steps on one mixture. `lr` goes in a straight line to `lr_end`, after `warmup` steps."""

    name: str
    steps: int = Field(ge=0)
    videos: int = Field(default=3, ge=0, description="per step; 0: only pictures or passages")
    queries: int = Field(default=6, ge=1, description="per video")
    pictures: int = Field(default=10, ge=0, description="further videos of which only images are shown: four of each")
    passages: int = Field(default=0, ge=0, description="of text alone, whose numbers are read off each other")
    kinds: dict[str, float] = Field(default_factory=lambda: dict(KINDS), description="how often which queries come")
    mixed: float = Field(default=0.0, ge=0, le=1, description="share of queries whose targets are seen partly")
    look: float = Field(default=0.25, ge=0, le=1, description="share of batches that show a window and a keyframe")
    system: float = Field(default=0.0, ge=0, le=1, description="share of first observations after the system message")
    interrupted: bool = Field(default=False, description="fragments of markup or chance words between the parts")
    lr: float = Field(default=2e-3, gt=0)
    lr_end: float | None = Field(default=None, gt=0, description="default: lr")
    warmup: int = Field(default=40, ge=0)
    masks: bool = Field(default=False, description="decode the [SEG] masks too, and train projector and SAM 2")

    def rate(self, step: int) -> float:
        """The learning rate of a step of this level."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr + ((self.lr_end or self.lr) - self.lr) * share


class NanoSettings(Frozen):
    """The whole training. `held` videos are kept for measuring; they come before those that are trained on."""

    seed: int = 0
    sizes: TinySettings
    videos: int = Field(ge=1, description="worlds that are trained on")
    held: int = Field(default=40, ge=1)
    sam: SamLevel
    levels: tuple[Level, ...] = Field(min_length=1)
    tracking: TrackLevel
    sam_lr: float = Field(default=0.33, gt=0, description="of SAM 2 and the projector in the joint levels: share of lr")
    measure_every: int = Field(default=600, ge=1)
    save_every: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _names(self) -> NanoSettings:
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ValueError("levels need names of their own")
        return self


def load_settings(path: Path) -> NanoSettings:
    """The settings in a YAML file; UsageError where it is none or says something unknown."""
    text, where = file_text(path)
    return validated(NanoSettings, parse_tree(text, where), where)
