"""Verification: reading thoughts, pointing blindly, the checks, and what they notice of planted errors."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from vtscot.budget import preset
from vtscot.errors import UsageError
from vtscot.index import build_index
from vtscot.masks import Rle
from vtscot.records import Box, Selection, Thought, Verdict
from vtscot.segmenter import open_segmenter
from vtscot.selftest import cases, judge, plant_all
from vtscot.selftest.planting import PLANTERS, Case
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack
from vtscot.verify import CHECKS, open_grounder
from vtscot.verify.base import BlindView, Ungroundable, VerifySettings
from vtscot.verify.grading import Ceiling, Ceilings, least_part
from vtscot.verify.leaks import Known, find_leak
from vtscot.verify.reading import read_spatial
from vtscot.verify.verifier import check_window

SETTINGS = VerifySettings()
SIZE = (160, 120)


def verdict(case: Case, settings: VerifySettings = SETTINGS) -> Verdict:
    return judge(case, open_grounder(settings.grounder, None), open_segmenter(settings.segmenter), settings)


@pytest.fixture(scope="module")
def made(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """The oracle's episodes on the demo's validation split."""
    source = open_source("demo", demo_root, "valid_u")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    return list(cases(source, index, preset("cold_start"), seed=0))


@pytest.fixture(scope="module")
def kept(made: list[Case]) -> list[Case]:
    return [case for case in made if verdict(case).kept]


def test_good_episodes_are_kept(made: list[Case], kept: list[Case]) -> None:
    assert len(kept) >= 0.9 * len(made)
    for case in kept:
        one = verdict(case)
        assert tuple(check.name for check in one.checks) == CHECKS
        assert all(check.passed for check in one.checks)
        assert [g.turn for g in one.groundings] == list(range(len(case.episode.turns)))


def test_real_episodes_are_kept(shared_data: Path, tmp_path: Path) -> None:
    source = open_source("mevis", shared_data / "mevis", "train")
    made = list(cases(source, build_index(source, tmp_path), preset("cold_start"), seed=0))
    verdicts = [verdict(case) for case in made]
    assert sum(one.kept for one in verdicts) >= 10


@pytest.mark.parametrize("kind", PLANTERS)
def test_planted_errors_are_noticed(kind: str, kept: list[Case]) -> None:
    sample = kept if kind in ("here-claimed", "keyframe-without-target", "window-shifted") else kept[::2]
    tally = plant_all(kind, sample, verdict, seed=0)
    assert tally.planted > 0
    assert tally.missed == ()


def test_a_verdict_is_the_same_twice(made: list[Case]) -> None:
    assert verdict(made[0]) == verdict(made[0])


def test_a_no_target_episode_scores_one(made: list[Case]) -> None:
    case = next(case for case in made if case.task.target is None)
    one = verdict(case)
    assert one.kept
    assert {(g.iou, g.ceiling, g.boxes) for g in one.groundings} == {(1.0, 1.0, ())}


def test_a_segmenter_too_weak_to_grade_is_no_wrong_thought(made: list[Case]) -> None:
    case = next(case for case in made if case.task.target is not None and len(case.episode.turns) == 1)
    one = verdict(case, SETTINGS.model_copy(update={"min_ceiling": 1.0}))
    assert one.reason == "gradable"
    assert not any(g.gradable for g in one.groundings)


def test_an_episode_that_leaves_the_plan_is_rejected(made: list[Case]) -> None:
    case = next(case for case in made if len(case.episode.turns) > 1)
    turns = list(case.episode.turns)
    own = turns[-1].selection
    turns[-1] = turns[-1].model_copy(
        update={"selection": Selection(start=own.start, end=own.start, keyframe=own.start)}
    )
    episode = case.episode.model_copy(update={"turns": tuple(turns)})
    assert verdict(Case(case.task, case.plan, episode)).reason in ("plan", "window")


def test_a_blind_view_holds_no_answer() -> None:
    assert {field.name for field in fields(BlindView)} == {"image", "size", "frame", "expression", "thought", "shown"}


def view(spatial: str, expression: str = "the red thing") -> BlindView:
    """A red square in the upper left, a blue one in the lower right, on grey."""
    image = np.full((SIZE[1], SIZE[0], 3), 120, dtype=np.uint8)
    image[20:50, 20:50] = (206, 32, 44)
    image[80:110, 110:150] = (36, 82, 214)
    thought = Thought(temporal="t", spatial=spatial, linguistic="l", action="a")
    return BlindView(image, SIZE, 3, expression, thought)


RED: Box = (20.0, 20.0, 30.0, 30.0)
BLUE: Box = (110.0, 80.0, 40.0, 30.0)
RED_PLACE = (
    "about a fifth of the way across and three tenths of the way down, "
    "a fifth of the frame's width and a quarter of its height"
)
BLUE_PLACE = (
    "about four fifths of the way across and four fifths of the way down, "
    "a quarter of the frame's width and a quarter of its height"
)


@pytest.mark.parametrize(
    ("spatial", "boxes"),
    [
        pytest.param(f"The target is {RED_PLACE}; it looks red.", (RED,), id="place and colour"),
        pytest.param(f"The target is {BLUE_PLACE}; it looks blue.", (BLUE,), id="the other"),
        pytest.param("The target is the blue square in the lower right corner.", (BLUE,), id="loose words"),
        pytest.param("It can be told by its looks.", (RED,), id="only the expression's colour"),
        pytest.param(
            f"The target is {RED_PLACE}; it looks red. Another object is {BLUE_PLACE}; it is not meant.",
            (RED,),
            id="excluded things are no targets",
        ),
        pytest.param(
            f"The first target is {RED_PLACE}; it looks red. The second target is {BLUE_PLACE}; it looks blue.",
            (RED, BLUE),
            id="two targets",
        ),
        pytest.param("In frame 3 the target is not in view.", (), id="not here"),
        pytest.param("Nothing in frame 3 fits. Other objects are a red one in the middle.", (), id="nothing fits"),
        pytest.param(f"The target is {RED_PLACE}; it looks blue.", (BLUE,), id="colour is found elsewhere"),
    ],
)
def test_words_point_at_what_they_say(spatial: str, boxes: tuple[Box, ...]) -> None:
    found = asyncio.run(open_grounder("words", None).ground(view(spatial)))
    assert len(found) == len(boxes)
    for got, wanted in zip(found, boxes, strict=True):
        assert got == pytest.approx(wanted, abs=2.5)


@pytest.mark.parametrize(
    ("spatial", "expression"),
    [
        pytest.param(f"The target is {RED_PLACE}; it looks green.", "a thing", id="no such colour"),
        pytest.param("It is easy to see.", "the dog that runs", id="neither place nor colour"),
    ],
)
def test_words_that_point_at_nothing_are_said_to(spatial: str, expression: str) -> None:
    with pytest.raises(Ungroundable):
        asyncio.run(open_grounder("words", None).ground(view(spatial, expression)))


def test_boxes_come_in_pixels_of_the_original_frame() -> None:
    small = view(f"The target is {RED_PLACE}; it looks red.")
    large = BlindView(small.image, (640, 480), 3, small.expression, small.thought)
    found = asyncio.run(open_grounder("words", None).ground(large))
    assert found[0] == pytest.approx(tuple(4 * value for value in RED), abs=10)


@pytest.mark.parametrize(
    ("text", "claims", "not_here"),
    [
        ("The swan is in the middle, while the other bird on the left is a duck.", 1, False),
        ("The target cannot be seen in this frame.", 0, True),
        ("I see grass.", 0, False),
        ("The dog is out of view.", 0, True),
        ("The dog is in the upper left, and the cat is not visible in the frame.", 0, True),
    ],
)
def test_claims_are_read(text: str, claims: int, not_here: bool) -> None:
    reading = read_spatial(text)
    assert (len(reading.claims), reading.not_here) == (claims, not_here)


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("The target enters at frame 12.", None),
        ("The target enters at frame 13.", "13"),
        ("I compare frames 12 and 14 with frame 20.", "14"),
        ("There are 3 dogs.", None),
        ("There are 30 dogs.", None),
        ("It stays for 30 frames.", "30 frames"),
        ("Look at frame 3.", "3"),
        ("It matches the ground truth.", "ground truth"),
        ("It is inside the bounding box.", "bounding box"),
        ("It stands at (120, 45).", "(120, 45)"),
        ("It fills 0.25 of the picture.", "0.25"),
        ("The man with the mask is meant.", None),
        ("The annotation says so.", "annotation"),
        ("Number 7 on the shirt.", None),
    ],
)
def test_leaks_are_found(text: str, leak: str | None) -> None:
    found = find_leak(text, Known("the man with a mask and number 7", frozenset({7, 12, 20})))
    assert (found.text if found else None) == leak


def track(visible: str) -> MaskTrack:
    """A small target, visible in the frames marked with x."""
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 2:5] = True
    counts = Rle.from_array(mask).counts
    return MaskTrack(8, 8, tuple(counts if mark == "x" else None for mark in visible))


@pytest.mark.parametrize(
    ("visible", "window", "passed"),
    [
        ("..xxxx....", (2, 5), True),
        ("..xxxx....", (1, 6), True),
        ("..xxxx....", (6, 9), False),
        ("..xxxx....", (0, 9), False),
        ("xxxxxxxxxx", (4, 4), False),
        ("xxxxxxxxxx", (0, 9), True),
    ],
)
def test_windows(visible: str, window: tuple[int, int], passed: bool) -> None:
    selection = Selection(start=window[0], end=window[1], keyframe=window[0])
    assert check_window(selection, track(visible), SETTINGS).passed == passed


def test_every_piece_and_every_box_counts() -> None:
    truth = np.zeros((20, 40), dtype=bool)
    truth[5:10, 5:10] = truth[5:10, 30:35] = True
    left, right = truth.copy(), truth.copy()
    left[:, 20:] = False
    right[:, :20] = False
    beside = np.roll(left, 10, axis=0)
    assert least_part([left, right], truth, truth) == 1.0
    assert least_part([left], truth, truth) == 0.0
    assert least_part([left, right, beside], truth, truth) == 0.0
    assert least_part([], truth, truth) == 0.0


def test_ceilings_are_made_once_and_forgotten_in_turn() -> None:
    made: list[str] = []

    def make(name: str) -> Ceiling:
        made.append(name)
        return Ceiling(0.5, np.zeros((1, 1), dtype=bool))

    known = Ceilings(kept=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        known.get((name,), lambda name=name: make(name))
    assert made == ["a", "b", "c", "b"]


def test_unknown_grounders_are_named() -> None:
    with pytest.raises(UsageError, match="words and openai"):
        open_grounder("oracle", None)
