"""The calibration against its formula, its gradient against finite differences."""

from __future__ import annotations

import pytest
import torch

from vtscot.errors import PolicyError
from vtscot.rl.calibration import calibrate, mask_log_likelihood


def logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_log_probability_of_the_rollouts_pixels() -> None:
    given, rolled = logits(0, 2, 32, 32), logits(1, 2, 32, 32)
    probability = torch.where(rolled > 0, given.sigmoid(), 1 - given.sigmoid())
    assert torch.allclose(mask_log_likelihood(given, rolled), probability.log().mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("side", [16, 32, 64, 256])
def test_masks_of_any_size_are_compared_at_32(side: int) -> None:
    flat = torch.full((1, side, side), 2.0)
    expected = torch.nn.functional.logsigmoid(torch.tensor(2.0))
    assert torch.allclose(mask_log_likelihood(flat, flat), expected.expand(1))


def test_the_threshold_is_on_the_resized_logits() -> None:
    half = torch.full((1, 8, 8), 0.4)
    inside = torch.nn.functional.logsigmoid(torch.tensor(0.4))
    outside = torch.nn.functional.logsigmoid(torch.tensor(-0.4))
    assert torch.allclose(mask_log_likelihood(half, half), inside.expand(1))
    assert torch.allclose(mask_log_likelihood(half, half, threshold=0.5), outside.expand(1))


def test_its_gradient_is_that_of_finite_differences_and_reaches_the_training_masks_only() -> None:
    given = logits(2, 2, 6, 6).double().requires_grad_()
    rolled = logits(3, 2, 6, 6).double().requires_grad_()
    mask_log_likelihood(given, rolled, size=4).sum().backward()
    assert rolled.grad is None and given.grad is not None
    step = 1e-2  # the function works in float32
    for place in [(0, 0, 0), (0, 3, 2), (1, 5, 5)]:
        moved = torch.zeros_like(given)
        moved[place] = step
        up, down = (mask_log_likelihood(given.detach() + s * moved, rolled, size=4).sum() for s in (1, -1))
        assert given.grad[place] == pytest.approx((up - down).item() / (2 * step), abs=2e-4)


def test_only_seg_tokens_change() -> None:
    logps = logits(4, 2, 5).requires_grad_()
    likelihood = torch.tensor([-0.5, -0.25], requires_grad=True)
    seg_index = torch.tensor([[0, 3], [1, 1]])
    calibrated = calibrate(logps, seg_index, likelihood, weight=2.0)
    difference = (calibrated - logps).detach()
    assert torch.allclose(difference[0, 3], torch.tensor(-1.0)) and torch.allclose(difference[1, 1], torch.tensor(-0.5))
    assert difference.count_nonzero() == 2
    calibrated.sum().backward()
    assert torch.equal(likelihood.grad, torch.full((2,), 2.0))
    assert calibrate(logps, seg_index, likelihood, weight=0) is logps


def test_an_advantage_sharpens_or_gives_up_the_mask() -> None:
    """The policy gradient of the method: A times the gradient of the log-likelihood."""
    given = torch.zeros(1, 32, 32, requires_grad=True)
    rolled = logits(5, 1, 32, 32)
    (-2.0 * mask_log_likelihood(given, rolled)).sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad < 0, rolled > 0)  # a step down the loss goes towards the mask of a good rollout


@pytest.mark.parametrize(
    ("given", "rolled"), [((2, 8, 8), (3, 8, 8)), ((2, 8, 8), (2, 16, 16)), ((2, 1, 8, 8), (2, 1, 8, 8))]
)
def test_a_mismatch_raises(given: tuple[int, ...], rolled: tuple[int, ...]) -> None:
    with pytest.raises(PolicyError, match="do not match"):
        mask_log_likelihood(torch.zeros(given), torch.zeros(rolled))
    with pytest.raises(PolicyError, match=r"1 \[SEG\] tokens for 2 masks"):
        calibrate(torch.zeros(1, 4), torch.tensor([[0, 1]]), torch.zeros(2))


def test_no_masks_are_no_likelihoods() -> None:
    assert mask_log_likelihood(torch.zeros(0, 8, 8), torch.zeros(0, 8, 8)).shape == (0,)
