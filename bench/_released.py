"""Policies of the released shapes with random weights: Qwen3-VL-2B or -4B joined with SAM 2 (Hiera-L)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

VISION: Final = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
TEXT: Final = {  # Qwen3-VL: hidden, intermediate, layers, heads
    "2b": (2048, 6144, 28, 16),
    "4b": (2560, 9728, 36, 32),
}
HIERA_L: Final = {
    "hidden_size": 144,
    "num_attention_heads": 2,
    "blocks_per_stage": [2, 6, 36, 4],
    "embed_dim_per_stage": [144, 288, 576, 1152],
    "num_attention_heads_per_stage": [2, 4, 8, 16],
    "window_size_per_stage": [8, 4, 16, 8],
    "global_attention_blocks": [23, 33, 43],
}
VOCABULARY: Final = 151936  # rows of Qwen's embeddings


def write_policy(shape: str, run: Path, out: Path, device: str) -> dict[str, int]:
    """A policy of that shape (2b, 4b or tiny) with random weights in `out`; its tokenizer is trained on the records of
    `run`. Returns the parameters per part."""
    import torch

    from vtscot.policy.init import init_tiny, join
    from vtscot.policy.processor import PolicyProcessor, image_processor
    from vtscot.policy.tokenizer import episode_texts, train_tokenizer
    from vtscot.policy.trainable import counts
    from vtscot.sft.examples import open_examples

    examples = open_examples(str(run))
    texts = list(episode_texts(examples[i].episode for i in range(len(examples))))
    if shape == "tiny":
        policy = init_tiny(out, 0, texts)
    else:
        processor = PolicyProcessor(image_processor(), train_tokenizer(texts, 8192))
        torch.manual_seed(0)
        with torch.device(device):
            policy = join(_vlm(shape, processor), _sam(), processor.seg_id)
        policy.save_pretrained(out)
        processor.save_pretrained(out)
    return {name: part.total for name, part in counts(policy).items()}


def _vlm(shape: str, processor: Any) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from vtscot.policy.tokenizer import VISION_END, VISION_START

    hidden, intermediate, layers, heads = TEXT[shape]
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "tie_word_embeddings": True,
        "rope_parameters": rope,
    }
    start, end = processor.tokenizer.convert_tokens_to_ids([VISION_START, VISION_END])
    config = Qwen3VLConfig(
        text_config=text,
        vision_config={**VISION, "num_heads": 16, "out_hidden_size": hidden},
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )
    return Qwen3VLForConditionalGeneration(config)


def _sam() -> Any:
    from transformers import Sam2VideoConfig, Sam2VideoModel

    backbone = {"model_type": "sam2_hiera_det_model", **HIERA_L}
    widths = HIERA_L["embed_dim_per_stage"]
    return Sam2VideoModel(
        Sam2VideoConfig(vision_config={"backbone_config": backbone, "backbone_channel_list": widths[::-1]})
    )
