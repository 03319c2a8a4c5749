"""Budgets: presets as published, and images that keep within their pixels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtscot.budget import CAP_UNIT, PRESETS, fit, preset
from vtscot.errors import UsageError

RELEASED = {name: budget for name, budget in PRESETS.items() if name != "tiny"}  # that one is the package's own

SIDE = st.integers(1, 4000)


@given(SIDE, SIDE, st.integers(1, 2_000_000))
def test_fit_keeps_within_the_cap_and_never_enlarges(width: int, height: int, cap: int) -> None:
    w, h = fit(width, height, cap)
    assert 1 <= w <= width
    assert 1 <= h <= height
    assert w * h <= max(cap, 1)


@pytest.mark.parametrize(
    ("size", "units", "expected"),
    [
        pytest.param((854, 480), 32, (211, 118), id="480p, temporal cap"),
        pytest.param((854, 480), 512, (845, 474), id="480p, key cap"),
        pytest.param((320, 240), 512, (320, 240), id="small frame stays"),
    ],
)
def test_fit_of_known_sizes(size: tuple[int, int], units: int, expected: tuple[int, int]) -> None:
    assert fit(*size, units * CAP_UNIT) == expected


def test_presets_are_the_released_figures() -> None:
    figures = {
        name: (b.temporal_frames, b.spatial_frames, b.window_frames, b.max_turns, b.max_new_tokens)
        for name, b in RELEASED.items()
    }
    assert figures == {
        "cold_start": (20, 5, 10, 3, 512),
        "rl_rollout": (10, 5, 5, 3, 512),
        "evaluation": (20, 8, 5, 3, 1024),
    }
    caps = {
        n: tuple(c // CAP_UNIT for c in (b.temporal_pixels, b.spatial_pixels, b.keyframe_pixels))
        for n, b in RELEASED.items()
    }
    assert caps == {"cold_start": (32, 128, 512), "rl_rollout": (32, 128, 256), "evaluation": (32, 256, 512)}


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="cold_start, rl_rollout, evaluation"):
        preset("huge")
