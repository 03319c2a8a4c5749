"""Does a thought's last part say what the turn then does? Read from its words, without any pixel.

A turn that looks again must not say that it answers, nor the other way round, and the frames that its action names as
a span must touch the window it selects. Words that say neither are no contradiction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vtscot.records import Check, Selection, Turn

_NO_LOOK: Final = (
    r"no (?:further|other|second|closer|more|additional|third) looks? (?:is|are|at)|"
    r"no need (?:to look|for (?:a|another|any) (?:\w+ )?look)|"
    r"(?:need|do|does|have|is|am|'m) (?:not|n't) (?:need |have |necessary )?(?:to )?look(?:ing)?\b|don't need to look|"
    r"nothing (?:more|else) to (?:look|see)|without (?:another|a further|looking)"
)
_ANSWERS: Final = re.compile(
    rf"{_NO_LOOK}|\bi (?:can |will |now |can now |will now |therefore |so )*(?:answer|confirm)\b(?! (?:this|"
    rf"that|it|the question )?"
    r"(?:only |once |after |later|then|by looking|whether))|\b(?:i give|here is|this is) (?:my|"
    r"the) (?:final )?answer\b|"
    r"\bmy (?:final )?answer is\b|\bthe final answer\b(?! (?:needs|has|must|will))",
    re.IGNORECASE,
)
_DENIES: Final = re.compile(
    r"\b(?:cannot|can't|can not|not yet|will not|before i|until i|too early to|then i|then can i|"
    r"only then)\b[^.;]*\b(?:answer|confirm)",
    re.IGNORECASE,
)
_LOOKS: Final = re.compile(
    r"\b(?:i|let me|i'll) (?:now |still |first |therefore |so )*(?:want to |need to |have to |must |will |"
    r"should |would like to |"
    r"am going to |'ll )(?:now |still |first )*(?:look|check|inspect|see|examine|view|zoom)\b(?! back)|"
    r"\bi look (?:again|closer|more closely|at frames?)\b|\blet me (?:look|check|inspect|zoom|examine)\b|"
    r"\b(?:a|another|one more) (?:closer |further |second |third |last )?look (?:is|will be|would be) (?:needed|"
    r"necessary|required)\b|"
    r"\b(?:look|looking) (?:again|closer|more closely) (?:is|will be) needed\b|\bit is too early to answer\b",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(rf"{_NO_LOOK}", re.IGNORECASE)
_SPAN: Final = re.compile(
    r"\bframes?\s+(\d{1,9})\s*(?:to|through|until|up to|-|\u2013|\u2014)\s*(?:frame\s+)?(\d{1,9})\b", re.IGNORECASE
)


def check_action(turns: Sequence[Turn]) -> Check:
    """No turn says the opposite of what it does, or names another window than the one it selects."""
    for number, turn in enumerate(turns):
        if why := contradiction(turn.thought.action, turn.action == "answer", turn.selection):
            return Check(name="action", passed=False, detail=f"turn {number} {why}")
    return Check(name="action", passed=True)


def contradiction(text: str, answers: bool, selection: Selection) -> str | None:
    """What an action's words say against what is done; None where they agree or say nothing about it."""
    if not answers and (said := _ANSWERS.search(text)) and not _DENIES.search(text):
        return f"looks again but says {said.group()!r}"
    if answers and (said := _LOOKS.search(_NEGATED.sub(" ", text))):
        return f"answers but says {said.group()!r}"
    spans = [sorted(map(int, match.groups())) for match in _SPAN.finditer(text)]
    if spans and not any(start <= selection.end and end >= selection.start for start, end in spans):
        start, end = spans[-1]
        return f"names frames {start} to {end} but selects {selection.start} to {selection.end}"
    return None
