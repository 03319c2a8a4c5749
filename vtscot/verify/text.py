"""Checks of what a thought says, without looking at any pixel. Each gives one `Check`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from vtscot.errors import EpisodeError
from vtscot.grammar import TITLES, parse_turn, render_turn
from vtscot.records import Check, Episode, Thought, Turn
from vtscot.verify.base import VerifySettings
from vtscot.words.english import QUOTED_WORDS, content_words, function_share, stem, words_of

_HINTS: Final = re.compile(
    r"\b(?:ground[ -]?truth|annotat\w*|segmentation(?: mask)?|masks?|masked|bounding[ -]box(?:es)?|bbox\w*|"
    r"(?:out)?lined? in (?:red|green|blue|yellow|colou?r)|outlined|(?:red|green|yellow|drawn) (?:outline|contour|box)|"
    r"contours?|overlay\w*|highlighted|marked (?:in|with|by)|(?:the|a|given|provided) (?:hints?|facts)|labell?ed|"
    r"pixels?|coordinates?|iou|rle|metadata|data ?set|oracle|as (?:provided|given) (?:in|by)|"
    r"i (?:was|am) (?:told|given))\b",
    re.IGNORECASE,
)
_COORDINATES: Final = re.compile(
    r"[(\[]\s*-?\d+(?:\.\d+)?\s*,\s*-?\d+|\b\d+\.\d+\b|\b[xywh]\s*[=:]\s*\d|\d\s*(?:px|%|percent)\b"
)
_NUMBER: Final = re.compile(r"\d+")
_FRAME: Final = re.compile(r"\bframes?\b[^.;]{0,30}$|#\s*$|\bindex\s*$|\bnumber\s*$", re.IGNORECASE)
_QUOTE: Final = re.compile(r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]")
_ENDED: Final = re.compile(r"[.!?][\"'\u201d)]*$")
_SMALL: Final = 10  # counts up to this may be written in digits


def parts(thought: Thought) -> dict[str, str]:
    """The four parts by name, in order."""
    return {name: getattr(thought, name) for name in TITLES}


def whole(thought: Thought) -> str:
    return " ".join(parts(thought).values())


def check_format(turns: Sequence[Turn]) -> Check:
    """Every turn renders, and parses back to itself; the last one answers."""
    for number, turn in enumerate(turns):
        try:
            if parse_turn(render_turn(turn)) != turn:
                return Check(name="format", passed=False, detail=f"turn {number} does not parse back to itself")
        except EpisodeError as error:
            return Check(name="format", passed=False, detail=f"turn {number}: {error}")
    answered = turns[-1].action == "answer"
    return Check(name="format", passed=answered, detail="" if answered else "the episode never answers")


def check_length(turns: Sequence[Turn], settings: VerifySettings) -> Check:
    """Thoughts are neither clipped nor endless, and every part ends as a sentence does."""
    for number, turn in enumerate(turns):
        count = len(words_of(whole(turn.thought)))
        if not settings.min_words <= count <= settings.max_words:
            return Check(name="length", passed=False, value=count, detail=f"turn {number} has {count} words")
        for name, part in parts(turn.thought).items():
            if not _ENDED.search(part) or len(words_of(part)) < 3:
                return Check(name="length", passed=False, detail=f"the {name} part of turn {number} breaks off")
    return Check(name="length", passed=True)


def check_language(turns: Sequence[Turn], settings: VerifySettings) -> Check:
    """Every part is English: enough of its words are English function words."""
    shares = [
        (function_share(part), number) for number, turn in enumerate(turns) for part in parts(turn.thought).values()
    ]
    share, number = min(shares)
    return Check(
        name="language",
        passed=share >= settings.min_language,
        value=share,
        threshold=settings.min_language,
        detail="" if share >= settings.min_language else f"turn {number} is hardly English",
    )


def check_leakage(episode: Episode) -> Check:
    """Nothing betrays what only the teacher was given, and no frame is named before it has been shown."""
    for number, turn in enumerate(episode.turns):
        known = episode.shown_until(number) | {episode.num_frames} | _numbers(episode.expression)
        for name, part in parts(turn.thought).items():
            own = {turn.selection.start, turn.selection.end, turn.selection.keyframe} if name == "action" else set()
            if leak := find_leak(part, episode.expression, known | own):
                return Check(name="leakage", passed=False, detail=f"the {name} part of turn {number} says {leak!r}")
    return Check(name="leakage", passed=True)


def _numbers(text: str) -> set[int]:
    return {int(number[:9]) for number in _NUMBER.findall(text)}


def find_leak(text: str, expression: str, known: frozenset[int] | set[int]) -> str | None:
    """The first piece of `text` that tells more than was shown; words of the expression itself are no leak."""
    own = set(words_of(expression))
    for hint in _HINTS.finditer(text):
        if not set(words_of(hint.group())) <= own:
            return hint.group()
    if (match := _COORDINATES.search(text)) and match.group() not in expression:
        return match.group()
    for number in _NUMBER.finditer(text):
        value = int(number.group()[:9])
        counted = value <= _SMALL and not _FRAME.search(text[: number.start()])
        if value not in known and not counted:
            return number.group()
    return None


def check_repetition(turns: Sequence[Turn], settings: VerifySettings) -> Check:
    """No two turns think nearly the same: shared word triples over all word triples."""
    triples = [_triples(turn.thought) for turn in turns]
    worst = max((len(a & b) / max(1, len(a | b)) for a, b in combinations(triples, 2)), default=0.0)
    passed = worst <= settings.max_repetition
    detail = "" if passed else "two turns think nearly the same"
    return Check(name="repetition", passed=passed, value=worst, threshold=settings.max_repetition, detail=detail)


def _triples(thought: Thought) -> set[tuple[str, str, str]]:
    words = words_of(whole(thought))
    return set(zip(words, words[1:], words[2:], strict=False))


def check_expression(episode: Episode, settings: VerifySettings) -> Check:
    """Every linguistic part speaks of this expression: of its words, and of no other quoted expression."""
    wanted = {stem(word) for word in content_words(" ".join(episode.expression.split()[:QUOTED_WORDS]))}
    lowest, detail = 1.0, ""
    for number, turn in enumerate(episode.turns):
        said = {stem(word) for word in words_of(turn.thought.linguistic)}
        share = len(wanted & said) / max(1, len(wanted))
        if (foreign := _foreign_quote(turn.thought.linguistic, episode.expression)) is not None:
            share, detail = 0.0, f"turn {number} quotes another expression: {foreign!r}"
        elif share < min(lowest, settings.min_expression_share):
            detail = f"turn {number} hardly speaks of the expression"
        lowest = min(lowest, share)
    passed = lowest >= settings.min_expression_share
    return Check(name="expression", passed=passed, value=lowest, threshold=settings.min_expression_share, detail=detail)


def _foreign_quote(text: str, expression: str) -> str | None:
    """A quotation of three words or more that is not made of the expression's words."""
    own = {stem(word) for word in words_of(expression)}
    for match in _QUOTE.finditer(text):
        words = [stem(word) for word in words_of(match.group(1))]
        if len(words) >= 3 and any(word not in own for word in words):
            return match.group(1)
    return None
