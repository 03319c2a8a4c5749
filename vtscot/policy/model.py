"""`Policy`: Qwen3-VL and SAM 2 in one model. The hidden state at every `[SEG]` becomes a prompt of SAM 2's decoder.

Shapes: B samples of L tokens, N masks (one per `[SEG]`), F distinct frames of S x S pixels. Masks are logits at a
quarter of S: (N, S/4, S/4). SAM 2 stays in evaluation mode (its video code works in no other; the mask decoder and
the image encoder have no dropout), gradients flow all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel, Sam2VideoModel
from transformers.utils import ModelOutput

from vtscot.errors import PolicyError
from vtscot.policy.checkpoint import check_policy, save_whole
from vtscot.policy.config import PolicyConfig
from vtscot.policy.decode import DecodedMasks, FrameFeatures, decode, encode_frames
from vtscot.policy.lora import inject_lora
from vtscot.policy.pixels import sam_frames
from vtscot.policy.projector import SegProjector
from vtscot.policy.propagate import FrameSequence, propagate

if TYPE_CHECKING:
    from PIL.Image import Image

ENCODER_CHUNK = 4  # frames in SAM 2's encoder at once: at 1024 x 1024 more gains nothing and needs much memory


@dataclass
class PolicyOutput(ModelOutput):  # type: ignore[misc]
    """What one forward pass gives; the masks are None where no `[SEG]` was asked for."""

    logits: Tensor | None = None  # (B, L, V), or (M, V) at `logits_index`
    seg_hidden: Tensor | None = None  # (N, hidden)
    mask_logits: Tensor | None = None  # (N, S/4, S/4)
    iou_scores: Tensor | None = None  # (N,) the IoU that the decoder expects
    object_scores: Tensor | None = None  # (N,) logits that the target is in the frame at all


class Policy(PreTrainedModel):  # type: ignore[misc]
    """Writes the turns and decodes the masks. The parts are `vlm`, `projector` and `sam`."""

    config_class = PolicyConfig
    base_model_prefix = "policy"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ("Qwen3VLTextDecoderLayer", "Qwen3VLVisionBlock", "Sam2MultiScaleBlock")

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self.vlm = AutoModelForImageTextToText.from_config(config.vlm_config)
        self.sam = Sam2VideoModel(config.sam_config)
        # [SEG] is one prompt with one mask: never a choice among several, which would differ in training and use.
        self.sam.mask_decoder.dynamic_multimask_via_stability = False
        inner = config.projector_hidden or config.hidden_size
        self.projector = SegProjector(config.hidden_size, inner, config.prompt_size)
        self.post_init()
        if config.lora is not None:
            inject_lora(self.vlm, config.lora)

    @classmethod
    def from_pretrained(cls, name: str | Path, *args: Any, **kwargs: Any) -> Any:
        """The policy in a folder or of the Hub; PolicyError where it is none, of another format, cut or unsafe."""
        hub = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
        check_policy(str(name), **hub)
        wanted = kwargs.pop("output_loading_info", False)
        kwargs["use_safetensors"] = True
        try:
            model, info = super().from_pretrained(str(name), *args, output_loading_info=True, **kwargs)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise PolicyError(f"{name}: the weights cannot be loaded ({reason}); copy the whole folder") from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise PolicyError(f"{name}: {len(missing)} tensors are missing, {missing[0]} among them")
        return (model, info) if wanted else model

    def save_pretrained(self, save_directory: str | Path, *, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write config and weights (safetensors); a failure leaves what was in the folder as it was."""
        save_whole(Path(save_directory), lambda fresh: super(Policy, self).save_pretrained(str(fresh), **kwargs))
        if push_to_hub:
            self.push_to_hub(kwargs.get("repo_id") or Path(save_directory).name, token=kwargs.get("token"))

    def train(self, mode: bool = True) -> Policy:
        """Training mode for all but SAM 2."""
        super().train(mode)
        self.sam.eval()
        return self

    def get_input_embeddings(self) -> Any:
        """The language model's."""
        return self.vlm.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The language model's."""
        return self.vlm.get_output_embeddings()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        seg_index: Tensor | None = None,
        frames: Tensor | FrameFeatures | None = None,
        seg_frame: Tensor | None = None,
        logits_index: Tensor | None = None,
        image_index: Tensor | None = None,
        **kwargs: Any,
    ) -> PolicyOutput:
        """Token logits, and the mask of every `[SEG]`.

        `seg_index` (N, 2) holds the row and position of each `[SEG]`; `seg_frame` (N,) the frame, among the distinct
        `frames` (F, 3, S, S), that it is decoded on: each frame is encoded once, and only if a `[SEG]` points at it;
        features of frames that were encoded before may stand for them.
        `logits_index` (M, 2) asks for the logits at those rows and positions only: (M, V), which saves the memory of
        the full (B, L, V). `image_index` (I,) tells which of the distinct images in `pixel_values` and
        `image_grid_thw` stands at each of the I places for one in the samples, in order: repeated images go through
        the vision tower once.
        """
        if pixel_values is None or image_index is None:
            images = {"pixel_values": pixel_values, "image_grid_thw": image_grid_thw}
        else:
            images = self._repeat_images(pixel_values, image_grid_thw, image_index)
        hidden = self.vlm.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            mm_token_type_ids=mm_token_type_ids,
            use_cache=False,
            **images,
            **kwargs,
        )[0]
        at = hidden if logits_index is None else hidden[logits_index[:, 0], logits_index[:, 1]]
        logits = self.vlm.lm_head(at)
        if seg_index is None:
            return PolicyOutput(logits=logits)
        if frames is None or seg_frame is None or len(seg_frame) != len(seg_index):
            count = None if seg_frame is None else len(seg_frame)
            raise PolicyError(f"{len(seg_index)} [SEG] tokens, but frames to decode them on for {count}")
        seg_hidden = hidden[seg_index[:, 0], seg_index[:, 1]]
        masks = self._masks(seg_hidden, frames, seg_frame)
        return PolicyOutput(logits, seg_hidden, masks.logits, masks.iou_scores, masks.object_scores)

    def _repeat_images(self, pixel_values: Tensor, grids: Any, image_index: Tensor) -> dict[str, Any]:
        places = image_index.tolist()
        encoded = self.vlm.model.get_image_features(pixel_values, grids, return_dict=True)
        encoded.pooler_output = tuple(encoded.pooler_output[place] for place in places)
        if getattr(encoded, "deepstack_features", None) is not None:  # Qwen2.5-VL has none
            levels = encoded.deepstack_features
            encoded.deepstack_features = [tuple(level[place] for place in places) for level in levels]
        return {"mm_encoder_outputs": {"image": encoded}, "image_grid_thw": grids[image_index]}

    def _masks(self, seg_hidden: Tensor, frames: Tensor | FrameFeatures, seg_frame: Tensor) -> DecodedMasks:
        if not len(seg_hidden):  # a rollout may write none; SAM 2's encoder takes no empty batch
            none, side = seg_hidden.new_zeros(0), self.config.image_size // 4
            return DecodedMasks(seg_hidden.new_zeros(0, side, side), none, none)
        used, place = torch.unique(seg_frame, return_inverse=True)
        if len(used) and int(used[-1]) >= len(frames):
            raise PolicyError(f"a [SEG] is to be decoded on frame {int(used[-1])}, but there are {len(frames)} frames")
        if isinstance(frames, FrameFeatures):
            return self.decode_masks(seg_hidden, frames, seg_frame)
        features = self.frame_features(frames.index_select(0, used.to(frames.device)))
        return self.decode_masks(seg_hidden, features, place)

    def sam_frames(self, images: Sequence[Image]) -> Tensor:
        """Images of any size as SAM 2 sees them: float32 (F, 3, S, S) on the CPU."""
        return sam_frames(images, self.config.image_size)

    def frame_features(self, frames: Tensor) -> FrameFeatures:
        """SAM 2's features of `frames` (F, 3, S, S): computed once, kept by whoever decodes several masks on them."""
        return encode_frames(self.sam, frames, ENCODER_CHUNK)

    def decode_masks(self, seg_hidden: Tensor, features: FrameFeatures, frame_index: Tensor) -> DecodedMasks:
        """Masks of hidden states (N, hidden), each on frame `frame_index` (N,) of `features`; with gradient."""
        return decode(self.sam, self.projector(seg_hidden), features, frame_index)

    def propagate(self, frames: FrameSequence, keyframe: int, mask: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Follow `mask` from the keyframe both ways with SAM 2's memory; see `propagate.propagate`. No gradient."""
        return propagate(self.sam, frames, keyframe, mask)
