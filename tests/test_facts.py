"""Facts against hand-made tables whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from vtscot.errors import DataError
from vtscot.mining.facts import DEFAULT_KEYFRAMES, facts_of
from vtscot.mining.keyframes import candidates, quality
from vtscot.mining.scene import bridged, runs, scene_of
from vtscot.records import Fact
from vtscot.tracks import TrackTable
from vtscot.words.cues import cues_of

HEIGHT, WIDTH, FRAMES = 240, 320, 60
Table = Callable[..., TrackTable]


def table(
    x: object = 140.0, y: object = 100.0, w: object = 40.0, h: object = 40.0, *, hidden: slice | list[int] | None = None
) -> TrackTable:
    """A rectangle whose left, top, width and height are numbers or one value per frame."""
    columns = [np.broadcast_to(np.asarray(value, dtype=np.float64), FRAMES) for value in (x, y, w, h)]
    box = np.stack(columns, axis=1).copy()
    if hidden is not None:
        box[hidden] = 0
    return TrackTable(HEIGHT, WIDTH, (box[:, 2] * box[:, 3]).astype(np.int64), box)


def path(*knots: tuple[float, float]) -> np.ndarray:
    """Positions per frame on straight lines between knots (frame, position)."""
    return np.interp(np.arange(FRAMES), *zip(*knots, strict=True))


def of_kind(facts: tuple[Fact, ...], kind: str) -> list[Fact]:
    return [fact for fact in facts if fact.kind == kind]


GROWING = path((0, 20), (20, 20), (40, 60), (59, 60))
PATH_RIGHT = path((0, 20), (59, 256))

CASES: dict[str, tuple[TrackTable, Mapping[str, TrackTable], Fact, int]] = {
    # name: target, others, the fact to find, how many frames its ends may lie beside the truth
    "visible throughout": (table(), {}, Fact(kind="visible", start=0, end=59, value=None), 0),
    "visible in the middle": (
        table(hidden=[*range(10), *range(40, 60)]),
        {},
        Fact(kind="visible", start=10, end=39),
        0,
    ),
    "absent before": (table(hidden=slice(0, 10)), {}, Fact(kind="absent", start=0, end=9), 0),
    "absent after": (table(hidden=slice(50, 60)), {}, Fact(kind="absent", start=50, end=59), 0),
    "enters inside": (table(hidden=slice(0, 10)), {}, Fact(kind="enters", start=10, end=10), 0),
    "enters at the left": (
        table(x=0, hidden=slice(0, 10)),
        {},
        Fact(kind="enters", start=10, end=10, value=round(math.pi, 4)),
        0,
    ),
    "leaves at the right": (
        table(x=WIDTH - 40, hidden=slice(33, 60)),
        {},
        Fact(kind="leaves", start=32, end=32, value=0.0),
        0,
    ),
    "leaves at the bottom": (
        table(y=HEIGHT - 40, hidden=slice(33, 60)),
        {},
        Fact(kind="leaves", start=32, end=32, value=round(math.pi / 2, 4)),
        0,
    ),
    "reappears": (table(hidden=slice(20, 30)), {}, Fact(kind="reappears", start=30, end=30), 0),
    "starts": (table(x=path((0, 20), (30, 20), (59, 200))), {}, Fact(kind="starts", start=30, end=30), 2),
    "stops": (table(x=path((0, 20), (25, 170), (59, 170))), {}, Fact(kind="stops", start=25, end=25), 2),
    "turns back": (
        table(x=path((0, 20), (30, 220), (59, 30))),
        {},
        Fact(kind="turns", start=30, end=30, value=round(math.pi, 4)),
        1,
    ),
    "turns down": (
        table(x=path((0, 20), (30, 220), (59, 220)), y=path((0, 10), (30, 10), (59, 190))),
        {},
        Fact(kind="turns", start=30, end=30, value=round(math.pi / 2, 4)),
        1,
    ),
    "moves right": (table(x=PATH_RIGHT), {}, Fact(kind="moves", start=0, end=59, value=0.0), 0),
    "moves left, then rests": (
        table(x=path((0, 220), (25, 70), (59, 70))),
        {},
        Fact(kind="moves", start=0, end=25, value=round(math.pi, 4)),
        2,
    ),
    "moves up": (table(y=path((0, 190), (59, 10))), {}, Fact(kind="moves", start=0, end=59, value=-1.5708), 0),
    "grows": (
        table(x=160 - GROWING / 2, y=120 - GROWING / 2, w=GROWING, h=GROWING),
        {},
        Fact(kind="grows", start=20, end=40, value=9.0),
        3,
    ),
    "shrinks": (
        table(w=GROWING[::-1], h=GROWING[::-1]),
        {},
        Fact(kind="shrinks", start=19, end=39, value=1 / 9),
        3,
    ),
    "nearest": (
        table(),
        {"far": table(x=20, y=10), "by": table(x=path((0, 290), (30, 190), (59, 290)), y=100)},
        Fact(kind="nearest", start=30, end=30, value=round(50 / math.sqrt(HEIGHT * WIDTH), 4), other="by"),
        0,
    ),
    "overlaps": (
        table(),
        {"by": table(x=path((0, 260), (59, 24)))},
        Fact(kind="overlaps", start=21, end=39, value=1.0, other="by"),
        1,
    ),
    "passes": (
        table(x=path((0, 10), (59, 270))),
        {"slow": table(x=path((0, 100), (59, 160)), y=160)},
        Fact(kind="passes", start=24, end=29, other="slow"),
        1,
    ),
    "similar": (
        table(hidden=slice(40, 60)),
        {"twin": table(x=20, w=42.0, hidden=slice(0, 5)), "giant": table(x=200, w=100.0, h=110.0)},
        Fact(kind="similar", start=5, end=39, other="twin"),
        0,
    ),
    "largest": (
        table(w=path((0, 30), (30, 60), (59, 30)), h=path((0, 30), (30, 60), (59, 30))),
        {},
        Fact(kind="largest", start=30, end=30, value=round(3600 / (HEIGHT * WIDTH), 4)),
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_fact_is_found(name: str) -> None:
    target, others, wanted, slack = CASES[name]
    found = of_kind(facts_of(target, others), wanted.kind)
    close = [f for f in found if abs(f.start - wanted.start) <= slack and abs(f.end - wanted.end) <= slack]
    assert close, found
    assert close[0].other == wanted.other
    if wanted.value is not None:
        assert close[0].value == pytest.approx(wanted.value, abs=0.02, rel=0.1)


ABSENT: dict[str, tuple[TrackTable, Mapping[str, TrackTable], tuple[str, ...]]] = {
    # name: target, others, kinds that must not be reported
    "rest": (table(), {}, ("moves", "starts", "stops", "turns", "grows", "shrinks", "enters", "leaves", "absent")),
    "even motion": (table(x=PATH_RIGHT), {}, ("starts", "stops", "turns", "grows", "shrinks")),
    "a flicker is no exit": (table(hidden=[20, 21, 40]), {}, ("absent", "leaves", "reappears", "enters")),
    "seen from the start": (table(hidden=slice(50, 60)), {}, ("enters", "reappears")),
    "a stop is no turn": (table(x=path((0, 20), (25, 170), (59, 170))), {}, ("turns",)),
    "a rest between two ways is no turn": (
        table(x=path((0, 20), (20, 170), (40, 170), (59, 40))),
        {},
        ("turns",),
    ),
    "half hidden at the border is not smaller": (
        table(x=path((0, 260), (59, 310)), w=60 - np.maximum(0, path((0, 260), (59, 310)) - 260)),
        {},
        ("shrinks",),
    ),
    "emerging from behind an object is not growing": (
        table(w=path((0, 4), (30, 40), (59, 40)), h=path((0, 8), (30, 40), (59, 40))),
        {"cover": table(x=130, y=95, w=60.0, h=60.0)},
        ("grows",),
    ),
    "a short dip is something in front": (
        table(w=path((0, 40), (20, 40), (28, 12), (36, 40)), h=path((0, 40), (20, 40), (28, 12), (36, 40))),
        {},
        ("grows", "shrinks"),
    ),
    "going behind a post is not smaller": (table(w=path((0, 40), (30, 40), (50, 4), (59, 4))), {}, ("shrinks",)),
    "meeting head-on is no passing": (
        table(x=path((0, 10), (59, 270))),
        {"other": table(x=path((0, 270), (59, 10)), y=160)},
        ("passes",),
    ),
    "being overtaken is no passing": (
        table(x=path((0, 100), (59, 160)), y=160),
        {"fast": table(x=path((0, 10), (59, 270)))},
        ("passes",),
    ),
    "unlike objects": (table(), {"bar": table(x=20, w=80.0, h=20.0), "dot": table(x=20, w=9.0, h=9.0)}, ("similar",)),
    "never seen together": (
        table(hidden=slice(30, 60)),
        {"twin": table(hidden=slice(0, 30))},
        ("similar", "nearest", "overlaps", "passes"),
    ),
    "seen together too briefly": (
        table(),
        {"twin": table(hidden=[*range(29), *range(31, 60)])},
        ("similar", "overlaps"),
    ),
    "at a constant distance": (table(), {"by": table(x=20)}, ("nearest", "overlaps")),
}


@pytest.mark.parametrize("name", ABSENT)
def test_fact_is_not_made_up(name: str) -> None:
    target, others, kinds = ABSENT[name]
    assert not [fact for fact in facts_of(target, others) if fact.kind in kinds]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("moving", [False, True], ids=["at rest", "on its way"])
def test_camera_shake_is_neither_stop_nor_turn(seed: int, moving: bool) -> None:
    noise = np.random.default_rng(seed).normal(0, 1.0, (2, FRAMES))
    x = (PATH_RIGHT if moving else 140.0) + noise[0]
    found = facts_of(table(x=x, y=100 + noise[1]), {})
    assert not [fact for fact in found if fact.kind in ("starts", "stops", "turns")]
    assert bool(of_kind(found, "moves")) == moving


def test_two_ways_around_a_turn_are_told_apart() -> None:
    moves = of_kind(facts_of(table(x=path((0, 20), (30, 220), (59, 30))), {}), "moves")
    assert [round(fact.value or 0.0, 2) for fact in moves] == [0.0, 3.14]
    assert moves[0].end == moves[1].start


def test_facts_are_few_and_in_order() -> None:
    zigzag = table(x=path(*((8 * k, 30 + 200 * (k % 2)) for k in range(9))), hidden=[*range(5), *range(30, 35)])
    others = {str(k): table(x=30 * k, y=path((0, 10 * k), (59, 190 - 10 * k))) for k in range(8)}
    facts = facts_of(zigzag, others)
    kinds = [fact.kind for fact in facts]
    assert len(facts) <= 16
    assert max(kinds.count(kind) for kind in kinds) <= 3
    assert all(kinds.count(kind) <= 2 for kind in ("nearest", "overlaps", "passes", "similar"))
    assert kinds[0] == "visible"
    assert kinds[-1] == "largest"
    assert facts == facts_of(zigzag, dict(reversed(others.items())))


def test_values_are_json_numbers() -> None:
    for target, others, _, _ in CASES.values():
        for fact in facts_of(target, others):
            assert Fact.model_validate_json(fact.model_dump_json()) == fact


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 12])
def test_short_videos(frames: int) -> None:
    box = np.tile([10.0, 10.0, 20.0, 20.0], (frames, 1))
    tables = TrackTable(HEIGHT, WIDTH, np.full(frames, 400), box)
    kinds = [fact.kind for fact in facts_of(tables, {"twin": tables})]
    assert kinds == ["visible", "overlaps", "similar", "largest"]


def test_a_single_visible_frame() -> None:
    facts = facts_of(table(hidden=[*range(30), *range(31, 60)]), {"by": table()})
    assert Fact(kind="visible", start=30, end=30, value=None) in facts
    assert {fact.start for fact in of_kind(facts, "leaves") + of_kind(facts, "enters") + facts_at_best(facts)} == {30}


def facts_at_best(facts: tuple[Fact, ...]) -> list[Fact]:
    return of_kind(facts, "largest")


def test_never_visible_is_refused() -> None:
    with pytest.raises(DataError, match="visible in no frame"):
        facts_of(table(hidden=slice(0, 60)), {})


def test_tables_of_other_length_are_refused() -> None:
    short = TrackTable(HEIGHT, WIDTH, np.ones(3, dtype=np.int64), np.ones((3, 4)))
    with pytest.raises(DataError, match="object 7 has 3 frames, the target 60"):
        facts_of(table(), {"7": short})


def test_several_targets_as_one() -> None:
    both = TrackTable.merge([table(x=20, hidden=slice(40, 60)), table(x=200, hidden=slice(0, 10))])
    facts = facts_of(both, {})
    assert of_kind(facts, "visible") == [Fact(kind="visible", start=0, end=59)]
    assert not of_kind(facts, "leaves")


SCORES: dict[str, tuple[TrackTable, Mapping[str, TrackTable], int, int]] = {
    # name: target, others, a frame that must score higher than the other one
    "larger is better": (table(w=path((0, 20), (59, 40))), {}, 59, 0),
    "whole beats cut by the border": (table(x=path((0, 140), (30, 140), (59, 280))), {}, 0, 59),
    "alone beats overlapped": (table(), {"by": table(x=path((0, 20), (59, 140)))}, 0, 59),
    "visible beats hidden": (table(hidden=slice(0, 10)), {}, 10, 9),
}


@pytest.mark.parametrize("name", SCORES)
def test_keyframe_score(name: str) -> None:
    target, others, better, worse = SCORES[name]
    score = quality(scene_of(target, others, 3), DEFAULT_KEYFRAMES)
    assert score[better] > score[worse]
    assert ((score > 0) == target.visible).all()
    assert score.max() <= 1


def test_candidates_are_spaced_best_first_and_from_the_window() -> None:
    score = np.zeros(60)
    score[[3, 20, 21, 28, 40, 55]] = [1.0, 0.9, 0.95, 0.8, 0.7, 1.0]
    assert candidates(score, 10, 50, DEFAULT_KEYFRAMES) == (21, 28, 40)
    assert candidates(score, 0, 59, DEFAULT_KEYFRAMES) == (3, 55, 21, 40)
    assert candidates(score, 4, 10, DEFAULT_KEYFRAMES) == ()


def test_runs_and_gaps() -> None:
    mask = np.array([1, 1, 0, 1, 0, 0, 0, 1], dtype=bool)
    assert runs(mask) == [(0, 1), (3, 3), (7, 7)]
    assert bridged(runs(mask), 3) == [(0, 3), (7, 7)]
    assert runs(np.zeros(4, dtype=bool)) == []


@pytest.mark.parametrize(
    ("text", "weight", "kinds"),
    [
        ("a black swan", 0.0, set()),
        ("", 0.0, set()),
        ("the dog Walking in the grass", 0.5, {"moves"}),
        ("the car that stopped", 0.8, {"stops"}),
        ("the first to leave", 1.0, {"leaves"}),
        ("the cat leaves, then returns", 1.0, {"leaves", "reappears", "turns"}),
        ("the last one, HEADING left", 1.0, {"moves"}),
        ("天鹅 <b>", 0.0, set()),
    ],
)
def test_cues(text: str, weight: float, kinds: set[str]) -> None:
    cues = cues_of(text)
    assert (cues.weight, set(cues.votes)) == (weight, kinds)


def test_words_that_agree_add_up() -> None:
    votes = cues_of("the square that passes behind the ring").votes
    assert max(votes, key=lambda kind: votes[kind]) == "overlaps"
