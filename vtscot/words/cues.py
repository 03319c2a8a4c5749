"""What an expression's words say about time, motion, order and relation: the only thing mining takes from the text.

Words are looked up one by one in a small fixed list of English forms; nothing is parsed. A word that is not listed says
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    (EVENT, "pass overtake surpass cross lead", ("passes", "nearest", "overlaps", "moves")),
    (EVENT, "hide occlude veil", ("overlaps", "leaves", "reappears")),
    (EVENT, "approach", ("nearest", "grows")),
    (EVENT, "grow swell expand enlarge", ("grows",)),
    (EVENT, "shrink recede", ("shrinks",)),
    (EVENT, "change become fade", ("grows", "shrinks")),
)
_WORDS: Final[tuple[tuple[float, str, tuple[FactKind, ...]], ...]] = (
    (MOTION, "went gone goes ran drove driven rode ridden flew flown swam swum", ("moves",)),
    (MOTION, "heading headed heads fast faster fastest slow slower slowest slowly", ("moves",)),
    (MOTION, "leftward leftwards rightward rightwards upward upwards downward downwards", ("moves",)),
    (MOTION, "across toward towards", ("moves",)),
    (MOTION, "still stationary motionless immobile unmoving parked rests rested resting", ("stops",)),
    (RELATION, "behind beneath underneath", ("overlaps", "leaves", "reappears")),
    (RELATION, "beside between near nearest next close closest closer together", ("nearest", "overlaps")),
    (RELATION, "back", ("reappears", "turns")),
    (EVENT, "hidden hid", ("overlaps", "leaves", "reappears")),
    (EVENT, "overtook overtaken past", ("passes", "nearest", "overlaps", "moves")),
    (EVENT, "began begun", ("starts",)),
    (MOTION, "came come comes coming", ("enters", "reappears", "moves")),
    (RELATION, "rest", ("stops",)),
    (EVENT, "view sight", ("leaves", "enters", "reappears")),
    (EVENT, "grew grown bigger larger", ("grows",)),
    (EVENT, "shrank shrunk smaller", ("shrinks",)),
    (EVENT, "away", ("moves", "shrinks", "leaves")),
    (EVENT, "became", ("grows", "shrinks")),
    (ORDER, "first last second third fourth before after afterwards then when while until", ()),
    (ORDER, "later earlier finally again end ends ended", ()),
    (ORDER, "once twice subsequently eventually initially meanwhile already early late beginning", ()),
)


@dataclass(frozen=True, slots=True)
class Cues:
    """`weight` in [0, 1]: how much the expression leans on time (0: not at all); `votes`: for the facts its words name.

    A word's vote is its level for the first kind it names and a tenth less for each further one; votes add up.
    """

    weight: float
    votes: Mapping[FactKind, float]


def _forms(verb: str) -> tuple[str, ...]:
    """Regular English forms, doubled consonant or not; forms that do not exist do no harm in a look-up."""
    stem = verb.removesuffix("e")
    third = (verb + "es",) if verb.endswith(("s", "sh", "ch", "x", "o")) else (verb + "s",)
    return (verb, *third, stem + "ed", stem + "ing", verb + verb[-1] + "ed", verb + verb[-1] + "ing")


@cache
def _lexicon() -> dict[str, tuple[float, tuple[FactKind, ...]]]:
    """Level and kinds per word; a word that is listed twice has the higher level and the kinds of both."""
    lexicon: dict[str, tuple[float, tuple[FactKind, ...]]] = {}
    verbs = ((level, [form for verb in line.split() for form in _forms(verb)], kinds) for level, line, kinds in _VERBS)
    words = ((level, line.split(), kinds) for level, line, kinds in _WORDS)
    for level, forms, kinds in (*verbs, *words):
        for form in dict.fromkeys(forms):
            former = lexicon.get(form, (0.0, ()))
            lexicon[form] = (max(level, former[0]), tuple(dict.fromkeys((*former[1], *kinds))))
    return lexicon


def cues_of(expression: str) -> Cues:
    """The strongest level among the words, and the kinds of facts that they name.

    >>> cues_of("the cat that was first to climb").weight
    1.0
    >>> cues_of("a black swan")
    Cues(weight=0.0, votes={})
    """
    lexicon = _lexicon()
    weight, votes = 0.0, dict[FactKind, float]()
    for word in _WORD.findall(expression.lower()):
        if word in lexicon:
            level, kinds = lexicon[word]
            weight = max(weight, level)
            for place, kind in enumerate(kinds):
                votes[kind] = votes.get(kind, 0.0) + level * (1 - 0.1 * place)
    return Cues(weight, votes)
