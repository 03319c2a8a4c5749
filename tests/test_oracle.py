"""The offline teacher: grammar, what it may say at each turn, variety and determinism."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtscot.budget import preset
from vtscot.episode import dialogue
from vtscot.grammar import parse_turn, render_thought, render_turn
from vtscot.index import build_index
from vtscot.masks import Rle
from vtscot.records import Episode, Fact, Thought
from vtscot.selftest import cases
from vtscot.selftest.planting import Case
from vtscot.sources.registry import open_source
from vtscot.teacher.oracle import OracleTeacher
from vtscot.teacher.oracle.moment import counted
from vtscot.teacher.oracle.parts import way
from vtscot.teacher.oracle.scene import Scene, Trail
from vtscot.teacher.oracle.words import Phrases, agree, listed
from vtscot.tracks import MaskTrack
from vtscot.verify.text import check_leakage


@pytest.fixture(scope="module")
def made(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """The oracle's episodes on the demo's validation split."""
    source = open_source("demo", demo_root, "valid_u")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    return list(cases(source, index, preset("cold_start"), seed=0))


def thoughts(episode: Episode) -> list[Thought]:
    return [turn.thought for turn in episode.turns]


def test_every_turn_parses_back(made: list[Case]) -> None:
    for case in made:
        for turn in case.episode.turns:
            assert parse_turn(render_turn(turn)) == turn
        assert len(dialogue(case.episode)) == 1 + 2 * len(case.episode.turns)


def test_thoughts_have_a_human_length(made: list[Case]) -> None:
    for case in made:
        for thought in thoughts(case.episode):
            assert 60 <= len(render_thought(thought).split()) <= 270, case.task.query.id


def test_only_shown_frames_are_named(made: list[Case]) -> None:
    for case in made:
        numbers = {int(n) for n in re.findall(r"\d+", case.episode.expression)}
        for turn, thought in enumerate(thoughts(case.episode)):
            said = {int(n) for n in re.findall(r"frames? (\d+)", render_thought(thought))}
            assert said <= case.episode.shown_until(turn) | numbers, case.task.query.id
            assert said, "a thought speaks of frames"


def test_nothing_leaks(made: list[Case]) -> None:
    for case in made:
        check = check_leakage(case.episode)
        assert check.passed, check.detail


def test_later_frames_change_nothing_that_was_said_before(made: list[Case]) -> None:
    """A target whose masks are wiped from all frames not yet shown is spoken of in the same words."""
    case = max(made, key=lambda one: (len(one.episode.turns), one.task.target is not None))
    task = case.task
    assert task.target is not None
    shown = case.episode.shown_until(0)
    wiped = replace(task.target, masks=tuple(m if i in shown else None for i, m in enumerate(task.target.masks)))
    _, again = asyncio.run(OracleTeacher().trace(replace(task, target=wiped)))
    assert again[0] == case.episode.turns[0].thought


def test_the_decoded_frame_is_described(made: list[Case]) -> None:
    for case in made:
        for observation, thought in zip(case.episode.observations, thoughts(case.episode), strict=True):
            assert str(observation.decoded) in re.findall(r"\d+", thought.spatial)


def test_the_expression_is_quoted(made: list[Case]) -> None:
    for case in made:
        for thought in thoughts(case.episode):
            assert f'"{case.episode.expression.strip()}"' in thought.linguistic


def test_a_no_target_query_ends_with_not_here(made: list[Case]) -> None:
    empty = [case for case in made if case.task.target is None]
    assert empty
    for case in empty:
        assert re.search(r"not here|not to be found|not in this frame", case.episode.turns[-1].thought.spatial)


def test_the_same_seed_writes_the_same_words(made: list[Case]) -> None:
    task = made[0].task
    same = asyncio.run(OracleTeacher().trace(task))
    assert tuple(thoughts(made[0].episode)) == same[1]
    assert asyncio.run(OracleTeacher(seed=1).trace(task))[1] != same[1]


def test_wording_varies_between_queries(made: list[Case]) -> None:
    openings = {" ".join(case.episode.turns[0].thought.temporal.split()[:3]) for case in made}
    assert len(openings) >= 3


@pytest.mark.parametrize(
    "expression",
    [
        'a "quoted" <b>thing</b> [SEG]',
        "Step 1: the Action: hero",
        "an\n expression   with\todd white space",
        "un chien noir, très grand",
        "黑色的天鹅",
        "word " * 500,
        "?",
    ],
)
def test_odd_expressions_are_written_about(made: list[Case], expression: str) -> None:
    task = replace(made[0].task, query=made[0].task.query.model_copy(update={"expression": expression}))
    _, written = asyncio.run(OracleTeacher().trace(task))
    for thought in written:
        render_thought(thought)


def test_real_videos_are_written_about(shared_data: Path, tmp_path: Path) -> None:
    source = open_source("mevis", shared_data / "mevis", "train")
    for case in cases(source, build_index(source, tmp_path), preset("cold_start"), seed=0):
        for thought in thoughts(case.episode):
            render_thought(thought)
            assert re.search(r"target", thought.spatial)


def test_directions_in_words() -> None:
    assert way((0.1, 0.5), (0.6, 0.5)) == "to the right"
    assert way((0.5, 0.2), (0.5, 0.8)) == "downwards"
    assert way((0.8, 0.8), (0.3, 0.3)) == "upwards and to the left"


def test_trail_tells_changes_by_shown_frames() -> None:
    seen = (4, 6, 12)
    trail = Trail((0, 2, 4, 6, 8, 10, 12, 14), seen, dict.fromkeys(seen, (0.5, 0.5)), dict.fromkeys(seen, 0.1))
    assert trail.gone_before == (2, 4)
    assert trail.gap == (6, 12)
    assert trail.gone_after == (12, 14)
    always = Trail(seen, seen, {}, {})
    assert (always.gone_before, always.gap, always.gone_after) == (None, None, None)


def test_an_encounter_needs_a_shown_frame(made: list[Case]) -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[5:10, 5:10] = True
    near, far = np.roll(mask, 6, axis=1), np.roll(mask, 25, axis=1)
    target = MaskTrack(20, 40, tuple([Rle.from_array(mask).counts] * 3))
    other = MaskTrack(20, 40, (Rle.from_array(far).counts, Rle.from_array(near).counts, None))
    scene = Scene(replace(made[0].task, target=target, objects={"7": other}))
    fact = Fact(kind="nearest", start=0, end=2, other="7")
    assert scene.encounter(fact, (0, 1, 2)) == 1
    assert scene.encounter(fact, (0, 2)) is None
    assert scene.encounter(fact.model_copy(update={"other": "8"}), (0, 1)) is None


def test_words_are_joined_and_agree() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert agree("{subject} {be} gone and {appear}", plural=False, subject="it") == "It is gone and appears"
    assert agree("{subject} {be} gone and {appear}", plural=True, subject="they") == "They are gone and appear"
    assert counted(["a red one near the top"] * 2 + ["a blue one in the middle"]) == [
        "two red ones near the top",
        "a blue one in the middle",
    ]


def test_turns_use_different_phrasings() -> None:
    bank = ("one", "two", "three", "four")
    picked = [Phrases(0, "demo/train/v/0", turn).pick(bank) for turn in range(3)]
    assert len(set(picked)) == 3
