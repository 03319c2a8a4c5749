"""The linguistic part: which words of the expression single the target out, and what they exclude."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vtscot.teacher.oracle import words as say
from vtscot.teacher.oracle.moment import NAMED, Moment, brief, counted
from vtscot.teacher.oracle.scene import Thing
from vtscot.teacher.oracle.words import agree, listed
from vtscot.words.colours import kin_of, names_of, read_colours
from vtscot.words.cues import cues_of
from vtscot.words.english import NEGATIONS, NUMBERS, content_words, quotable, word_set

_STARTERS: Final = word_set(
    "that which who with in on to from above below behind near nearest left right top bottom first last"
)
_GENERIC: Final = word_set("object objects thing things shape shapes item items")
_NOUNS: Final = frozenset(("cross", "crosses"))  # listed as verbs of motion, but also shapes
_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)?")


def linguistic(moment: Moment, targets: Sequence[Thing], others: Sequence[Thing]) -> str:
    """Which words single the target out, and what they exclude."""
    expression = quotable(moment.expression)
    words = tuple(_WORD.findall(expression.lower()))
    sentences = [moment.say(say.QUOTE, exp=expression)]
    colours = [word for word in read_colours(expression) if _worn(word, targets)]
    timed = [word for word in words if cues_of(word).weight > 0 and word not in colours and word not in _NOUNS]
    rest = [word for word in content_words(expression) if word not in colours and word not in _GENERIC]
    if moment.absent:
        sentences += [_about(moment, say.TIME, timed)] if timed else []
        return " ".join([*sentences, _about(moment, say.PLAIN_NONE, content_words(expression))])
    if colours:
        sentences.append(_about(moment, say.COLOUR, colours))
    if timed:
        sentences.append(_about(moment, say.TIME, timed))
    sentences += _sets(moment, words)
    sentences.append(_contrast(moment, colours, _decisive(rest, words), targets, others))
    return " ".join(sentences)


def _contrast(
    moment: Moment,
    colours: Sequence[str],
    rest: Sequence[str],
    targets: Sequence[Thing],
    others: Sequence[Thing],
) -> str:
    """What the words exclude: the look-alikes if there are any, else whatever has another colour."""
    rivals = [thing for thing in others if targets and set(thing.colours) & set(targets[0].colours)]
    excluded = [thing for thing in others if colours and not any(_worn(word, [thing]) for word in colours)]
    if rivals and rest:
        return _about(moment, say.RIVALS, rest, things=_some(rivals, moment))
    if excluded:
        return moment.say(say.EXCLUDES, things=_some(excluded, moment))
    named = rest or colours or content_words(moment.expression)
    return _about(moment, say.PLAIN if len(set(named)) > 1 else say.PLAIN_ONE, named)


def _decisive(rest: Sequence[str], words: Sequence[str]) -> Sequence[str]:
    """The content words after the noun, where the expression says more than what the thing is."""
    after = [i for i, word in enumerate(words) if word in _STARTERS or (cues_of(word).weight and word not in _NOUNS)]
    tail = set(words[after[0] :]) if after else set(words)
    return [word for word in rest if word in tail] or rest


def _sets(moment: Moment, words: Sequence[str]) -> list[str]:
    """What the expression says of number and negation."""
    numbers = [word for word in words if word in NUMBERS]
    negations = [word for word in words if word in NEGATIONS]
    told = [_about(moment, say.SEVERAL, numbers)] if numbers and moment.plural else []
    return told + ([_about(moment, say.NEGATION, negations)] if negations else [])


def _worn(word: str, things: Sequence[Thing]) -> bool:
    """True where one of the things has the colour that `word` names, light and shade allowed for."""
    own, kin = set(names_of(word)), kin_of(word)
    return any(own & set(thing.colours) or (thing.colours and kin.issuperset(thing.colours)) for thing in things)


def _some(things: Sequence[Thing], moment: Moment) -> str:
    briefs = counted([brief(thing, moment.scene.size) for thing in things[:NAMED]])
    return listed([re.sub(r"^(?:an? |(?=two ))", "the other ", text) for text in briefs])


def _about(moment: Moment, bank: Sequence[str], words: Sequence[str], **values: str) -> str:
    """A sentence whose subject are some words of the expression, or all of it where it has no words."""
    words = words or (quotable(moment.expression),)
    quoted = listed([f'"{word}"' for word in dict.fromkeys(words)])
    distinct = len(set(words))
    named = {"name": "name" if distinct > 1 else "names"}
    return agree(moment.phrases.pick(bank), plural=distinct > 1, words=quoted, **named, **values)
