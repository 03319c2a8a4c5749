"""What a recipe may say about the policy: which parts are trained, and how large a tiny one is. Needs no torch."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from vtscot.records import Frozen

LINEAR_LAYERS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraSettings(Frozen):
    """Low-rank adapters on the linear layers of the language model; the released figures."""

    r: int = Field(default=128, ge=1)
    alpha: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(default=LINEAR_LAYERS, min_length=1)


class TrainableSettings(Frozen):
    """Which parts of the policy are trained. The defaults are those of the cold start.

    The reinforcement stage trains the whole vision-language model and SAM 2's prompt encoder as well:
    `language_model="full", vision_tower=True, prompt_encoder=True`. The image encoder and the memory of SAM 2 are
    frozen in every stage of the method; they can be trained here for policies that start from random weights.
    """

    language_model: Literal["frozen", "lora", "full"] = "lora"
    lora: LoraSettings = LoraSettings()
    embeddings: bool = True
    lm_head: bool = True
    vision_tower: bool = False
    projector: bool = True
    mask_decoder: bool = True
    prompt_encoder: bool = False
    image_encoder: bool = False
    memory: bool = False


class TinySettings(Frozen):
    """Sizes of a small policy of the real classes. Sizes are channels, layers and pixels."""

    hidden: int = Field(default=64, ge=32)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    head: int | None = Field(default=None, ge=8, multiple_of=8, description="width of a head; default hidden / heads")
    vision_hidden: int = Field(default=32, ge=16)
    vision_layers: int = Field(default=2, ge=1)
    vision_heads: int = Field(default=2, ge=1)
    patch: int = Field(default=16, ge=4)
    sam_size: int = Field(default=128, ge=64)
    sam_hidden: int = Field(default=64, ge=64)
    sam_encoder: int = Field(default=16, ge=8)

    @model_validator(mode="after")
    def _divisible(self) -> TinySettings:
        if self.head is None and self.hidden % (8 * self.heads):
            raise ValueError("hidden must be a multiple of 8 x heads: a rotary head has three unequal parts")
        if self.vision_hidden % (4 * self.vision_heads):
            raise ValueError("vision_hidden must be a multiple of 4 x vision_heads")
        if self.sam_size % 64:
            raise ValueError("sam_size must be a multiple of 64: the image encoder has windows of 4 on stride 16")
        if self.sam_hidden % 64:
            raise ValueError("sam_hidden must be a multiple of 64: object pointers are split into memory tokens of 64")
        if self.sam_encoder % 8:
            raise ValueError("sam_encoder must be a multiple of 8")
        return self


class PartCount(Frozen):
    """Parameters of one part of the policy, and how many of them are trained."""

    total: int
    trained: int
