"""Inputs of a policy for tests: noise as images, and a batch of two dialogues."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from vtscot.policy.processor import PolicyProcessor

TEXTS: Final = [
    "the red circle that moves to the left",
    "Step 1: the blue square enters. Step 2: it is at the border.",
]


def images(count: int, width: int = 96, height: int = 64) -> list[Image.Image]:
    """Distinct noise."""
    noise = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def inputs(policy: Any, processor: PolicyProcessor, segs: int = 2) -> dict[str, Any]:
    """A padded batch of two dialogues with one image and `segs` [SEG] each; masks on two of three frames."""
    texts = [f"<|vision_start|><|image_pad|><|vision_end|>{text} " + "[SEG] so " * segs for text in TEXTS]
    batch = processor(text=texts, images=images(2), return_tensors="pt", padding=True)
    index = (batch["input_ids"] == processor.seg_id).nonzero()
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    return {name: batch[name] for name in names} | {
        "seg_index": index,
        "frames": policy.sam_frames(images(3)),
        "seg_frame": torch.tensor([0, 2] * segs),
    }
