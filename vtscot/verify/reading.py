"""What a thought claims about the decoded frame: the target's places and colours, or that it is not there.

Only the spatial part is read. Sentences and clauses about what is excluded ("another object ...", "... is not meant")
are left out: they describe what the target is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vtscot.words.colours import read_colours
from vtscot.words.places import Place, read_place

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[\"'(A-Z0-9])")
_CONTRAST: Final = re.compile(
    r"[,;]? (?:while|whereas|unlike|rather than|instead of|as opposed to|in contrast to|not to be confused with|"
    r"distinct from|different from|excluding|except|but not|besides)\b.*",
    re.IGNORECASE,
)
_EXCLUDED: Final = re.compile(
    r"\b(?:(?:an)?other(?:s)?|rul(?:e|es|ed|ing) (?:it |them |this |that )?out|exclude[sd]?|excluding|distract\w*|"
    r"(?:is|are) not (?:the one|meant|the target)|(?:does|do)(?:n't| not) (?:fit|match)|something else|rival\w*|"
    r"look-?alikes?|candidates?)\b",
    re.IGNORECASE,
)
_NOT_HERE: Final = re.compile(
    r"\b(?:not (?:in (?:this|the|any|view|sight|frame)|visible|present|here|to be (?:found|seen)|shown|on screen)|"
    r"nowhere|absent|(?:cannot|can not|can't|could not) (?:find|see|spot|make out|be (?:seen|found|spotted))|"
    r"(?:does not|doesn't|do not|don't) (?:show|contain|include|appear|have)|no such (?:thing|object)|no trace|"
    r"(?:nothing|none|no (?:object|thing|one))\b[^.]*\b(?:fits?|match(?:es)?|satisf(?:y|ies)|meets?)|"
    r"(?:out of|gone from|lost from) (?:the )?(?:view|sight|frame)|missing|lacks|no longer (?:in|visible|there))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that is said to be the target: where, and of what colours (words as they stand)."""

    place: Place | None
    colours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The claims of a spatial part; `not_here` where it says that the target is not on this frame, and only that."""

    claims: tuple[Claim, ...]
    not_here: bool


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph."""
    return [part for part in _SENTENCE.split(text.strip()) if part]


def about_target(text: str) -> list[str]:
    """The sentences that speak of the target, without contrasting clauses."""
    kept = (_CONTRAST.sub("", sentence) for sentence in sentences(text))
    return [sentence for sentence in kept if not _EXCLUDED.search(sentence)]


def read_spatial(text: str) -> Reading:
    """What the spatial part of a thought claims."""
    precise: list[Claim] = []
    places: list[Place] = []
    colours: list[str] = []
    denied = any(_NOT_HERE.search(sentence) for sentence in sentences(text) if not _about_others(sentence))
    for sentence in about_target(text):
        if _NOT_HERE.search(sentence):
            continue
        place, words = read_place(sentence), read_colours(sentence)
        colours += words
        if place is None:
            continue
        places.append(place)
        if place.precise:
            precise.append(Claim(place, words))
    if precise:
        return Reading(tuple(precise), not_here=False)
    if denied:
        return Reading((), not_here=True)
    if places or colours:
        return Reading((Claim(_joined(places), tuple(dict.fromkeys(colours))),), not_here=False)
    return Reading((), not_here=False)


def _about_others(sentence: str) -> bool:
    """True for a sentence on excluded things that does not speak of the target or of everything ("nothing fits")."""
    return bool(_EXCLUDED.search(sentence)) and not re.search(r"\b(?:target|nothing|none)\b", sentence, re.IGNORECASE)


def _joined(places: list[Place]) -> Place | None:
    """One place from several loose ones: the first that says something of each quantity."""
    if not places:
        return None
    by_x = next((place for place in places if place.x is not None), places[0])
    by_y = next((place for place in places if place.y is not None), places[0])
    return Place(
        x=by_x.x,
        y=by_y.y,
        width=next((place.width for place in places if place.width is not None), None),
        height=next((place.height for place in places if place.height is not None), None),
        dx=by_x.dx,
        dy=by_y.dy,
        touching=frozenset().union(*(place.touching for place in places)),
    )
