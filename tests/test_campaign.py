"""The campaign of bench/campaign.py, a few disturbances of each kind: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import pytest

from bench.campaign import IN_FLIGHT, Found, Undisturbed, campaign


@pytest.fixture(scope="module")
def found() -> tuple[Undisturbed, dict[str, Found]]:
    calm, hazards = campaign(8, 1, (200_000,), seed=1)
    return calm, {one.name: one for one in hazards}


@pytest.mark.parametrize("name", ["kills", "two", "full", "torn", "clock"])
def test_the_dataset_is_that_of_an_undisturbed_run(name: str, found: tuple[Undisturbed, dict[str, Found]]) -> None:
    one = found[1][name]
    assert found[0].dataset
    assert one.disturbed >= 1
    assert one.identical


@pytest.mark.parametrize("name", ["kills", "two", "full", "torn", "clock"])
def test_only_what_was_in_flight_is_sent_again(name: str, found: tuple[Undisturbed, dict[str, Found]]) -> None:
    one = found[1][name]
    assert one.sent == one.needed + one.lost
    assert name == "torn" or one.most_lost <= IN_FLIGHT


def test_processes_were_killed_at_eight_moments(found: tuple[Undisturbed, dict[str, Found]]) -> None:
    assert found[1]["kills"].disturbed == 8
