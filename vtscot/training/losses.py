"""The losses of words and masks: those of all turns, and the mask of every turn's `[SEG]`.

    loss = lm * LM + bce * BCE + dice * Dice + object * Object        (weights: `LossSettings`)

LM is the cross-entropy over the tokens of all replies; BCE and Dice compare mask logits with the truth on sampled
points (PointRend, arXiv 1912.08193, section 3.1: most points where the logits are least certain). A target that is
not in its frame has an empty mask, which is learned like any other. Object is ours: SAM 2's own score, whether the
target is in the frame at all, learned by cross-entropy; without it absent targets keep a few pixels.

All functions return one value per mask or per token; who calls them divides by the number in the whole batch, so that
accumulation and several processes give the same as one large batch. Points are drawn from generators that the caller
makes of ids (`point_generator`), on the CPU, never from the global state.

Shapes: N masks, P points, (h, w) of the logits, (H, W) of the truth; points are (x, y) in [0, 1] over the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .settings import LossSettings


@dataclass(frozen=True, eq=False, slots=True)
class MaskLosses:
    """One value per mask (N,)."""

    bce: Tensor
    dice: Tensor
    object: Tensor


def token_losses(logits: Tensor, targets: Tensor, token_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy (M,) of logits (M, V) and the tokens (M,) that follow, in float32.

    `token_weights` (V,) weighs each by the token that is to be said.
    """
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    return losses if token_weights is None else losses * token_weights.to(losses)[targets]


def mask_losses(
    logits: Tensor,
    object_scores: Tensor,
    truth: Tensor,
    settings: LossSettings,
    generators: Sequence[Generator],
) -> MaskLosses:
    """Losses of mask logits (N, h, w) and object scores (N,) against masks (N, H, W); one generator per mask.

    The object's truth is whether its mask has a pixel.
    """
    logits, truth = logits.float(), truth.float()
    points = uncertain_points(logits, settings, generators)
    said, true = sample(logits, points), sample(truth, points)
    present = (truth.flatten(1).amax(1) > 0).float()
    objects = functional.binary_cross_entropy_with_logits(object_scores.float(), present, reduction="none")
    return MaskLosses(bce=point_bce(said, true), dice=point_dice(said, true), object=objects)


def point_bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross-entropy (N,) over the points of each mask: logits and truth in [0, 1], both (N, P)."""
    return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)


def point_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) (N,) over the points of each mask, with p = sigmoid(logits)."""
    probability = logits.sigmoid()
    overlap = (probability * truth).sum(1)
    return 1 - (2 * overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)


@torch.no_grad()  # type: ignore[untyped-decorator]
def uncertain_points(logits: Tensor, settings: LossSettings, generators: Sequence[Generator]) -> Tensor:
    """Points (N, P, 2): of `oversample` x P drawn evenly, the `importance` x P nearest to the border; the rest even."""
    chosen = round(settings.importance * settings.points)
    drawn = settings.points - chosen
    drawing = [torch.rand(round(settings.oversample * settings.points) + drawn, 2, generator=g) for g in generators]
    if not drawing:
        return logits.new_zeros(0, settings.points, 2)
    points = torch.stack(drawing).to(logits.device)
    candidates, even = points[:, drawn:], points[:, :drawn]
    certainty = sample(logits, candidates).abs()
    nearest = certainty.topk(chosen, dim=1, largest=False).indices
    return torch.cat([candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), even], dim=1)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Values (N, P) of maps (N, h, w) at points (N, P, 2): bilinear between the centres of pixels, even beyond."""
    grid = 2 * points[:, :, None] - 1
    values = functional.grid_sample(maps[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return values[:, 0, :, 0]


@torch.no_grad()  # type: ignore[untyped-decorator]
def mask_ious(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU (N,) of the pixels above 0 with the truth at the size of the logits, 0 for targets that are not there; and
    whether each is there (N,).
    """
    shrunk = functional.interpolate(truth[:, None].float(), size=logits.shape[-2:], mode="area")[:, 0] >= 0.5
    said = logits > 0
    both, either = (said & shrunk).flatten(1).sum(1), (said | shrunk).flatten(1).sum(1)
    visible = truth.flatten(1).any(1)
    return torch.where(visible, both / either.clamp(min=1), 0.0), visible


def point_generator(seed: int, query_id: str, turn: int, epoch: int) -> Generator:
    """The generator of one mask's points: the same on any machine, in any batch, and after a resume."""
    digest = hashlib.sha256(f"points/{seed}/{epoch}/{turn}/{query_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
