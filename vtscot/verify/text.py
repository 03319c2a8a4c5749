"""Checks of what a thought says, without looking at any pixel. Each gives one `Check`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from vtscot.errors import EpisodeError
from vtscot.grammar import TITLES, parse_turn, render_turn
from vtscot.records import Check, Episode, Thought, Turn
from vtscot.tracks import MaskTrack
from vtscot.verify.base import VerifySettings
from vtscot.verify.leaks import SMALL, Known, find_leak
from vtscot.words.english import QUOTED_WORDS, content_words, function_share, stem, words_of

_QUOTE: Final = re.compile(r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]")
_LONG: Final = 18  # word triples of a part that is long enough to be compared on its own
_Triple = tuple[str, str, str]
_ENDED: Final = re.compile(r"[.!?][\"'\u201d)]*$")


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


def check_leakage(episode: Episode, target: MaskTrack | None = None) -> Check:
    """Nothing betrays what only the teacher was given, and no frame is named before it has been shown.

    The action may name its own selection. `target` makes the numbers of its boxes known to the filter.
    """
    said = episode.expression
    for number, turn in enumerate(episode.turns):
        shown, length = episode.shown_until(number), episode.num_frames
        said = f"{said}. {whole(turn.thought)}"
        box = _box_numbers(target, episode.observations[number].decoded)
        for name, part in parts(turn.thought).items():
            own = {turn.selection.start, turn.selection.end, turn.selection.keyframe} if name == "action" else set()
            if leak := find_leak(part, Known(episode.expression, shown | own | {length}, said, box, length)):
                detail = f"the {name} part of turn {number} says {leak.text!r} ({leak.kind})"
                return Check(name="leakage", passed=False, detail=detail)
    return Check(name="leakage", passed=True)


def _box_numbers(target: MaskTrack | None, frame: int) -> frozenset[int]:
    """Edges and sides of the target's box in a frame, in whole pixels; those up to ten may be counts."""
    if target is None or not target.visible[frame]:
        return frozenset()
    x, y, width, height = map(float, target.boxes[frame])
    return frozenset(n for n in map(round, (x, y, width, height, x + width, y + height)) if n > SMALL)


def check_repetition(turns: Sequence[Turn], settings: VerifySettings) -> Check:
    """No two turns think nearly the same, as a whole or in one part: shared word triples over all word triples."""
    wholes = [_triples(whole(turn.thought)) for turn in turns]
    worst = max((_overlap(a, b) for a, b in combinations(wholes, 2)), default=0.0)
    detail = "" if worst <= settings.max_repetition else "two turns think nearly the same"
    for name in TITLES:
        pieces = [_triples(parts(turn.thought)[name]) for turn in turns]
        long = [piece for piece in pieces if len(piece) >= _LONG]
        if max((_overlap(a, b) for a, b in combinations(long, 2)), default=0.0) > settings.max_part_repetition:
            detail = detail or f"the {name} parts of two turns are nearly the same"
    return Check(name="repetition", passed=not detail, value=worst, threshold=settings.max_repetition, detail=detail)


def _overlap(a: frozenset[_Triple], b: frozenset[_Triple]) -> float:
    return len(a & b) / max(1, len(a | b))


def _triples(text: str) -> frozenset[_Triple]:
    words = words_of(text)
    return frozenset(zip(words, words[1:], words[2:], strict=False))


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
