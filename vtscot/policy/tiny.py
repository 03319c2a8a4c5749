"""Small models of the real classes with random weights: what a CPU can train in minutes."""

from __future__ import annotations

from typing import Any

from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Sam2VideoConfig, Sam2VideoModel

from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.settings import TinySettings
from vtscot.policy.tokenizer import VISION_END, VISION_START

_STRIDE = 16  # of SAM 2's image encoder
_MEMORY = 64  # width of a memory; transformers knows no other


def tiny_vlm(settings: TinySettings, processor: PolicyProcessor) -> Any:
    """A Qwen3-VL whose vocabulary is the processor's."""
    head = settings.head or settings.hidden // settings.heads
    text = {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": settings.hidden,
        "intermediate_size": 2 * settings.hidden,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.heads,
        "head_dim": head,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "pad_token_id": processor.pad_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,  # Qwen3-VL's; with less, most of a small head turns with the distance
            "mrope_section": [head // 4, head // 8, head // 8],  # time, height, width: half of the head
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": settings.vision_layers,
        "hidden_size": settings.vision_hidden,
        "intermediate_size": 2 * settings.vision_hidden,
        "num_heads": settings.vision_heads,
        "patch_size": settings.patch,
        "out_hidden_size": settings.hidden,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0],
    }
    ids = processor.tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        vision_start_token_id=ids(VISION_START),
        vision_end_token_id=ids(VISION_END),
        tie_word_embeddings=True,
    )
    return Qwen3VLForConditionalGeneration(config)


def tiny_sam(settings: TinySettings) -> Any:
    """A SAM 2 for square images of `sam_size` pixels."""
    width, side = settings.sam_hidden, settings.sam_size
    top = [side // _STRIDE] * 2
    config = Sam2VideoConfig(
        vision_config=_image_encoder(settings),
        prompt_encoder_config={"hidden_size": width, "image_size": side, "patch_size": _STRIDE},
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 2 * width,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": width,
            "dynamic_multimask_via_stability": False,
        },
        image_size=side,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=2 * width,
        memory_attention_rope_feat_sizes=top,
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=_MEMORY,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=2 * width,
        memory_fuser_num_layers=1,
        multimask_output_for_tracking=False,  # the mask of a [SEG] is learned; which of three is best is not
    )
    return Sam2VideoModel(config)


def _image_encoder(settings: TinySettings) -> dict[str, Any]:
    width, side = settings.sam_encoder, settings.sam_size
    widths = [width, 2 * width, 4 * width, 8 * width]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": 1,
        "image_size": [side, side],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],  # the last one at stride 16; it must not be the first of a stage
        "window_positional_embedding_background_size": [4, 4],
    }
    return {
        "backbone_config": backbone,
        "backbone_channel_list": widths[::-1],
        "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
        "fpn_hidden_size": settings.sam_hidden,
    }
