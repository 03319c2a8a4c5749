"""Level A: SAM 2 learns to decode masks from prompts that say which objects are meant.

A prompt is made from facts: per object its place, side, colour, shape and texture through a small network, the mean
over the objects, one more layer. The network is training's own: later the `[SEG]` projection learns to say the same
from the language model's hidden state, and SAM 2 already understands it. Prompts of objects that are not in the frame
teach the object score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtscot.policy.decode import DecodedMasks, decode, encode_frames
from vtscot.policy.pixels import MEAN, STD
from vtscot.sft.nano.batch import LOOKS, look_row
from vtscot.sft.nano.world import Clip

WAVES: Final = 5
FACTS: Final = 4 * WAVES + 1 + len(LOOKS)


class Prompter(nn.Module):  # type: ignore[misc]
    """(N, K, FACTS) of up to K objects, (N, K) which of them there are -> prompts (N, C)."""

    def __init__(self, width: int, inner: int = 128) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(FACTS, inner), nn.GELU(), nn.Linear(inner, inner), nn.GELU())
        self.joined = nn.Linear(inner, width)

    def forward(self, facts: Tensor, there: Tensor) -> Tensor:
        """Prompts (N, C)."""
        each = self.each(facts) * there[..., None]
        prompts: Tensor = self.joined(each.sum(1) / there.sum(1, keepdim=True).clamp(min=1))
        return prompts


def object_facts(x: float, y: float, side: float, look: Any) -> np.ndarray[Any, Any]:
    """(FACTS,) of an object: waves of its centre, its side as a share of the frame, what it looks like."""
    waves = [f(math.pi * 2**k * v) for v in (x, y) for k in range(WAVES) for f in (math.sin, math.cos)]
    return np.concatenate([waves, [side * 4], look]).astype(np.float32)


def sam_pixels(frames: Sequence[np.ndarray[Any, Any]]) -> Tensor:
    """(F, 3, S, S) as `pixels.sam_frame` makes them of images of that size."""
    pixels = torch.from_numpy(np.stack(frames)).float() / 255
    return ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def target_facts(clip: Clip, sharp: int, targets: Sequence[int], most: int = 6) -> tuple[Any, Any]:
    """Facts (most, FACTS) and flags (most,) of those of the targets that are visible on a sharp frame."""
    frame, owners = clip.sharp_at[sharp], clip.array("owners")[sharp]
    facts, there = np.zeros((most, FACTS), np.float32), np.zeros(most, np.float32)
    for k in targets:
        y, x = np.nonzero(owners == k + 1)
        if clip.array("seen")[k, frame] and len(x):
            n, size = int(there.sum()), owners.shape[0]
            row = look_row(clip.looks[k], frame)
            facts[n] = object_facts((x.mean() + 0.5) / size, (y.mean() + 0.5) / size, math.sqrt(len(x)) / size, row)
            there[n] = 1
    return facts, there


def draw_masks(clips: Sequence[Clip], rng: np.random.Generator, frames: int, each: int) -> dict[str, Tensor]:
    """A batch: `frames` frames with `each` prompts; one in five of an object that is not there."""
    pixels, facts, there, masks, index, present = [], [], [], [], [], []
    for f in range(frames):
        clip = clips[int(rng.integers(len(clips)))]
        sharp = int(rng.integers(len(clip.sharp_at)))
        owners = clip.array("owners")[sharp]
        pixels.append(clip.array("sam")[sharp])
        for _ in range(each):
            if rng.random() < 0.2:
                fact, flags, mask = _elsewhere(clips, rng, owners)
            else:
                count = 1 if rng.random() < 0.75 else int(rng.integers(2, len(clip.looks)))
                targets = [int(k) for k in rng.permutation(len(clip.looks))[:count]]
                fact, flags = target_facts(clip, sharp, targets)
                mask = np.isin(owners, [k + 1 for k in targets]) if flags.any() else np.zeros(owners.shape, bool)
            facts.append(fact)
            there.append(flags)
            masks.append(mask)
            index.append(f)
            present.append(bool(mask.any()))
    return {
        "pixels": sam_pixels(pixels),
        "facts": torch.from_numpy(np.stack(facts)),
        "there": torch.from_numpy(np.stack(there)),
        "masks": torch.from_numpy(np.stack(masks)),
        "frame": torch.tensor(index),
        "present": torch.tensor(present),
    }


def _elsewhere(clips: Sequence[Clip], rng: np.random.Generator, owners: Any) -> tuple[Any, Any, Any]:
    """The prompt of an object of another video, where this frame has bare ground; an empty mask."""
    other = clips[int(rng.integers(len(clips)))]
    sharp = int(rng.integers(len(other.sharp_at)))
    fact, flags = target_facts(other, sharp, [int(rng.integers(len(other.looks)))])
    return fact, flags, np.zeros(owners.shape, bool)


def mask_loss(decoded: DecodedMasks, masks: Tensor, present: Tensor) -> dict[str, Tensor]:
    """`mask` (2 BCE + 0.5 dice where the target is there, at half of SAM's size), `object` and `iou` (expected IoU)."""
    side = masks.shape[-1] // 2
    logits = functional.interpolate(decoded.logits[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    truth = functional.avg_pool2d(masks[:, None].float(), 2)[:, 0]
    there = present.float()
    bce = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    area = truth.flatten(1).sum(1).clamp(min=1) / side**2
    weight = 1 + (truth > 0.5) * (0.15 / area.clamp(max=0.15) - 1)[:, None, None]  # small objects count as much
    bce = (bce * weight).flatten(1).mean(1)
    chance = logits.sigmoid().flatten(1)
    flat = truth.flatten(1)
    dice = 1 - (2 * (chance * flat).sum(1) + 1) / (chance.sum(1) + flat.sum(1) + 1)
    hard, real = logits.flatten(1) > 0, flat > 0.5
    iou = (hard & real).sum(1) / (hard | real).sum(1).clamp(min=1)
    total = there.sum().clamp(min=1)
    return {
        "mask": ((2 * bce + 0.5 * dice) * there).sum() / total,
        "object": functional.binary_cross_entropy_with_logits(decoded.object_scores, there),
        "iou": (functional.mse_loss(decoded.iou_scores, iou, reduction="none") * there).sum() / total,
        "reached": (iou * there).sum() / total,
    }


def prompt_step(policy: Any, prompter: Prompter, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of level A on a batch of `draw_masks`."""
    features = encode_frames(policy.sam, batch["pixels"], len(batch["pixels"]))
    decoded = decode(policy.sam, prompter(batch["facts"], batch["there"]), features, batch["frame"])
    return mask_loss(decoded, batch["masks"], batch["present"])
