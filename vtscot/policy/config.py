"""One config.json for the whole policy: the vision-language model, SAM 2, and what joins them."""

from __future__ import annotations

from typing import Any, Final

from transformers import AutoConfig, PreTrainedConfig, Sam2VideoConfig
from transformers.configuration_utils import SubConfigSpec

MODEL_TYPE: Final = "vtscot_policy"
FORMAT_VERSION: Final = 1


class PolicyConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration of a `Policy`.

    `lora` holds adapters that are part of the checkpoint, not yet merged; `budget` the figures of the `Budget` the
    policy was trained for, which predict and eval take unless another is asked for.
    """

    model_type = MODEL_TYPE
    sub_configs_defaults = {  # noqa: RUF012
        "vlm_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen3_vl"),
        "sam_config": Sam2VideoConfig,
    }

    vlm_config: dict | PreTrainedConfig | None = None  # type: ignore[type-arg]
    sam_config: dict | PreTrainedConfig | None = None  # type: ignore[type-arg]
    projector_hidden: int | None = None
    seg_token_id: int | None = None
    format_version: int = FORMAT_VERSION
    lora: dict | None = None  # type: ignore[type-arg]
    budget: dict | None = None  # type: ignore[type-arg]
    tie_word_embeddings: bool = False

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        """The language model's part: what generation and caches ask for."""
        return self.vlm_config.get_text_config(*args, **kwargs)  # type: ignore[union-attr]

    @property
    def hidden_size(self) -> int:
        """Width of the language model's hidden states."""
        return int(self.vlm_config.get_text_config().hidden_size)  # type: ignore[union-attr]

    @property
    def prompt_size(self) -> int:
        """Width of a prompt token of the mask decoder (256 in SAM 2)."""
        return int(self.sam_config.mask_decoder_config.hidden_size)  # type: ignore[union-attr]

    @property
    def image_size(self) -> int:
        """Side of the square image that SAM 2 sees, in pixels (1024 in SAM 2)."""
        return int(self.sam_config.image_size)  # type: ignore[union-attr]
