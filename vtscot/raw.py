"""The raw answers of a run's teacher by query, for people to read beside the thoughts that were made of them.

They are found by the label of their request. Only what was asked with the run's settings counts; of the same question
asked in other words, or for several traces, all answers are given.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from vtscot.ledger import Ledger
from vtscot.publish.context import RawAnswer
from vtscot.records import Query

LABEL: Final = re.compile(r"\A(.+), turn (\d+), (\w+) pass\Z", re.DOTALL)
ORDER: Final = ("temporal", "spatial", "linguistic", "single")


class RawAnswers:
    """Called with a query, its answers in the order of turns, passes and tries. `asks` are the run's settings."""

    def __init__(self, ledger: Ledger, asks: Mapping[str, object]) -> None:
        self._ledger = ledger
        self._asks = json.loads(json.dumps(asks))

    def __call__(self, query: Query) -> tuple[RawAnswer, ...]:
        known = self._known.get(query.id, ())
        found = [RawAnswer(turn, question, attempt, self._body(key)) for turn, question, attempt, key in known]
        return tuple(sorted(found, key=_place))

    def _body(self, key: str) -> str:
        return (self._ledger.answer(key) or b"").decode("utf-8", "replace")

    @cached_property
    def _known(self) -> Mapping[str, list[tuple[int, str, int, str]]]:
        """Query id -> (turn, pass, try, key of the answer)."""
        known: dict[str, list[tuple[int, str, int, str]]] = defaultdict(list)
        for key, text in self._ledger.summaries():
            summary = _read(text)
            label = LABEL.match(str(summary.get("label")))
            if label and summary.get("asks") == self._asks:
                known[label[1]].append((int(label[2]), label[3], int(summary.get("answer", 0)), key))
        return known


def _read(text: str) -> Mapping[str, Any]:
    """A summary; nothing where it is none of ours."""
    try:
        summary = json.loads(text)
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def _place(answer: RawAnswer) -> tuple[int, int, int, str]:
    """Where an answer stands among those of its query; the body decides last, so that no clock does."""
    order = ORDER.index(answer.question) if answer.question in ORDER else len(ORDER)
    return answer.turn, order, answer.attempt, answer.body
