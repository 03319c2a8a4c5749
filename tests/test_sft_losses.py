"""The losses of the cold start against plain formulas, finite differences and the definition of the points."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from vtscot.training.losses import (
    mask_losses,
    point_bce,
    point_dice,
    point_generator,
    sample,
    token_losses,
    uncertain_points,
)
from vtscot.training.settings import LossSettings

FEW = LossSettings(points=64)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generators(count: int, query_id: str = "a/b/c/0") -> list[torch.Generator]:
    return [point_generator(0, query_id, turn, 0) for turn in range(count)]


def test_bce_is_the_plain_formula() -> None:
    logits, truth = drawn(3, 50), drawn(3, 50, seed=1).sigmoid()
    p = 1 / (1 + (-logits).exp())
    plain = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean(1)
    torch.testing.assert_close(point_bce(logits, truth), plain)


def test_dice_is_the_plain_formula_and_falls_to_zero_on_the_truth() -> None:
    logits, truth = drawn(3, 50), (drawn(3, 50, seed=1) > 0).double()
    p = logits.sigmoid()
    plain = [1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, truth, strict=True)]
    torch.testing.assert_close(point_dice(logits, truth), torch.stack(plain))
    assert point_dice((truth - 0.5) * 100, truth).max() < 1e-6
    assert point_dice(torch.full((1, 50), -100.0), torch.zeros(1, 50)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [point_bce, point_dice])
def test_gradients_are_those_of_finite_differences(loss: object) -> None:
    logits, truth = drawn(2, 7).requires_grad_(), (drawn(2, 7, seed=1) > 0).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, truth), (logits,))  # type: ignore[operator]


def test_token_losses_are_minus_the_log_of_the_probability_weighed_by_token() -> None:
    logits, targets = drawn(4, 6), torch.tensor([0, 5, 2, 2])
    plain = -logits.softmax(-1)[torch.arange(4), targets].log()
    torch.testing.assert_close(token_losses(logits, targets).double(), plain, atol=1e-6, rtol=1e-5)
    weights = torch.tensor([1.0, 1, 4, 1, 1, 0.5])
    heavier = plain * torch.tensor([1.0, 0.5, 4, 4])
    torch.testing.assert_close(token_losses(logits, targets, weights).double(), heavier, atol=1e-6, rtol=1e-5)


def test_values_at_the_centres_of_pixels_are_the_pixels() -> None:
    maps = drawn(2, 3, 4)
    y, x = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    centres = torch.stack([(x + 0.5) / 4, (y + 0.5) / 3], dim=-1).reshape(1, 12, 2).expand(2, -1, -1).double()
    torch.testing.assert_close(sample(maps, centres), maps.flatten(1))
    between = torch.tensor([[[2 / 4, 0.5 / 3]], [[2 / 4, 0.5 / 3]]], dtype=torch.float64)
    torch.testing.assert_close(sample(maps, between)[:, 0], (maps[:, 0, 1] + maps[:, 0, 2]) / 2)
    assert sample(torch.ones(1, 3, 4), torch.tensor([[[0.0, 1.0]]])).item() == 1  # no dark frame around the image


def test_points_are_mostly_where_the_border_is_uncertain() -> None:
    side = torch.linspace(-8, 8, 64)
    logits = side.expand(2, 64, 64)  # the border runs down the middle
    settings = LossSettings(points=400, oversample=3, importance=0.75)
    points = uncertain_points(logits, settings, generators(2))
    assert points.shape == (2, 400, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    distance = (points[..., 0] - 0.5).abs()
    assert distance[:, :300].max() < 0.16  # the 300 nearest of 1200 even ones lie within an eighth, but for chance
    assert distance[:, 300:].max() > 0.4
    assert not torch.equal(points[0], points[1])


def test_points_come_from_the_id_alone() -> None:
    logits = drawn(1, 8, 8).float()
    torch.manual_seed(1)
    once = uncertain_points(logits, FEW, [point_generator(0, "a", 1, 2)])
    torch.manual_seed(2)
    assert torch.equal(once, uncertain_points(logits, FEW, [point_generator(0, "a", 1, 2)]))
    for other in [(1, "a", 1, 2), (0, "b", 1, 2), (0, "a", 0, 2), (0, "a", 1, 3)]:
        assert not torch.equal(once, uncertain_points(logits, FEW, [point_generator(*other)]))


def test_a_mask_is_graded_alike_alone_and_in_a_batch() -> None:
    logits, truth = drawn(3, 16, 16).float(), drawn(3, 32, 32, seed=1) > 0
    together = mask_losses(logits, torch.zeros(3), truth, FEW, generators(3))
    alone = mask_losses(logits[1:2], torch.zeros(1), truth[1:2], FEW, generators(3)[1:2])
    torch.testing.assert_close(alone.bce[0], together.bce[1])
    torch.testing.assert_close(alone.dice[0], together.dice[1])


def test_empty_masks_are_learned_and_told_by_the_object_score() -> None:
    truth = torch.zeros(2, 32, 32)
    truth[1, 4:20, 8:24] = 1
    said = torch.full((2, 8, 8), 3.0, requires_grad=True)
    scores = torch.tensor([2.0, 2.0], requires_grad=True)
    losses = mask_losses(said, scores, truth, FEW, generators(2))
    torch.testing.assert_close(losses.object, torch.tensor([math.log1p(math.exp(2)), math.log1p(math.exp(-2))]))
    assert losses.bce[0] > 3
    (losses.bce.sum() + losses.dice.sum() + losses.object.sum()).backward()
    assert said.grad is not None
    assert said.grad[0].sum() > 0  # pixels that should not be there are pushed down
    assert scores.grad is not None
    assert scores.grad[0] > 0 > scores.grad[1]


def test_no_masks_no_losses() -> None:
    losses = mask_losses(torch.zeros(0, 8, 8), torch.zeros(0), torch.zeros(0, 32, 32), FEW, [])
    assert [len(losses.bce), len(losses.dice), len(losses.object)] == [0, 0, 0]
