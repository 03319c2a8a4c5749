"""`PolicyProcessor`: tokenizer, image processor and chat template of a policy, saved in and loaded from its folder.

Needs no torchvision: images go through PIL, and frames are shown as images, never as a video. An image is rounded to
whole tokens (patch x merge pixels a side) and otherwise kept as it is given: the `Budget` decides about sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from transformers import Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from vtscot.episode import system_text
from vtscot.errors import PolicyError
from vtscot.frames import MAX_PIXELS
from vtscot.grammar import SEG
from vtscot.policy.tokenizer import IMAGE, MESSAGE_END, MESSAGE_START, PAD, QWEN_SPECIALS, VIDEO, add_seg

# What Qwen3-VL Instruct's template makes of messages without tools. Our own, because others of the family (Thinking)
# remove the thoughts of earlier turns, which are part of an episode.
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}{{- message.content -}}{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type == 'text' -%}{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
_MAX_SIDES: Final = 200  # longer to shorter side; Qwen's processors refuse more


def image_processor(
    patch_size: int = 16,
    merge_size: int = 2,
    temporal_patch_size: int = 2,
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
) -> Any:
    """Qwen's PIL image processor; the defaults are Qwen3-VL's, but for the limits of size, which are the Budget's."""
    token = (patch_size * merge_size) ** 2
    return Qwen2VLImageProcessorPil(
        patch_size=patch_size,
        merge_size=merge_size,
        temporal_patch_size=temporal_patch_size,
        image_mean=list(mean),
        image_std=list(std),
        size={"shortest_edge": token, "longest_edge": 2 * MAX_PIXELS},
    )


class PolicyProcessor(ProcessorMixin):  # type: ignore[misc]
    """Turns messages and images into ids and pixel values; padding is on the left.

    `system` is the system message that the policy is trained and asked with [the package's]; it is saved with it.
    """

    return_mm_token_type_ids = True
    text_kwargs: Final = {"return_token_type_ids": False}

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        system: str | None = None,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.system = system_text() if system is None else _checked(system)
        tokenizer.padding_side = "left"
        tokenizer.chat_template = None  # one template, in one file
        tokenizer.init_kwargs.pop("chat_template", None)
        self.image_token, self.video_token = IMAGE, VIDEO
        self.image_token_id = _id_of(tokenizer, IMAGE)
        self.video_token_id = _id_of(tokenizer, VIDEO)
        self.message_end_id = _id_of(tokenizer, MESSAGE_END)
        self.seg_id = _id_of(tokenizer, SEG)
        self.pad_id = _id_of(tokenizer, PAD)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **kwargs: Any) -> PolicyProcessor:
        """The processor of a policy's folder (or Hub id); PolicyError where it is not one, or has no `[SEG]`."""
        images, tokenizer = _parts(folder, **kwargs)
        if SEG not in tokenizer.get_vocab():
            raise PolicyError(f"{folder} has no {SEG} token, so it is no policy: make one with `vtscot init-policy`")
        if tokenizer.chat_template not in (None, CHAT_TEMPLATE):
            raise PolicyError(f"{folder} has another chat template than vtscot's: it is a policy of another version")
        saved, _ = cls.get_processor_dict(folder, **kwargs)
        try:
            return cls(images, tokenizer, system=saved.get("system"))
        except PolicyError as error:
            raise PolicyError(f"{folder}: {error}") from error

    @classmethod
    def from_vlm(cls, folder: str | Path, **kwargs: Any) -> PolicyProcessor:
        """A policy's processor made of the files of a Qwen vision-language model: its tokenizer learns `[SEG]`."""
        images, tokenizer = _parts(folder, **kwargs)
        add_seg(tokenizer)
        shape = (images.patch_size, images.merge_size, images.temporal_patch_size)
        return cls(image_processor(*shape, images.image_mean, images.image_std), tokenizer)

    @property
    def reply_header(self) -> tuple[int, ...]:
        """The tokens right before every reply."""
        return tuple(self.tokenizer.encode(f"{MESSAGE_START}assistant\n", add_special_tokens=False))

    @property
    def token_side(self) -> int:
        """Pixels of an image token's side: sizes are rounded to multiples of it."""
        return int(self.image_processor.patch_size * self.image_processor.merge_size)

    @property
    def unsampled_ids(self) -> tuple[int, ...]:
        """Special tokens that a reply never holds; a rollout must not sample them. All but `[SEG]` and the end."""
        ids = {_id_of(self.tokenizer, token) for token in QWEN_SPECIALS} - {self.message_end_id}
        return tuple(sorted(ids))

    def replace_image_token(self, image_inputs: Mapping[str, Any], image_idx: int, **kwargs: Any) -> str:
        """As many image tokens as image number `image_idx` has features."""
        return IMAGE * self.tokens_of(image_inputs["image_grid_thw"][image_idx])

    def tokens_of(self, grid: Any) -> int:
        """Number of image tokens of a grid (t, h, w) in patches."""
        return int(grid.prod()) // int(self.image_processor.merge_size**2)

    def image_tokens(self, width: int, height: int) -> int:
        """Number of tokens that an image of this size in pixels becomes; PolicyError for a sliver."""
        if max(width, height) > _MAX_SIDES * min(width, height):
            raise PolicyError(f"an image of {width}x{height} px is too long and thin to be shown: crop the frames")
        patches = self.image_processor.get_number_of_image_patches(height, width)
        return int(patches) // int(self.image_processor.merge_size**2)


def _parts(folder: str | Path, **kwargs: Any) -> tuple[Any, Any]:
    try:
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, **kwargs)
        tokenizer = Qwen2Tokenizer.from_pretrained(folder, **kwargs)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise PolicyError(f"{folder} holds no processor of a policy or a Qwen model: {reason}") from error
    if MESSAGE_START not in tokenizer.get_vocab():  # of a folder without tokenizer files, an empty one is made
        raise PolicyError(f"{folder} holds no processor of a policy or a Qwen model: a tokenizer of Qwen's is missing")
    return images, tokenizer


def _checked(system: Any) -> str:
    """A system message from outside; PolicyError unless it is text without tokens that have a meaning of their own."""
    if not isinstance(system, str):
        raise PolicyError(f"the system message of a policy is text, not {type(system).__name__}")
    for token in QWEN_SPECIALS:
        if token in system:
            raise PolicyError(f"the system message of a policy holds {token}, which the tokenizer reserves")
    return system


def _id_of(tokenizer: Any, token: str) -> int:
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise PolicyError(f"the tokenizer does not know {token} as one token: it must be Qwen's, with {SEG} added")
    return int(ids[0])
