"""The leak filter: does a thought tell what only its teacher was given?

| kind | what betrays |
|---|---|
| annotation | words of the annotator's trade: ground truth, segmentation mask, bounding box, ... |
| marking | what was drawn on the teacher's pictures: the outline, "as marked", "in the box" |
| hint | hints, facts, plans and instructions that the policy never gets |
| coordinates | positions, sizes and shares to a precision that nobody sees |
| frame | a frame that had not been shown by this turn |
| number | any other number above ten that is no shown frame, no count of things and nothing that can be read |

Boxes, masks, outlines and lines are also things in the world. So most rules look at what a word goes with, words of
the expression are never leaks by themselves, and "the box" is a thing where the thought has introduced "a box".
`python bench/leaks.py` measures it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from vtscot.verify.lexicon import (
    ANNOTATION,
    BOX_TOLD,
    CLOCK,
    COORDINATES,
    FRAMED,
    HINT,
    LEADING,
    LEADS,
    LENGTH,
    MARKING,
    MINUTE,
    NUMBER,
    ONES,
    OVERLAY,
    QUOTED,
    READ,
    SENTENCE,
    SHARE,
    SPELT,
    TENS,
    THINGS,
    TIME,
    WRITING,
)
from vtscot.words.english import word_set, words_of

Kind = Literal["annotation", "marking", "hint", "coordinates", "frame", "number"]
KINDS: Final[tuple[Kind, ...]] = ("annotation", "marking", "hint", "coordinates", "frame", "number")
SMALL: Final = 10  # counts up to this may be written in digits
COUNTED: Final = 99  # and up to this where they are said to be counts of things
READABLE: Final = 4  # digits of a number that may stand on a shirt or a bus
TOGETHER: Final = 3  # numbers of the target's box in one sentence that are no coincidence


@dataclass(frozen=True)
class Leak:
    """One hit: its kind and the words that betray."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Known:
    """What the policy knows when it thinks.

    `frames` may be named, and the video's length where it is given; `said` is the text in which things may have been
    introduced ("a box"); `box` are the numbers of the target's box on the decoded frame, known to the annotation only.
    """

    expression: str
    frames: frozenset[int]
    said: str = ""
    box: frozenset[int] = frozenset()
    num_frames: int | None = None


def find_leak(text: str, known: Known) -> Leak | None:
    """The first leak of a thought's part, words before numbers; None where it tells only what can be seen."""
    return next(find_leaks(text, known), None)


def find_leaks(text: str, known: Known) -> Iterator[Leak]:
    """All leaks of a thought's part."""
    own = frozenset(words_of(known.expression))
    yield from _words("annotation", ANNOTATION, text, own)
    yield from _words("marking", MARKING, text, own)
    yield from _things(text, known, own)
    yield from _words("hint", HINT, text, own)
    yield from _precise(text, known)
    yield from _numbers(text, known)


def _words(kind: Kind, rule: re.Pattern[str], text: str, own: frozenset[str]) -> Iterator[Leak]:
    """Matches of a rule that are not made of the expression's own words."""
    for match in rule.finditer(text):
        if not set(words_of(match.group())) - _SMALL_WORDS <= own:
            yield Leak(kind, match.group().strip())


_SMALL_WORDS: Final = word_set("the a an in on of by with is are that this")


def _things(text: str, known: Known, own: frozenset[str]) -> Iterator[Leak]:
    """Boxes and masks that nothing has introduced as things, and overlays that are no writing."""
    for match in BOX_TOLD.finditer(text):
        noun = next(
            word for word in ("box", "rectangle", "mask", "outline", "contour") if word in match.group().lower()
        )
        if noun not in own and not _introduced(noun, known.said):
            yield Leak("marking", match.group())
    for match in OVERLAY.finditer(text):
        around = text[max(0, match.start() - 30) : match.end() + 30]
        if not re.search(WRITING, around, re.IGNORECASE) and match.group().lower() not in own:
            yield Leak("marking", match.group())


def _introduced(noun: str, said: str) -> bool:
    """Whether the text speaks of such a thing as one of the world ("a box", "his mask", "the cardboard box")."""
    plural = rf"{noun}(?:e?s)?"
    return re.search(rf"\b(?:{LEADING}) (?:\w+ ){{0,2}}{plural}\b(?! around)", said, re.IGNORECASE) is not None


def _precise(text: str, known: Known) -> Iterator[Leak]:
    """Coordinates, sizes, shares and times that are more exact than sight."""
    for match in COORDINATES.finditer(text):
        listed = {int(number) for number in re.findall(r"\d+", match.group())}
        framed = match.group()[0] in "([" and re.search(r"\bframes?\W*$", text[: match.start()], re.IGNORECASE)
        if match.group() in known.expression or (framed and listed <= known.frames):
            continue
        yield Leak("coordinates", match.group().strip())
    for match in SHARE.finditer(text):
        if not (match["hedge"] and int(match["n"]) % 5 == 0):
            yield Leak("coordinates", match.group().strip())
    for sentence in SENTENCE.split(QUOTED.sub(_blank, text)):
        rules = (TIME,) if CLOCK.search(sentence) else (TIME, MINUTE)
        yield from (Leak("number", match.group()) for rule in rules for match in rule.finditer(sentence))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _numbers(text: str, known: Known) -> Iterator[Leak]:
    """Frames that were not shown, and numbers that can be neither seen, counted nor read."""
    own = {int(number[:9]) for number in re.findall(r"\d+", known.expression)}
    unquoted = SPELT.sub(_digits, QUOTED.sub(_blank, text))
    for sentence in SENTENCE.split(unquoted):
        loose: set[int] = set()
        for match in NUMBER.finditer(sentence):
            value, before, after = int(match.group()[:9]), sentence[: match.start()], sentence[match.end() :]
            if value > SMALL and value != known.num_frames and LENGTH.match(after):
                yield Leak("number", f"{match.group()} frames")
                continue
            if re.match(r":\d|\s*(?:%|per ?cent\b)", after) or re.search(r"\d:$", before):
                continue  # times and shares have rules of their own
            if FRAMED.search(before) or re.match(r"(?:st|nd|rd|th)? frame\b", after):
                if value not in known.frames | own:
                    yield Leak("frame", match.group())
            elif value > SMALL and not _harmless(match.group(), before, after) and value not in own:
                loose.add(value)
                if value not in known.frames:
                    yield Leak("number", match.group())
        if len(loose & known.box) >= TOGETHER:
            yield Leak("coordinates", ", ".join(map(str, sorted(loose & known.box))))


def _digits(match: re.Match[str]) -> str:
    """A number in words after "frame", in digits."""
    tens, one, alone = (group.lower() if group else None for group in match.groups())
    if alone is not None:
        return str(ONES.index(alone))
    return str(20 + 10 * TENS.index(tens or "twenty") + (ONES.index(one) if one else 0))


def _harmless(number: str, before: str, after: str) -> bool:
    """A number that can be read somewhere, an ordinal, a decade, or a count of things."""
    if (READ.search(before) and len(number) <= READABLE and not re.match(r"\s+of\b", after)) or re.match(
        r"(?:st|nd|rd|th)\b|s\b", after
    ):
        return True
    leads = LEADS.search(before) is not None or not before.strip()
    return int(number[:9]) <= COUNTED and leads and THINGS.match(after) is not None
