"""Which of several traces of a query is kept."""

from __future__ import annotations

from tests.outcomes import graded
from vtscot.errors import COST_REACHED
from vtscot.records import Outcome
from vtscot.stages import MISSING, best

VIDEO = "demo/train/meadow"


def outcome(iou: float, reason: str | None = None) -> Outcome:
    """A kept or rejected outcome with this IoU on the answer's frame."""
    made = graded(VIDEO, "0", "the red ring", 2, reason=reason)
    assert made.record is not None
    verdict = made.record.verdict
    last = verdict.groundings[-1].model_copy(update={"iou": iou})
    verdict = verdict.model_copy(update={"groundings": (*verdict.groundings[:-1], last)})
    return made.model_copy(update={"record": made.record.model_copy(update={"verdict": verdict})})


def failed(reason: str, *, retryable: bool) -> Outcome:
    return Outcome(query=outcome(0.5).query, state="failed", reason=reason, retryable=retryable)


def test_kept_comes_before_rejected_and_then_the_higher_iou() -> None:
    low, high, rejected = outcome(0.5), outcome(0.9), outcome(0.95, "grounding")
    assert best([rejected, low, high]) is high
    assert best([rejected, low]) is low
    assert best([rejected, failed("schema", retryable=True)]) is rejected


def test_the_first_of_equals() -> None:
    one, two = outcome(0.5), outcome(0.5)
    assert best([one, two]) is one


def test_where_all_failed_one_that_may_pass_is_told() -> None:
    never, again = failed("refused", retryable=False), failed("time-out", retryable=True)
    assert best([never, again]) is again


def test_what_is_not_asked_yet_makes_all_wait() -> None:
    for reason in (COST_REACHED, MISSING):
        waiting = failed(reason, retryable=True)
        assert best([outcome(0.9), waiting]) is waiting
