"""How tokens are drawn: greedy, temperature, top-p, seeds."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")

import torch
from pydantic import ValidationError

from vtscot.policy.sampling import Sampling, next_tokens, turn_seed, turn_uniforms

PROBABILITIES = torch.tensor([0.1, 0.0, 0.4, 0.2, 0.3], dtype=torch.float64)
ROWS = 4000
GRID = (torch.arange(ROWS, dtype=torch.float64) + 0.5) / ROWS


def draw(sampling: Sampling, uniforms: torch.Tensor = GRID) -> tuple[torch.Tensor, torch.Tensor]:
    return next_tokens(PROBABILITIES.log().float().expand(len(uniforms), -1), sampling, uniforms)


def shares(tokens: torch.Tensor) -> torch.Tensor:
    return torch.bincount(tokens, minlength=5) / len(tokens)


def test_greedy_takes_the_likeliest_token_with_its_log_probability() -> None:
    tokens, logprobs = draw(Sampling())
    assert (tokens == 2).all()
    torch.testing.assert_close(logprobs, torch.full((ROWS,), 0.4).log())


def test_tokens_are_drawn_by_their_probability() -> None:
    tokens, logprobs = draw(Sampling(temperature=1.0))
    torch.testing.assert_close(shares(tokens), PROBABILITIES.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(logprobs, PROBABILITIES.log().float()[tokens])


def test_temperature_sharpens_and_counts_in_the_log_probability() -> None:
    tokens, logprobs = draw(Sampling(temperature=0.5))
    squared = PROBABILITIES.square() / PROBABILITIES.square().sum()
    torch.testing.assert_close(shares(tokens), squared.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(logprobs, squared.log().float()[tokens])


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, [2]), (0.39, [2]), (0.41, [2, 4]), (0.75, [2, 4, 3]), (1.0, [0, 2, 3, 4])],
)
def test_top_p_keeps_the_fewest_tokens_that_hold_it(top_p: float, kept: list[int]) -> None:
    tokens, logprobs = draw(Sampling(temperature=1.0, top_p=top_p))
    expected = torch.zeros(5, dtype=torch.float64)
    expected[kept] = PROBABILITIES[kept] / PROBABILITIES[kept].sum()
    torch.testing.assert_close(shares(tokens), expected.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(logprobs, PROBABILITIES.log().float()[tokens])  # before top-p


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("top_p", [1e-9, 0.5, 1.0])
def test_the_ends_of_the_interval_never_draw_what_has_no_probability(uniform: float, top_p: float) -> None:
    tokens, logprobs = draw(Sampling(temperature=1.0, top_p=top_p), torch.tensor([uniform], dtype=torch.float64))
    assert tokens.item() != 1
    assert torch.isfinite(logprobs).all()


def test_rows_are_drawn_apart_from_each_other() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    uniforms, sampling = turn_uniforms(3, 6), Sampling(temperature=1.2, top_p=0.9)
    together = next_tokens(logits, sampling, uniforms)[0]
    alone = [next_tokens(logits[i : i + 1], sampling, uniforms[i : i + 1])[0] for i in range(6)]
    assert together.equal(torch.cat(alone))


def test_every_name_in_a_seed_counts() -> None:
    names = [(0, "a/1", 0, 0), (1, "a/1", 0, 0), (0, "a/2", 0, 0), (0, "a/1", 1, 0), (0, "a/1", 0, 1), (0, "a", 10, 0)]
    seeds = [turn_seed(*name) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert turn_seed(0, "a/1", 0, 0) == 6413365035659630751  # the same on every machine, in every version


def test_numbers_to_draw_by_come_from_the_seed_and_begin_alike_whatever_their_number() -> None:
    assert turn_uniforms(5, 300)[:40].equal(turn_uniforms(5, 40))
    assert not turn_uniforms(5, 40).equal(turn_uniforms(6, 40))


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    draw(Sampling(temperature=1.0), turn_uniforms(1, 9))
    assert torch.random.get_rng_state().equal(before)


@pytest.mark.parametrize("values", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"temperature": float("nan")}])
def test_settings_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sampling(**values)
