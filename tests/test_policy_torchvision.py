"""Images that PIL prepares are those that torchvision prepares, within one of 256 levels.

Needs a torchvision that works, which a machine with a CPU build of torch has not: there it skips, and says so.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the policy needs the extra `train`")
pytest.importorskip("transformers", reason="the policy needs the extra `train`")
# A wheel that was built for another torch fails with a RuntimeError instead of an ImportError.
pytest.importorskip("torchvision", reason="torchvision is not here, or not of this torch", exc_type=Exception)

import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

from vtscot.policy.pixels import STD, sam_frames
from vtscot.policy.processor import image_processor

LEVEL = 1 / 255
ROUNDING = 1e-5
SIZES = {
    "whole tokens": (320, 192),
    "rounded up": (309, 187),
    "rounded down": (330, 203),
    "a frame of DAVIS": (854, 480),
}


def picture(width: int, height: int) -> Image.Image:
    """Edges, a slope and noise: what resizing by other rules would tell apart."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(width)
    checks = 120.0 * ((x // 7 + y // 5) % 2)
    pixels = np.stack([checks, 255 * x / width, 255 * y / height], -1) + rng.normal(0, 20, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_the_vision_tower_sees_the_same_patches(size: tuple[int, int]) -> None:
    ours = image_processor()
    theirs = Qwen2VLImageProcessor(
        patch_size=ours.patch_size,
        merge_size=ours.merge_size,
        temporal_patch_size=ours.temporal_patch_size,
        image_mean=ours.image_mean,
        image_std=ours.image_std,
        size=dict(ours.size),
    )
    mine, other = (kind(picture(*size), return_tensors="pt") for kind in (ours, theirs))
    assert torch.equal(mine["image_grid_thw"], other["image_grid_thw"])
    apart = (mine["pixel_values"] - other["pixel_values"]).abs()
    assert apart.max() <= LEVEL / min(ours.image_std) + ROUNDING
    if size == SIZES["whole tokens"]:
        assert apart.max() <= ROUNDING  # nothing is resized


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("side", [128, 1024], ids=["smaller", "larger"])
def test_sam_2_sees_the_same_frames(size: tuple[int, int], side: int) -> None:
    theirs = Sam2ImageProcessor(size={"height": side, "width": side})
    other = theirs(picture(*size), return_tensors="pt")["pixel_values"]
    apart = (sam_frames([picture(*size)], side) - other).abs()
    assert apart.max() <= LEVEL / min(STD) + ROUNDING
