"""The brief style: a fixed form, the truth of its table, nothing unshown, and episodes that the verifier keeps."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from vtscot.budget import Budget
from vtscot.grammar import parse_turn, render_thought, render_turn
from vtscot.index import build_index
from vtscot.mining.plans import MiningSettings
from vtscot.recipe import load_recipe
from vtscot.records import Episode, Thought
from vtscot.segmenter import open_segmenter
from vtscot.selftest import cases, judge
from vtscot.selftest.planting import Case
from vtscot.sources.registry import open_source
from vtscot.teacher import open_teacher
from vtscot.teacher.oracle import OracleTeacher
from vtscot.teacher.oracle.brief import say_briefly
from vtscot.teacher.oracle.scene import MIN_AREA
from vtscot.verify import open_grounder
from vtscot.verify.text import check_leakage
from vtscot.words.places import read_place

SMALL = Budget(
    temporal_frames=12,
    spatial_frames=1,
    window_frames=5,
    temporal_pixels=3072,
    spatial_pixels=12288,
    keyframe_pixels=12288,
)
LEAD = r"The (?:\w+ )?targets?: "
TABLE = r"\d+ (?:yes|no)(?:, \d+ (?:yes|no))*\."
BOUNDS = r"from \d+ to \d+\."
THERE = rf"(?:It is|They are) there {BOUNDS}"
WINDOW = rf"{THERE}|(?:{THERE} )?I look {BOUNDS}|It is in none\."
KIND = r"(?:the (?:colour|size|number|place|time|shape)|what is not meant)"
FORM = {
    "temporal": re.compile(rf"{LEAD}{TABLE} (?:{WINDOW})"),
    "spatial": re.compile(r"In frame \d+ the .*"),
    "linguistic": re.compile(rf"What counts is {KIND}(?:(?:, {KIND})* and {KIND})?\."),
    "action": re.compile(
        r"I am sure near frame \d+\.|I look closer near frame \d+\.|"
        r"I look again to be sure\.|I am sure that it is not here\."
    ),
}


@pytest.fixture(scope="module")
def made(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """The brief episodes on the demo's training split, under a small budget."""
    source = open_source("demo", demo_root, "train")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    return list(cases(source, index, SMALL, seed=0, teacher=open_teacher("oracle", None, "brief")))


def thoughts(episode: Episode) -> list[Thought]:
    return [turn.thought for turn in episode.turns]


def table(thought: Thought) -> dict[int, bool]:
    """The answers per frame."""
    return {int(i): said == "yes" for i, said in re.findall(r"(\d+) (yes|no)", thought.temporal)}


def test_every_thought_has_the_fixed_form(made: list[Case]) -> None:
    for case in made:
        for turn in case.episode.turns:
            assert parse_turn(render_turn(turn)) == turn
            for name, form in FORM.items():
                assert form.fullmatch(getattr(turn.thought, name)), (case.task.query.id, name)


def test_the_table_answers_for_every_low_resolution_frame(made: list[Case]) -> None:
    for case in made:
        target = case.task.target
        for observation, thought in zip(case.episode.observations, thoughts(case.episode), strict=True):
            strip = {frame.index for frame in observation.frames if frame.role in ("temporal", "window")}
            least = MIN_AREA * target.width * target.height if target is not None else 0
            assert table(thought) == {i: target is not None and bool(target.areas[i] >= least) for i in strip}


def test_the_window_lies_around_the_selection_and_between_shown_frames(made: list[Case]) -> None:
    said = 0
    for case in made:
        for number, turn in enumerate(case.episode.turns):
            if found := re.findall(r"from (\d+) to (\d+)", turn.thought.temporal):
                start, end = map(int, found[-1])
                assert {start, end} <= case.episode.shown_until(number)
                assert turn.selection.end <= end or end == max(case.episode.shown_until(number))
                assert start <= turn.selection.start
                said += 1
    assert said > len(made)


def test_the_first_look_says_where_its_table_has_the_target_and_later_ones_leave_that(made: list[Case]) -> None:
    said = 0
    for case in made:
        for number, (turn, thought) in enumerate(zip(case.episode.turns, thoughts(case.episode), strict=True)):
            if turn.action != "select":
                continue
            seen = {i for i, yes in table(thought).items() if yes}
            if not seen and "not here" not in thought.spatial:
                continue  # seen on the sharp frame alone: the next test
            found = re.search(r"there from (\d+) to (\d+)\.", thought.temporal)
            if number or not seen:
                assert found is None, case.task.query.id
            else:
                assert found is not None and (int(found[1]), int(found[2])) == (min(seen), max(seen))
                said += 1
    assert said


def test_a_target_that_only_the_sharp_frame_shows_is_there_on_that_frame(made: list[Case]) -> None:
    tried = 0
    for case in made:
        target, sharp = case.task.target, case.episode.observations[0].decoded
        strip = {frame.index for frame in case.episode.observations[0].frames if frame.role == "temporal"}
        if target is None or len(case.episode.turns) == 1 or sharp in strip or target.areas[sharp] < 100:
            continue
        alone = replace(target, masks=tuple(m if i == sharp else None for i, m in enumerate(target.masks)))
        _, written = asyncio.run(OracleTeacher(style="brief").trace(replace(case.task, target=alone)))
        assert not any(table(written[0]).values())
        assert f"there from {sharp} to {sharp}." in written[0].temporal, case.task.query.id
        tried += 1
    assert tried


def test_on_shown_frames_an_episode_has_one_window(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = open_source("demo", demo_root, "train")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    mining, teacher = MiningSettings(on_shown=True), open_teacher("oracle", None, "brief")
    looked = 0
    for case in cases(source, index, SMALL, seed=0, teacher=teacher, mining=mining):
        windows = {(turn.selection.start, turn.selection.end) for turn in case.episode.turns}
        said = [re.findall(r"from (\d+) to (\d+)", thought.temporal) for thought in thoughts(case.episode)]
        if case.task.target is None:
            continue
        looked += len(case.episode.turns) > 1
        assert {(int(start), int(end)) for found in said for start, end in found} == windows
        assert len(windows) == 1, case.task.query.id
        if seen := [frame for frame, yes in table(thoughts(case.episode)[0]).items() if yes]:
            assert windows == {(min(seen), max(seen))}, case.task.query.id
    assert looked


def test_only_a_colour_that_the_expression_names_leads_a_table(made: list[Case]) -> None:
    named = unnamed = 0
    for case in made:
        for thought in thoughts(case.episode):
            lead = re.match(r"The (?:(\w+) )?targets?:", thought.temporal)
            assert lead is not None
            assert lead[1] is None or lead[1] in case.task.query.expression, case.task.query.id
            named, unnamed = named + (lead[1] is not None), unnamed + (lead[1] is None)
    assert named and unnamed


def test_the_frame_to_act_near_shows_the_target_where_any_does(made: list[Case]) -> None:
    for case in made:
        seen: set[int] = set()
        for number, thought in enumerate(thoughts(case.episode)):
            seen |= {i for i, yes in table(thought).items() if yes}
            seen |= {case.episode.observations[number].decoded} if "not here" not in thought.spatial else set()
            near = re.search(r"near frame (\d+)", thought.action)
            assert near is None or not seen or int(near[1]) in seen, case.task.query.id


def test_a_no_target_query_says_so_in_every_turn(made: list[Case]) -> None:
    empty = [case for case in made if case.task.target is None]
    assert empty
    for case in empty:
        for thought in thoughts(case.episode):
            assert "It is in none." in thought.temporal
            assert "the target is not here." in thought.spatial
        assert thoughts(case.episode)[-1].action == "I am sure that it is not here."


def test_nothing_leaks_and_nothing_of_the_future_is_told(made: list[Case]) -> None:
    for case in made:
        check = check_leakage(case.episode)
        assert check.passed, check.detail
    case = max(made, key=lambda one: (len(one.episode.turns), one.task.target is not None))
    target, shown = case.task.target, case.episode.shown_until(0)
    assert target is not None
    wiped = replace(target, masks=tuple(m if i in shown else None for i, m in enumerate(target.masks)))
    _, again = asyncio.run(OracleTeacher(style="brief").trace(replace(case.task, target=wiped)))
    assert again[0] == case.episode.turns[0].thought


def test_thoughts_are_brief_and_the_verifier_keeps_them(made: list[Case]) -> None:
    settings = load_recipe(None, Path("speedrun")).verify
    grounder, segmenter = open_grounder(settings.grounder, None), open_segmenter(settings.segmenter)
    sample = made[::2]
    verdicts = [judge(case, grounder, segmenter, settings) for case in sample]
    assert sum(verdict.kept for verdict in verdicts) >= 0.95 * len(sample), [v.reason for v in verdicts if v.reason]
    lengths = [len(render_thought(thought).split()) for case in made for thought in thoughts(case.episode)]
    assert sum(lengths) / len(lengths) < 90


def test_seeds_change_nothing(made: list[Case]) -> None:
    case = made[0]
    _, again = asyncio.run(OracleTeacher(seed=1, style="brief").trace(case.task))
    assert list(again) == thoughts(case.episode)


@pytest.mark.parametrize("expression", ['a "quoted" <b>thing</b> [SEG]', "黑色的天鹅", "?", "<>", "word " * 500])
def test_odd_expressions_are_written_about(made: list[Case], expression: str) -> None:
    task = replace(made[0].task, query=made[0].task.query.model_copy(update={"expression": expression}))
    _, written = asyncio.run(OracleTeacher(style="brief").trace(task))
    for thought in written:
        render_thought(thought)


@pytest.mark.parametrize("box", [(10.0, 20.0, 40.0, 30.0), (0.0, 0.0, 160.0, 120.0), (150.0, 100.0, 10.0, 20.0)])
def test_a_place_is_read_back(box: tuple[float, float, float, float]) -> None:
    size = (160, 120)
    place = read_place(f"In frame 3 the target is red, {say_briefly(box, size)}.")
    assert place is not None
    assert place.precise
    back = place.box(size)
    assert abs(back[0] + back[2] / 2 - box[0] - box[2] / 2) < 0.05 * size[0]
    assert abs(back[3] - box[3]) < 0.15 * size[1]


def test_the_full_style_is_the_default_and_leaves_older_runs_as_they_are() -> None:
    plain = load_recipe("demo")
    assert plain.teacher.style == "full"
    assert "teacher.style" not in plain.identity()
    brief = load_recipe("demo", None, ["teacher.style=brief"])
    assert brief.identity()["teacher.style"] == "brief"
    assert brief.digest() != plain.digest()
    assert open_teacher("oracle", None).name == "oracle"
    assert open_teacher("oracle", None, "brief").name == "oracle:brief"
