"""The records: frozen, closed, consistent, and the same after a trip through JSON."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vtscot.records import Observation, Outcome, Plan, Query, Selection, ShownFrame, Step, Verdict, count_states

QUERY = Query(source="revos", split="train", video="UVO/all/x", exp_id="3", expression="the dog")


def test_ids_are_made_of_source_split_video_and_expression() -> None:
    assert QUERY.id == "revos/train/UVO/all/x/3"
    assert QUERY.video_id == "revos/train/UVO/all/x"


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        QUERY.expression = "the cat"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(lambda: Selection(start=5, end=4, keyframe=5), "before it starts", id="window reversed"),
        pytest.param(lambda: Selection(start=-1, end=4, keyframe=2), "greater than or equal", id="negative start"),
        pytest.param(
            lambda: Step(selection=Selection(start=0, end=9, keyframe=3), keyframes=(4,)),
            "not among the candidates",
            id="keyframe that was not mined",
        ),
        pytest.param(
            lambda: Step(selection=Selection(start=0, end=9, keyframe=3), keyframes=(3, 10)),
            "leave the window",
            id="candidate outside the window",
        ),
        pytest.param(
            lambda: Plan(
                query_id="q",
                num_frames=9,
                difficulty=0,
                steps=(Step(selection=Selection(start=0, end=9, keyframe=3), keyframes=(3,)),),
            ),
            "leaves the 9 frames",
            id="window outside the video",
        ),
        pytest.param(lambda: Verdict(kept=False, grounder="g", segmenter="s"), "has a reason", id="no reason"),
        pytest.param(lambda: Outcome(query=QUERY, state="failed"), "has a reason", id="failed without reason"),
        pytest.param(lambda: Outcome(query=QUERY, state="kept"), "have a record", id="kept without record"),
        pytest.param(lambda: Observation(frames=()), "at least 1", id="nothing shown"),
    ],
)
def test_what_does_not_hold_together_is_refused(make: object, complaint: str) -> None:
    assert callable(make)
    with pytest.raises(ValidationError, match=complaint):
        make()


def test_the_decoded_frame_is_the_middle_sharp_one() -> None:
    shown = [ShownFrame(index=i, role="temporal", max_pixels=9) for i in (0, 5, 9)]
    sharp = [ShownFrame(index=i, role="spatial", max_pixels=99) for i in (0, 4, 9)]
    assert Observation(frames=tuple(shown + sharp)).decoded == 4


def test_states_are_all_counted() -> None:
    outcomes = [Outcome(query=QUERY, state="skipped", reason="r"), Outcome(query=QUERY, state="failed", reason="r")]
    assert count_states(outcomes) == {"kept": 0, "rejected": 0, "failed": 1, "skipped": 1}


def test_json_round_trip() -> None:
    assert Query.model_validate_json(QUERY.model_dump_json()) == QUERY
