"""What an expression's words say about time, motion, order and relation: the only thing mining takes from the text.

Words are looked up one by one in a small fixed list of English forms; nothing is parsed. A word that is not listed says
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from vtscot.records import FactKind

_WORD: Final = re.compile(r"[a-z]+")

MOTION: Final = 0.5
RELATION: Final = 0.6
EVENT: Final = 0.8
ORDER: Final = 1.0

_VERBS: Final[tuple[tuple[float, str, tuple[FactKind, ...]], ...]] = (
    (
        MOTION,
        "move walk run go drive ride fly swim roll slide crawl jump travel drift wander chase follow dash",
        ("moves",),
    ),
    (MOTION, "stay remain wait", ("stops",)),
    (RELATION, "touch meet join", ("nearest", "overlaps")),
    (EVENT, "leave exit depart disappear vanish", ("leaves",)),
    (EVENT, "enter arrive appear emerge", ("enters", "reappears")),
    (EVENT, "return reappear", ("reappears", "turns")),
    (EVENT, "start begin", ("starts",)),
    (EVENT, "stop halt pause", ("stops",)),
    (EVENT, "turn swerve reverse rotate", ("turns",)),
    (EVENT, "pass overtake surpass cross lead", ("passes", "nearest", "overlaps")),
    (EVENT, "hide occlude veil", ("overlaps", "leaves", "reappears")),
    (EVENT, "approach", ("nearest", "grows")),
    (EVENT, "grow swell expand enlarge", ("grows",)),
    (EVENT, "shrink recede", ("shrinks",)),
    (EVENT, "change become fade", ("grows", "shrinks")),
)
_WORDS: Final[tuple[tuple[float, str, tuple[FactKind, ...]], ...]] = (
    (
        MOTION,
        "went gone goes ran drove driven rode ridden flew flown swam swum fast faster fastest slow slower slowly",
        ("moves",),
    ),
    (
        MOTION,
        "leftward leftwards rightward rightwards upward upwards downward downwards across toward towards",
        ("moves",),
    ),
    (MOTION, "still stationary motionless immobile unmoving parked rests rested resting", ("stops",)),
    (RELATION, "behind beneath underneath", ("overlaps", "leaves", "reappears")),
    (RELATION, "beside between near nearest next close closest closer together", ("nearest", "overlaps")),
    (EVENT, "hidden hid overtook overtaken passing past", ("passes", "overlaps", "nearest")),
    (EVENT, "began begun", ("starts",)),
    (EVENT, "came come comes coming", ("enters", "reappears", "moves")),
    (RELATION, "back", ("reappears", "turns")),
    (EVENT, "grew grown bigger larger", ("grows",)),
    (EVENT, "shrank shrunk smaller away", ("shrinks", "moves")),
    (EVENT, "became", ("grows", "shrinks")),
    (
        ORDER,
        "first last second third fourth before after afterwards then when while until later earlier finally again",
        (),
    ),
    (ORDER, "once twice subsequently eventually initially meanwhile already early late beginning", ()),
)


@dataclass(frozen=True, slots=True)
class Cues:
    """`weight` in [0, 1]: how much the expression leans on time (0: not at all); `kinds`: the facts its words name."""

    weight: float
    kinds: frozenset[FactKind]


def _forms(verb: str) -> tuple[str, ...]:
    """Regular English forms, doubled consonant or not; forms that do not exist do no harm in a look-up."""
    stem = verb.removesuffix("e")
    third = (verb + "es",) if verb.endswith(("s", "sh", "ch", "x", "o")) else (verb + "s",)
    return (verb, *third, stem + "ed", stem + "ing", verb + verb[-1] + "ed", verb + verb[-1] + "ing")


@cache
def _lexicon() -> dict[str, tuple[float, frozenset[FactKind]]]:
    lexicon: dict[str, tuple[float, frozenset[FactKind]]] = {}
    for level, verbs, kinds in _VERBS:
        for form in (form for verb in verbs.split() for form in _forms(verb)):
            lexicon[form] = (level, frozenset(kinds))
    for level, words, kinds in _WORDS:
        for word in words.split():
            former = lexicon.get(word, (0.0, frozenset()))
            lexicon[word] = (max(level, former[0]), former[1] | frozenset(kinds))
    return lexicon


def cues_of(expression: str) -> Cues:
    """The strongest level among the words, and the kinds of facts that any of them name.

    >>> cues_of("the cat that was first to climb").weight
    1.0
    >>> cues_of("a black swan")
    Cues(weight=0.0, kinds=frozenset())
    """
    lexicon = _lexicon()
    found = [lexicon[word] for word in _WORD.findall(expression.lower()) if word in lexicon]
    return Cues(
        max((level for level, _ in found), default=0.0),
        frozenset(kind for _, kinds in found for kind in kinds),
    )
