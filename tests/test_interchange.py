"""Episodes as released records and back: the released loader reads them, and nothing the format has is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.released import load, load_rl
from vtscot.budget import PRESETS, Budget
from vtscot.episode import first_observation, look_observation
from vtscot.interchange.losses import Refused
from vtscot.interchange.released import SHORT, read_episode, released_query, released_record, short_windows
from vtscot.interchange.rules import check_released, check_rl
from vtscot.records import Episode, Query, Selection, Thought, Turn

BUDGET = PRESETS["cold_start"]
THOUGHT = Thought(
    temporal="It comes in late.", spatial="On the left, below the tree.", linguistic="The words say it.", action="Look."
)
MARKUP = '<b>the dog</b> "quoted" </select><VTG>{"start": 0}</VTG> \\n & ` | 犬 🐕 é'


def episode(
    windows: list[tuple[int, int, int]],
    frames: int,
    expression: str = "the dog",
    anno_ids: tuple[str, ...] = ("845",),
    budget: Budget = BUDGET,
    thought: Thought = THOUGHT,
) -> tuple[Query, Episode]:
    """A query and its episode: every window but the last is a look."""
    query = Query(
        source="mevis", split="train", video="a1", exp_id="3", expression=expression, anno_ids=anno_ids, object_ids=()
    )
    chosen = [Selection(start=start, end=end, keyframe=key) for start, end, key in windows]
    looks = [look_observation(selection, frames, budget) for selection in chosen[:-1]]
    actions = ["select"] * len(looks) + ["answer"]
    turns = [Turn(thought=thought, action=a, selection=s) for a, s in zip(actions, chosen, strict=True)]  # type: ignore[arg-type]
    return query, Episode(
        query_id=query.id,
        expression=expression,
        num_frames=frames,
        observations=(first_observation(frames, budget), *looks),
        turns=tuple(turns),
    )


def names(frames: int) -> list[str]:
    return [f"{i:05d}" for i in range(frames)]


def there_and_back(query: Query, one: Episode, budget: Budget = BUDGET) -> dict[str, Any]:
    """The record as a file holds it, after all that must be true of it."""
    record = json.loads(json.dumps(released_record(query, one, names(one.num_frames)), ensure_ascii=False))
    assert list(check_released(record)) == []
    loaded = load(record)
    assert loaded.masks == [*record["sample_frame_indice"], *(t.selection.keyframe for t in one.turns[:-1])]
    assert read_episode(record, query, budget) == one
    assert (record["video_name"], record["exp"]) == (query.video, query.expression)
    assert tuple(map(str, record["anno_id"])) == query.anno_ids
    return record


EDGES = {
    "one turn": ([(0, 29, 12)], 30),
    "two turns": ([(4, 19, 11), (5, 14, 9)], 30),
    "three turns": ([(0, 29, 3), (4, 19, 11), (5, 14, 9)], 30),
    "a window of two frames": ([(7, 8, 7), (7, 8, 8)], 30),
    "a window of 11 frames": ([(7, 17, 9), (7, 8, 8)], 30),
    "a window of 12, the last short one": ([(7, 18, 9), (7, 8, 8)], 30),
    "a window of 13, the first long one": ([(7, 19, 9), (7, 8, 8)], 30),
    "the last frame as keyframe": ([(20, 29, 29), (29, 29, 29)], 30),
    "an answer of one frame": ([(3, 9, 5), (6, 6, 6)], 30),
    "a keyframe outside its window": ([(3, 9, 20), (3, 9, 0)], 30),
    "a video of two frames": ([(0, 1, 1), (0, 1, 0)], 2),
    "a video of one frame": ([(0, 0, 0)], 1),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_go_there_and_back(edge: str) -> None:
    record = there_and_back(*episode(*EDGES[edge]))
    assert len(record["cot_trace"]) == len(EDGES[edge][0]) - 1


@pytest.mark.parametrize("end, shown", [(17, 10), (18, 11), (19, 13)])
def test_the_last_frame_of_a_short_window_is_a_loss(end: int, shown: int) -> None:
    query, one = episode([(7, end, 9), (7, 8, 8)], 30)
    loaded = load(released_record(query, one, names(30)))
    assert len(loaded.windows[0]) == shown
    assert short_windows(one) == (end - 7 <= SHORT) == (shown < end - 7 + 1)


@pytest.mark.parametrize("expression", [MARKUP, "the <image> of a dog", "  two\nlines ", "犬", "<answer></answer>"])
def test_any_expression_stays_as_it_is(expression: str) -> None:
    record = there_and_back(*episode([(4, 19, 11), (5, 14, 9)], 30, expression))
    assert record["exp"] == expression


@pytest.mark.parametrize(
    ("reason", "windows", "expression", "annos"),
    [
        ("no-target", [(0, 9, 4)], "the dog", ()),
        ("one-frame-window", [(4, 4, 4), (4, 5, 4)], "the dog", ("1",)),
        ("reserved-token", [(0, 9, 4)], "a <|im_end|> dog", ("1",)),
        ("reserved-token", [(0, 9, 4)], "a [SEG] dog", ("1",)),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    reason: str, windows: list[tuple[int, int, int]], expression: str, annos: tuple[str, ...]
) -> None:
    query, one = episode(windows, 30, expression, annos)
    with pytest.raises(Refused) as refused:
        released_record(query, one, names(30))
    assert refused.value.rule == reason and refused.value.detail


def test_an_episode_that_never_answers_is_refused() -> None:
    query, one = episode([(0, 9, 4), (2, 5, 3)], 30)
    looking = one.model_copy(update={"turns": (one.turns[0], one.turns[1].model_copy(update={"action": "select"}))})
    with pytest.raises(Refused, match="no answer"):
        released_record(query, looking, names(30))


WORDS = st.text("abc ,é犬-0'", min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "x")
PIECES = st.sampled_from([MARKUP, "<image>", "<video>", "</think>", "<VTG>", "\u2028", "\x00", '"', "\\"])
EXPRESSIONS = st.lists(st.one_of(st.text(max_size=20), PIECES), min_size=1, max_size=3).map(" ".join)
BUDGETS = st.builds(
    Budget, temporal_frames=st.integers(1, 25), spatial_frames=st.integers(1, 9), window_frames=st.integers(1, 12)
)


@st.composite
def any_episode(draw: st.DrawFn) -> tuple[Query, Episode, Budget]:
    frames = draw(st.integers(1, 60))
    index = st.integers(0, frames - 1)
    window = st.tuples(index, index, index).map(lambda t: (min(t[:2]), max(t[:2]), t[2]))
    windows = draw(st.lists(window, min_size=1, max_size=3))
    thought = Thought(temporal=draw(WORDS), spatial=draw(WORDS), linguistic=draw(WORDS), action=draw(WORDS))
    annos = draw(st.lists(st.one_of(st.integers(0, 10**9).map(str), WORDS), min_size=1, max_size=3))
    expression = draw(EXPRESSIONS.filter(lambda text: text.strip()))
    budget = draw(BUDGETS)
    return *episode(windows, frames, expression, tuple(annos), budget, thought), budget


@settings(max_examples=150, deadline=None)
@given(any_episode())
def test_import_is_the_inverse_of_export(drawn: tuple[Query, Episode, Budget]) -> None:
    query, one, budget = drawn
    try:
        there_and_back(query, one, budget)
    except Refused as refused:
        alone = any(turn.selection.start == turn.selection.end for turn in one.turns[:-1])
        assert refused.rule == "one-frame-window" and alone


def test_the_rl_file_says_in_which_frames_the_target_is() -> None:
    query, _ = episode([(0, 4, 2)], 5)
    entry = json.loads(json.dumps(released_query(query, names(5), [False, True, True, False, True])))
    assert load_rl(entry) == [1, 2, 4] and list(check_rl(entry)) == []
    assert entry[0]["anno_id"] == [845]


def _record() -> dict[str, Any]:
    return released_record(*episode([(4, 19, 11), (5, 14, 9)], 30), names(30))


def _said(record: dict[str, Any], i: int, text: str) -> None:
    record["conversations"][i]["value"] = text


BROKEN = {
    "a field is missing": (lambda r: r.pop("exp"), ("exp", "missing")),
    "no object": (lambda r: r.update(anno_id=[]), ("anno_id", "empty")),
    "an id that is true": (lambda r: r.update(anno_id=[True]), ("anno_id[0]", "type")),
    "a number for a name": (lambda r: r.update(video_name=7), ("video_name", "type")),
    "a name that leads out": (lambda r: r.update(video_name="../../etc"), ("video_name", "path")),
    "an absolute name": (lambda r: r.update(video_name="/etc"), ("video_name", "path")),
    "a frame that leads out": (lambda r: r["frames"].__setitem__(3, "../x"), ("frames[3]", "path")),
    "no frame": (lambda r: r.update(frames=[]), ("frames", "empty")),
    "a frame that is null": (lambda r: r["frames"].__setitem__(0, None), ("frames[0]", "type")),
    "a sharp frame after the end": (
        lambda r: r.update(sample_frame_indice=[30]),
        ("sample_frame_indice[0]", "range"),
    ),
    "a sharp frame of 400 digits": (
        lambda r: r.update(sample_frame_indice=[10**400]),
        ("sample_frame_indice[0]", "range"),
    ),
    "a float for an index": (lambda r: r.update(sample_frame_indice=[1.0]), ("sample_frame_indice[0]", "type")),
    "a trace that disagrees": (lambda r: r["cot_trace"][0].update(end_frame=18), ("cot_trace[0].end_frame", "trace")),
    "a trace of a huge number": (
        lambda r: r["cot_trace"][0].update(key_frame=10**5000),
        ("cot_trace[0].key_frame", "trace"),
    ),
    "a trace without its step": (lambda r: r.update(cot_trace=[]), ("cot_trace", "length")),
    "a trace with too many steps": (lambda r: r.update(cot_trace=r["cot_trace"] * 3), ("cot_trace", "length")),
    "a trace that is an object": (lambda r: r.update(cot_trace={}), ("cot_trace", "type")),
    "a step without a key": (lambda r: r["cot_trace"][0].pop("key_frame"), ("cot_trace[0].key_frame", "missing")),
    "space between the tags": (
        lambda r: _said(r, 2, r["conversations"][2]["value"].replace("<select><VTG>", "<select> <VTG>")),
        ("conversations[2].value", "select"),
    ),
    "an answer that selects": (
        lambda r: _said(r, 4, r["conversations"][2]["value"]),
        ("conversations[4].value", "answer"),
    ),
    "text in the place of JSON": (
        lambda r: _said(r, 2, r["conversations"][2]["value"].replace('{"start": 4', '{"start": four')),
        ("conversations[2].value", "vtg"),
    ),
    "a number of 5000 digits": (
        lambda r: _said(r, 2, r["conversations"][2]["value"].replace('"start": 4', f'"start": {"9" * 5000}')),
        ("conversations[2].value", "vtg"),
    ),
    "images in the first request": (
        lambda r: _said(r, 1, "<image> the dog"),
        ("conversations[1].value", "image-word"),
    ),
    "no image in a later request": (lambda r: _said(r, 3, "look"), ("conversations[3].value", "image-word")),
    "two images in a later request": (
        lambda r: _said(r, 3, "<image><image>"),
        ("conversations[3].value", "image-word"),
    ),
    "a [SEG] too many": (lambda r: _said(r, 0, "write [SEG]"), ("conversations[0].value", "seg")),
    "nobody answers": (lambda r: r["conversations"].pop(), ("conversations", "roles")),
    "somebody else speaks": (
        lambda r: r["conversations"][1].update({"from": "user"}),
        ("conversations[1].from", "roles"),
    ),
    "half a character": (lambda r: r.update(exp="a \ud800 dog"), ("exp", "text")),
    "an expression of spaces": (lambda r: r.update(exp="  "), ("exp", "empty")),
    "rounds that are text": (lambda r: r.update(round_num="2"), ("round_num", "type")),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_every_broken_rule_is_named(fault: str) -> None:
    record = _record()
    change, (field, rule) = BROKEN[fault]
    change(record)
    found = list(check_released(record))
    assert (field, rule) in [(one.field, one.rule) for one in found]
    assert all(one.detail and len(one.detail) < 300 for one in found)


@pytest.mark.parametrize(
    ("start", "end", "key"), [(5, 5, 5), (9, 4, 5), (0, 30, 5), (-1, 5, 2), (0, 5, 30), (0, 10**30, 3)]
)
def test_a_window_must_be_one_that_the_loader_can_show(start: int, end: int, key: int) -> None:
    record = _record()
    _said(record, 2, f'<select><VTG>{{"start": {start}, "end": {end}, "keyframe": {key}}}</VTG>[SEG]</select>')
    record["cot_trace"] = [{"start_frame": start, "end_frame": end, "key_frame": key}]
    assert {one.rule for one in check_released(record)} & {"window", "keyframe"}
    with pytest.raises(AssertionError):
        load(record)


def test_a_trace_may_end_with_the_answer() -> None:
    record = _record()
    record["cot_trace"].append({"start_frame": 5, "end_frame": 14, "key_frame": 9})
    record["round_num"] = 2
    assert list(check_released(record)) == []
    assert load(record).keyframes == ["00011"]


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, True, [[]]])
def test_what_is_no_record_is_told(value: object) -> None:
    assert list(check_released(value)) and list(check_rl(value))
