"""The rewards against the released code's values, and where the default differs from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtscot.errors import UsageError
from vtscot.rl.rewards import TERMS, score

THOUGHT = "Step 1: Temporal Dynamics. a Step 2: Spatial Details. b Step 3: Expression Analysis. c Action: d"


def turn(start: int, end: int, keyframe: int, action: str = "answer", thought: str = THOUGHT) -> str:
    vtg = json.dumps({"start": start, "end": end, "keyframe": keyframe})
    return f"<think>{thought}</think><{action}><VTG>{vtg}</VTG><RefSeg>[SEG]</RefSeg></{action}>"


def test_as_released_equals_the_released_values(shared_data: Path) -> None:
    examples = json.loads((shared_data / "rewards_released.json").read_text())
    assert len(examples) == 60
    for number, example in enumerate(examples):
        wanted = example.pop("rewards")
        assert score(**example, preset="as_released") == pytest.approx(wanted, abs=1e-6), number  # released: float32


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (turn(0, 3, 1), 1.0),
        (turn(0, 3, 1, thought="Step 1: a"), -1.0),
        (turn(3, 0, 1), -1.0),
        (turn(0, 3, 1).replace("[SEG]", ""), -1.0),
        (turn(0, 3, 1).replace("</answer>", ""), -1.0),
    ],
    ids=["canonical", "steps missing", "ends before it starts", "no SEG", "not closed"],
)
def test_format_is_the_one_grammar(text: str, wanted: float) -> None:
    assert score([text], [1] * 4, [[1.0]], [1.0], "default")["format"] == wanted


@pytest.mark.parametrize(
    ("window", "visible", "wanted", "released"),
    [
        ((0, 3), [1, 1, 1, 1, 0, 0, 0, 0], 0.5, 0.5),
        ((0, 7), [1, 1, 1, 1, 0, 0, 0, 0], 0.25, 0.5 * 4 / 7),
        ((0, 1), [1, 1, 1, 1, 1, 1, 1, 1], -0.5, 0.5),
        ((2, 2), [0, 0, 1, 0, 0, 0, 0, 0], 0.5, -0.5),
        ((0, 7), [0] * 8, 0.5, 0.5),
        ((-4, 99), [1] * 8, 0.5, 0.5),
    ],
    ids=["exact", "half too long", "recall counts", "one frame", "no target", "cut to the video"],
)
def test_the_interval_counts_recall_and_takes_its_end(
    window: tuple[int, int], visible: list[int], wanted: float, released: float
) -> None:
    text = turn(*window, 0)
    assert score([text], visible, [[1.0]], [1.0], "default")["interval"] == pytest.approx(wanted)
    assert score([text], visible, [[1.0]], [1.0])["interval"] == pytest.approx(released)


@pytest.mark.parametrize(
    ("last", "gain", "progress"),
    [(0.62, 0.6, 1.7), (0.9, 2.0, 2.0), (0.55, 0.5, 1.0), (0.47, 0.0, 0.5), (0.38, 0.0, 0.0), (0.1, -1.0, -1.0)],
)
def test_the_gains_pay_their_top_tiers(last: float, gain: float, progress: float) -> None:
    """The mean over the spatial frames is 0.4, the best earlier mask 0.4."""
    turns = [turn(0, 3, 1, "select"), turn(0, 3, 1)]
    terms = score(turns, [1] * 4, [[0.4], [0.3, 0.5]], [0.4, last], "default")
    assert terms["keyframe_gain"] == pytest.approx(gain)
    assert terms["progress"] == pytest.approx(progress)


def test_an_answer_is_asked_for_by_default_only() -> None:
    looks = [turn(0, 3, 1, "select")]
    assert score(looks, [1] * 4, [[1.0]], [1.0], "default")["answered"] == -0.5
    assert score([turn(0, 3, 1)], [1] * 4, [[1.0]], [1.0], "default")["answered"] == 0.5
    assert set(TERMS) - set(score(looks, [1] * 4, [[1.0]], [1.0])) == {"answered"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "published"}, "no reward preset 'published'"),
        ({"turns": []}, "need a turn"),
        ({"visible": []}, "need a turn and a frame"),
        ({"iou_keyframe": [0.1, 0.2]}, "1 turns, but IoUs for 1 and 2"),
    ],
)
def test_what_cannot_be_scored_is_refused(change: dict[str, object], message: str) -> None:
    given = {"turns": [turn(0, 3, 1)], "visible": [1] * 4, "iou_spatial": [[1.0]], "iou_keyframe": [1.0]} | change
    with pytest.raises(UsageError, match=message):
        score(**given)  # type: ignore[arg-type]


def test_untrusted_text_is_scored_not_raised() -> None:
    deep = "<think></think><answer><VTG>" + "[" * 100_000 + "</VTG><RefSeg>[SEG]</RefSeg></answer>"
    for preset in ("default", "as_released"):
        assert score([deep], [1], [[0.0]], [0.0], preset)["format"] == -1.0  # type: ignore[arg-type]
