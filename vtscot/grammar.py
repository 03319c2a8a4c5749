"""The text of a turn: `render_turn` and `parse_turn` are inverse.

Canonical form, one line:

    <think>Step 1: Temporal Dynamics. ... Step 2: Spatial Details. ... Step 3: Expression Analysis. ...
    Action: ...</think><select><VTG>{"start": 4, "end": 19, "keyframe": 11}</VTG><RefSeg>[SEG]</RefSeg></select>

The answer has `<answer>` in the place of `<select>`. The parser also reads `<RefVOS>` for `<RefSeg>`, white space
between tags, and step headings without their title, because published data holds them.
"""

from __future__ import annotations

import json
import re
from typing import Final, cast

from pydantic import ValidationError

from vtscot.errors import EpisodeError
from vtscot.records import Action, Selection, Thought, Turn

SEG: Final = "[SEG]"
TITLES: Final = {
    "temporal": "Step 1: Temporal Dynamics.",
    "spatial": "Step 2: Spatial Details.",
    "linguistic": "Step 3: Expression Analysis.",
    "action": "Action:",
}
_HEADINGS: Final = (
    r"Step 1:(?:\s*Temporal Dynamics[.:]?)?",
    r"Step 2:(?:\s*Spatial Details[.:]?)?",
    r"Step 3:(?:\s*Expression Analysis[.:]?)?",
    r"Action:",
)
_THOUGHT: Final = re.compile(r"\s*" + r"(.*?)".join(_HEADINGS) + r"(.*)", re.DOTALL)
_RESERVED: Final = re.compile(r"[<>]|\[SEG\]|\bStep [123]:|\bAction:")
_TURN: Final = re.compile(
    r"\s*<think>(?P<think>.*?)</think>\s*<(?P<action>select|answer)>\s*<VTG>(?P<vtg>.*?)</VTG>\s*"
    r"<(?P<ref>RefSeg|RefVOS)>\s*\[SEG\]\s*</(?P=ref)>\s*</(?P=action)>\s*",
    re.DOTALL,
)


_OPENED: Final = re.compile(
    r"</think>\s*<(?P<action>select|answer)>\s*<VTG>(?:(?!</?VTG>).)*</VTG>\s*<(?P<ref>RefSeg|RefVOS)>\s*\[SEG\]$",
    re.DOTALL,
)


def closing(text: str) -> str | None:
    """What ends a turn that has come to its `[SEG]`: the tags that are open. None where it has not, or lacks some."""
    match = _OPENED.search(text)
    return f"</{match['ref']}></{match['action']}>" if match else None


def clean(text: str) -> str:
    """`text` as one paragraph: runs of white space become one space."""
    return " ".join(text.split())


def reserved(text: str) -> str | None:
    """The first piece of markup in `text` that may not stand inside a thought, if any."""
    match = _RESERVED.search(text)
    return match.group() if match else None


def render_thought(thought: Thought) -> str:
    """The inside of `<think>`; raises EpisodeError where a part is empty, not one paragraph, or holds markup."""
    pieces = []
    for name, title in TITLES.items():
        part = getattr(thought, name)
        if not part or part != clean(part):
            raise EpisodeError(f"the {name} part of a thought is {'not one paragraph' if part else 'empty'}")
        if mark := reserved(part):
            raise EpisodeError(f"the {name} part of a thought holds the reserved text {mark!r}")
        pieces.append(f"{title} {part}")
    return " ".join(pieces)


def render_selection(selection: Selection) -> str:
    """The JSON inside `<VTG>`."""
    return json.dumps({"start": selection.start, "end": selection.end, "keyframe": selection.keyframe})


def render_turn(turn: Turn) -> str:
    """The canonical text of one turn."""
    tag = turn.action
    return (
        f"<think>{render_thought(turn.thought)}</think>"
        f"<{tag}><VTG>{render_selection(turn.selection)}</VTG><RefSeg>{SEG}</RefSeg></{tag}>"
    )


def parse_thought(text: str) -> Thought:
    """Read the inside of `<think>`; raises EpisodeError where a step is missing, empty or out of order."""
    match = _THOUGHT.fullmatch(text)
    if match is None:
        raise EpisodeError("the thought lacks Step 1, Step 2, Step 3 and Action in this order")
    parts = dict(zip(TITLES, map(clean, match.groups()), strict=True))
    thought = Thought(**parts)
    render_thought(thought)
    return thought


def parse_selection(text: str) -> Selection:
    """Read the JSON inside `<VTG>`: exactly the three integer keys."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EpisodeError(f"the VTG is not JSON: {error}") from error
    if not isinstance(value, dict) or set(value) != {"start", "end", "keyframe"}:
        raise EpisodeError("the VTG needs exactly the keys start, end and keyframe")
    if not all(type(v) is int for v in value.values()):
        raise EpisodeError("the VTG's start, end and keyframe must be integers")
    try:
        return Selection(**value)
    except ValidationError as error:
        raise EpisodeError(f"the VTG is no window: {error.errors()[0]['msg']}") from error


def parse_turn(text: str) -> Turn:
    """Read one turn; raises EpisodeError that says what is wrong with it."""
    match = _TURN.fullmatch(text)
    if match is None:
        raise EpisodeError("the turn is not <think>..</think> and one <select> or <answer> with VTG and RefSeg")
    return Turn(
        thought=parse_thought(match["think"]),
        action=cast(Action, match["action"]),
        selection=parse_selection(match["vtg"]),
    )
