"""Plans: how many looks, which windows, which keyframes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtscot.budget import PRESETS, Budget
from vtscot.episode import first_observation, observations
from vtscot.errors import DataError
from vtscot.mining import MiningSettings, mine
from vtscot.mining.difficulty import DifficultySettings
from vtscot.mining.keyframes import KeyframeSettings, near, quality
from vtscot.mining.scene import scene_of
from vtscot.records import Plan, Query
from vtscot.tracks import TrackTable

HEIGHT, WIDTH = 240, 320
DEFAULT = MiningSettings()
PLAIN, TIMED = "the red car", "the car that leaves first"
ALWAYS_TWO = MiningSettings(difficulty=DifficultySettings(one_look=0.1, two_looks=0.1))


def query(text: str = PLAIN) -> Query:
    return Query(source="demo", split="train", video="v", exp_id="3", expression=text, anno_ids=("1",))


def table(box: np.ndarray) -> TrackTable:
    return TrackTable(HEIGHT, WIDTH, (box[:, 2] * box[:, 3]).astype(np.int64), box)


def square(
    frames: int = 60, x: object = 130.0, side: object = 100.0, hidden: slice | list[int] | None = None
) -> TrackTable:
    box = np.zeros((frames, 4))
    box[:, 0], box[:, 1] = x, 40.0
    box[:, 2] = box[:, 3] = side
    if hidden is not None:
        box[hidden] = 0
    return table(box)


@st.composite
def tables(draw: st.DrawFn, frames: int, empty: bool = False) -> TrackTable:
    """Random boxes inside the frame, visible in any pattern; in one frame at the least unless `empty`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    seen = np.array(draw(st.lists(st.booleans(), min_size=frames, max_size=frames)))
    if not empty and not seen.any():
        seen[draw(st.integers(0, frames - 1))] = True
    corners = rng.integers(0, 200, (frames, 2)) if draw(st.booleans()) else np.full((frames, 2), rng.integers(0, 200))
    sizes = rng.integers(1, 60, (frames, 2)) if draw(st.booleans()) else np.full((frames, 2), rng.integers(1, 60))
    box = np.concatenate([corners, sizes], axis=1).astype(np.float64)
    box[~seen] = 0
    return table(box)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[str, TrackTable, dict[str, TrackTable]]:
    frames = draw(st.integers(1, 60))
    text = draw(st.sampled_from((PLAIN, TIMED, "the one moving left", "the dog behind the cat", "")))
    others = draw(st.lists(tables(frames, empty=True), max_size=4))
    return text, draw(tables(frames)), {str(10 * k): other for k, other in enumerate(others)}


@settings(max_examples=250, deadline=None)
@given(jobs(), st.sampled_from(sorted(PRESETS)))
def test_any_tables_give_a_sound_plan(job: tuple[str, TrackTable, dict[str, TrackTable]], preset: str) -> None:
    text, target, others = job
    budget = PRESETS[preset]
    plan = mine(query(text), len(target), target, others, DEFAULT, budget)
    seen = target.visible
    for step in plan.steps:
        assert all(seen[frame] for frame in step.keyframes)
        assert step.keyframes[0] == step.selection.keyframe
        assert len(set(step.keyframes)) == len(step.keyframes) <= 5
        assert step.facts
        assert all(fact.start <= step.selection.end and step.selection.start <= fact.end for fact in step.facts)
    shown = [fact for fact in plan.answer.facts if fact.kind == "visible"]
    assert any(fact.start <= plan.answer.selection.keyframe <= fact.end for fact in shown)
    assert plan.num_frames == len(target)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    if len(plan.steps) == 1:
        score = quality(scene_of(target, others, 3), DEFAULT.keyframes)
        assert score[first_observation(len(target), budget).decoded] >= DEFAULT.glance * score.max()
        assert text in (PLAIN, "")
    else:
        assert plan.answer.selection.keyframe == plan.steps[-2].selection.keyframe
    assert plan == mine(query(text), len(target), target, dict(reversed(others.items())), DEFAULT, budget)


@settings(max_examples=100, deadline=None)
@given(jobs())
def test_the_answer_window_is_mostly_visible(job: tuple[str, TrackTable, dict[str, TrackTable]]) -> None:
    text, target, others = job
    answer = mine(query(text), len(target), target, others, DEFAULT).answer.selection
    inside = target.visible[answer.start : answer.end + 1]
    assert inside[0] and inside[-1]
    assert answer.keyframe in answer.frames
    alone = next(span for span in target.spans() if span[0] <= answer.keyframe <= span[1])
    seen = int(target.visible.sum())
    tiou = inside.sum() / (len(inside) + seen - inside.sum())
    assert tiou >= (alone[1] - alone[0] + 1) / seen - 0.35  # bridged flickers may cost a little


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_target(data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 40))
    others = {str(k): data.draw(tables(frames, empty=True)) for k in range(data.draw(st.integers(0, 3)))}
    easy = mine(query(PLAIN), frames, None, others, DEFAULT)
    hard = mine(query(TIMED), frames, None, others, DEFAULT)
    assert [len(easy.steps), len(hard.steps)] == [1, 2]
    assert easy.difficulty < hard.difficulty
    for step in (*easy.steps, *hard.steps):
        assert (step.selection.start, step.selection.end) == (0, frames - 1)
    assert easy.answer.selection.keyframe == first_observation(frames, Budget()).decoded
    assert len(mine(query(TIMED), frames, None, others, ALWAYS_TWO).steps) == 2
    counts = sum((other.visible.astype(int) for other in others.values()), np.zeros(frames, dtype=int))
    assert counts[hard.answer.selection.keyframe] == counts.max()


def looks(plan: Plan) -> int:
    return len(plan.steps) - 1


TWIN = {"2": square(x=20)}
SMALL = np.full(60, 12.0)

LOOKS = {
    # name: expression, target, others, number of looks
    "large, alone, always there": (PLAIN, square(), {}, 0),
    "beside an unlike object": (PLAIN, square(), {"2": square(side=20.0, x=20)}, 0),
    "words of motion": ("the red car moving", square(), {}, 1),
    "words of order": (TIMED, square(), {}, 1),
    "hidden when an answer at once is decoded": (PLAIN, square(hidden=slice(25, 35)), {}, 1),
    "small then": (PLAIN, square(side=np.where(np.arange(60) < 45, 20.0, 100.0)), {}, 1),
    "small, with twins": (PLAIN, square(side=SMALL), {"2": square(side=SMALL, x=20), "3": square(side=SMALL, x=9)}, 1),
    "order among twins": (TIMED, square(hidden=slice(20, 60)), TWIN, 2),
    "brief and small": (TIMED, square(side=SMALL, hidden=slice(0, 40)), {}, 2),
}


@pytest.mark.parametrize("name", LOOKS)
def test_number_of_looks(name: str) -> None:
    text, target, others, wanted = LOOKS[name]
    assert looks(mine(query(text), 60, target, others, DEFAULT)) == wanted


def test_looks_leave_a_turn_for_the_answer() -> None:
    text, target, others, _ = LOOKS["order among twins"]
    for turns, wanted in ((3, 2), (2, 1), (1, 0)):
        assert looks(mine(query(text), 60, target, others, DEFAULT, Budget(max_turns=turns))) == wanted


EVIDENCE = {
    # name: expression, target, frame that both windows must hold
    "leaves": ("the car that leaves first", square(x=np.linspace(60, 221, 60), hidden=slice(40, 60)), 39),
    "enters": ("the last car to enter", square(x=np.linspace(0, 120, 60), hidden=slice(0, 30)), 30),
    "reappears": ("the car that first comes back", square(hidden=slice(15, 25)), 25),
    "stops": ("the car that stops first", square(x=np.interp(np.arange(60), [0, 20, 59], [0, 150, 150])), 20),
    "turns": ("the first to turn", square(x=np.interp(np.arange(60), [0, 42, 59], [0, 200, 100])), 42),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_windows_hold_the_evidence_coarse_to_fine(name: str) -> None:
    text, target, frame = EVIDENCE[name]
    plan = mine(query(text), 60, target, {}, ALWAYS_TWO)
    coarse, fine = plan.steps[0].selection, plan.steps[1].selection
    assert plan.steps[0].facts[0].kind == plan.steps[1].facts[0].kind == name
    assert abs(plan.steps[1].facts[0].start - frame) <= 2
    assert frame in fine.frames
    assert coarse.start <= fine.start and fine.end <= coarse.end
    assert len(fine.frames) < len(coarse.frames) < 60


def test_the_last_look_shows_the_best_frame_near_the_evidence() -> None:
    target = square(x=np.linspace(60, 240, 60), hidden=slice(55, 60))
    plan = mine(query("the car that leaves first"), 60, target, {"2": square(x=10, side=60.0)}, ALWAYS_TWO)
    look = plan.steps[1]
    leaves = look.facts[0].start
    score = quality(scene_of(target, {"2": square(x=10, side=60.0)}, 3), DEFAULT.keyframes)
    wanted = near(score, look.selection.start, look.selection.end, (leaves, leaves), KeyframeSettings())
    assert look.selection.keyframe == max(look.selection.frames, key=lambda t: (round(wanted[t], 6), -t))
    assert score[look.selection.keyframe] >= DEFAULT.keyframes.fit * score.max()
    assert plan.answer.selection.keyframe == look.selection.keyframe


def test_a_fine_window_reaches_a_frame_that_shows_the_target() -> None:
    side = np.interp(np.arange(60), [0, 20, 40, 59], [100, 100, 6, 6])
    plan = mine(query("the first to leave"), 60, square(side=side, hidden=slice(50, 60)), {}, DEFAULT)
    look = plan.steps[-2]
    assert 49 in look.selection.frames
    assert side[look.selection.keyframe] > 50


def test_the_coarse_keyframe_shows_the_others_too() -> None:
    target = square(side=np.where(np.arange(60) < 20, 90.0, 100.0))
    other = square(x=10, side=40.0, hidden=slice(20, 60))
    coarse, fine, _ = mine(query("the car that moves"), 60, target, {"2": other}, ALWAYS_TWO).steps
    assert other.visible[coarse.selection.keyframe]
    assert fine.selection.keyframe >= 20


ANSWERS = {
    # name: hidden frames, answer window
    "the whole video": ([], (0, 59)),
    "one visible span": ([*range(20), *range(50, 60)], (20, 49)),
    "the longer of two spans": ([*range(10, 40)], (40, 59)),
    "both of two near ones": ([*range(28, 34)], (0, 59)),
    "over a flicker": ([30, 31], (0, 59)),
    "one frame": ([*range(30), *range(31, 60)], (30, 30)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_window(name: str) -> None:
    hidden, window = ANSWERS[name]
    side = np.linspace(90, 100, 60)
    answer = mine(query(), 60, square(side=side, hidden=hidden), {}, DEFAULT).answer.selection
    assert (answer.start, answer.end) == window


@given(jobs())
def test_windows_and_keyframes_on_shown_frames(job: tuple[str, TrackTable, dict[str, TrackTable]]) -> None:
    text, target, others = job
    budget = PRESETS["tiny"]
    plan = mine(query(text), len(target), target, others, MiningSettings(on_shown=True), budget)
    shown: set[int] = set()
    for step, observation in zip(plan.steps, observations(plan, budget), strict=True):
        shown.update(observation.indices)
        assert target.area[step.selection.keyframe] > 0
        if any(target.area[i] for i in shown if i in step.selection.frames):
            assert {step.selection.start, step.selection.end, *step.keyframes} <= shown
    if len(plan.steps) > 1 and plan.steps[-2].selection.keyframe in plan.answer.selection.frames:
        assert plan.answer.selection.keyframe == plan.steps[-2].selection.keyframe


def test_on_shown_frames_all_windows_are_where_the_first_observation_saw_the_target() -> None:
    hidden = [*range(20), *range(41, 60)]
    usual = mine(query(TIMED), 60, square(hidden=hidden), {}, DEFAULT, PRESETS["tiny"])
    moved = mine(query(TIMED), 60, square(hidden=hidden), {}, MiningSettings(on_shown=True), PRESETS["tiny"])
    shown = observations(moved, PRESETS["tiny"])[0].indices
    visible = [at for at in shown if 20 <= at <= 40]
    assert len(moved.steps) > 1
    for step in moved.steps:
        assert (step.selection.start, step.selection.end) == (min(visible), max(visible))
        assert step.selection.keyframe in visible
    assert (usual.answer.selection.start, usual.answer.selection.end) == (20, 40)


@pytest.mark.parametrize(("text", "last", "steps", "seen"), [(PLAIN, 40, 1, 4), (TIMED, 40, 2, 4), (TIMED, 24, 2, 1)])
def test_on_shown_frames_the_first_keyframe_is_the_second_of_the_skim_and_the_answer_keeps_it(
    text: str, last: int, steps: int, seen: int
) -> None:
    hidden, budget = [*range(20), *range(last + 1, 60)], PRESETS["tiny"]
    rules = MiningSettings(on_shown=True, difficulty=DifficultySettings(two_looks=1))
    moved = mine(query(text), 60, square(hidden=hidden), {}, rules, budget)
    strip = [frame.index for frame in observations(moved, budget)[0].frames if frame.role == "temporal"]
    visible = [at for at in strip if 20 <= at <= last]
    assert (len(moved.steps), len(visible)) == (steps, seen)
    assert {step.selection.keyframe for step in moved.steps} == {visible[:2][-1]}


def test_on_shown_frames_a_query_without_target_is_looked_for_where_most_is_to_be_seen() -> None:
    budget, rules = PRESETS["tiny"], MiningSettings(on_shown=True)
    others = {"2": square(hidden=slice(0, 52)), "3": square(hidden=slice(56, 60))}
    for crowd, near_to in ((others, 52), ({}, 29)):
        moved = mine(query(TIMED), 60, None, crowd, rules, budget)
        shown = observations(moved, budget)[0].indices
        keyframe = min(shown, key=lambda at: (abs(at - near_to), at))
        assert {(s.selection.start, s.selection.end, s.selection.keyframe) for s in moved.steps} == {(0, 59, keyframe)}


def test_a_video_of_one_frame() -> None:
    plan = mine(query(TIMED), 1, square(frames=1), {"2": square(frames=1)}, DEFAULT)
    assert {(s.selection.start, s.selection.end, s.selection.keyframe) for s in plan.steps} == {(0, 0, 0)}


def test_words_raise_the_difficulty() -> None:
    values = [
        mine(query(text), 60, square(), {}, DEFAULT).difficulty
        for text in ("the red car", "the red car moving", "the red car that stops", "the first red car")
    ]
    assert values == sorted(values)
    assert values[0] < DEFAULT.difficulty.one_look <= values[1] < values[-1]


@pytest.mark.parametrize(
    ("easy", "hard", "others"),
    [
        (square(), square(side=SMALL), {}),
        (square(), square(hidden=slice(0, 20)), {}),
        (square(x=20), square(x=130), {"2": square(x=160, side=120.0)}),
    ],
    ids=["small", "brief", "covered"],
)
def test_what_makes_a_query_harder(easy: TrackTable, hard: TrackTable, others: dict[str, TrackTable]) -> None:
    first, second = (mine(query(), 60, target, others, DEFAULT).difficulty for target in (easy, hard))
    assert first < second


def test_a_twin_makes_a_query_harder() -> None:
    assert mine(query(), 60, square(), {}, DEFAULT).difficulty < mine(query(), 60, square(), TWIN, DEFAULT).difficulty


@pytest.mark.parametrize(
    ("target", "others", "message"),
    [
        (square(hidden=slice(0, 60)), {}, "demo/train/v/3: the target is visible in no frame"),
        (square(frames=59), {}, "demo/train/v/3: a mask table has 59 frames, the video 60"),
        (square(), {"9": square(frames=3)}, "demo/train/v/3: object 9 has 3 frames"),
        (None, {"9": square(frames=3)}, "demo/train/v/3: a mask table has 3 frames"),
    ],
    ids=["never visible", "target of other length", "object of other length", "no target, object of other length"],
)
def test_bad_tables_are_refused(target: TrackTable | None, others: dict[str, TrackTable], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mine(query(), 60, target, others, DEFAULT)


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="two_looks"):
        DifficultySettings(one_look=0.6, two_looks=0.5)
