"""`vtscot selftest-verify`: what it prints is what was measured, and it says where the verifier falls short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import vtscot
from vtscot.budget import preset
from vtscot.mining import MiningSettings
from vtscot.progress import Silent
from vtscot.selftest.figures import MIN_RECALL, Measured, Tally, together
from vtscot.selftest.planting import PLANTERS, UNDECIDABLE
from vtscot.selftest.run import Measuring, measure
from vtscot.verify.base import VerifySettings


def tally(planted: int, noticed: int) -> Tally:
    return Tally(planted, noticed, {"window": noticed}, ("q",) * (planted - noticed))


def measured(**more: Tally) -> Measured:
    return Measured("demo", "grabcut", 200, {"grounding": 1}, 0.9, 0.1, more)


def test_the_demo_is_measured_in_the_form_it_states() -> None:
    ended = vtscot("selftest-verify", "--set", "source.videos=2", "--split", "train", "--json")
    assert ended.code == 0, ended.err
    figures = ended.json()
    assert list(figures) == ["recall", "false_rejections"]
    assert figures["false_rejections"] <= 0.01
    assert set(figures["recall"]) <= set(PLANTERS)
    assert min(figures["recall"].values()) >= MIN_RECALL
    for kind in set(PLANTERS) - set(figures["recall"]):
        assert f"{kind} is undecidable here: " in ended.err


def test_real_videos_are_measured(shared_data: Path) -> None:
    ended = vtscot("selftest-verify", "--source", "mevis", "--root", shared_data / "mevis")
    assert ended.code == 0, ended.err
    assert "false rejections              0.000" in ended.out
    assert "pointed-elsewhere" in ended.out.split("undecidable here")[0]
    assert UNDECIDABLE["window-shifted"] in ended.out.split("undecidable here")[1]


def test_a_verifier_that_looks_at_nothing_is_seen_through(demo_root: Path, tmp_path: Path) -> None:
    blind = VerifySettings(segmenter="box", min_iou=0, min_ratio=0, min_earlier_ratio=0, min_part=0, min_ceiling=0)
    place = Measuring("demo", demo_root, ("valid_u",), tmp_path, preset("cold_start"), MiningSettings(), blind)
    found = measure(place, 1, Silent())
    assert found.recall["wrong-number"] < 0.5
    assert any("recall of wrong-number" in phrase for phrase in found.shortfalls)
    assert found.recall["leaked"] == 1.0


def test_two_processes_measure_what_one_does(demo_root: Path, tmp_path: Path) -> None:
    place = Measuring(
        "demo",
        demo_root,
        ("valid_u",),
        tmp_path,
        preset("cold_start"),
        MiningSettings(),
        VerifySettings(segmenter="box"),
    )
    one, two = measure(place, 1, Silent()), measure(place, 2, Silent())
    assert one.tallies == two.tallies
    assert one.json() == two.json()


def test_figures_count_what_was_planted() -> None:
    found = measured(leaked=tally(100, 100), truncated=tally(100, 98), distractor=tally(0, 0))
    assert found.json() == {"recall": {"leaked": 1.0, "truncated": 0.98}, "false_rejections": 0.005}
    assert found.shortfalls == ("recall of truncated is 0.980",)
    assert set(found.undecidable) == {"distractor"}
    assert together([tally(3, 2), tally(2, 2)]) == Tally(5, 4, {"window": 4}, ("q",))


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        pytest.param(["--source", "mevis"], 2, "--root", id="no root"),
        pytest.param(
            ["--set", "verify.grounder=openai", "--set", "teacher.model=m"], 2, "offline", id="a paid grounder"
        ),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], code: int, complaint: str) -> None:
    ended = vtscot("selftest-verify", *arguments, "--set", "source.videos=1")
    assert ended.code == code
    assert complaint in ended.complaint
