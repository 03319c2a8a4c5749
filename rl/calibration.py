"""SEG-aware logit calibration: the mask is part of the action, so its likelihood joins the probability of `[SEG]`.

Formulas: VideoSEG-O3, arXiv 2606.06819. With m the mask logits of a `[SEG]` in the training forward and y the binary
mask that the rollout produced for it, both at `size` x `size`:

    l = mean over pixels of -BCEWithLogits(m, y)
    log pi~([SEG]) = log pi([SEG]) + weight * l

No ground truth enters; every other token keeps its log-probability.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from vtscot.errors import PolicyError


def mask_log_likelihood(mask_logits: Tensor, rollout_logits: Tensor, size: int = 32, threshold: float = 0.0) -> Tensor:
    """Mean per-pixel log-likelihood of the rollout's masks under `mask_logits`: (N, H, W) and (N, H, W) -> (N,).

    Both are resized (bilinear) to `size` x `size`; the rollout's then become 1 where the logit exceeds `threshold` (0:
    p > 0.5; the released code has 0.5: p > 0.62). The gradient reaches `mask_logits` only. float32, whatever comes in.
    PolicyError where the shapes differ.
    """
    if mask_logits.dim() != 3 or mask_logits.shape != rollout_logits.shape:
        shapes = f"{tuple(mask_logits.shape)} and {tuple(rollout_logits.shape)}"
        raise PolicyError(f"mask logits of the training forward and of the rollout do not match: {shapes}")
    wanted = (_resized(rollout_logits.detach(), size) > threshold).float()
    given = _resized(mask_logits, size)
    return -binary_cross_entropy_with_logits(given, wanted, reduction="none").mean((-2, -1))


def calibrate(logps: Tensor, seg_index: Tensor, likelihood: Tensor, weight: float = 1.0) -> Tensor:
    """Log-probabilities (B, T) with `weight * likelihood` (N,) added at the rows and positions `seg_index` (N, 2).

    Weight 0 gives back `logps` itself. PolicyError where the numbers of `[SEG]` tokens and masks differ.
    """
    if len(seg_index) != len(likelihood):
        raise PolicyError(f"{len(seg_index)} [SEG] tokens for {len(likelihood)} masks")
    if weight == 0:
        return logps
    rows, positions = seg_index.to(logps.device).unbind(-1)
    return logps.index_put((rows, positions), weight * likelihood.to(logps.dtype), accumulate=True)


def _resized(logits: Tensor, size: int) -> Tensor:
    """(N, H, W) -> (N, size, size) float32."""
    return interpolate(logits.float()[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
