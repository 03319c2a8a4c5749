"""Claims about single objects and sets of them: appearance, traits, negation, several targets, no target.

A claim is a set of wordings and the exact set of objects they describe. Where the answer for any object in question
is not clear, there is no claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .nouns import Noun, denoted, nouns_of
from .story import Story
from .traits import TRAITS, Trait, having_been, turning

Stories = tuple[Story, ...]
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Claim:
    """`template` names the pattern, so that a video does not repeat it.

    `rivals` counts the objects that fit the noun but not the decisive word, `words` the attributes the noun gives:
    with rivals that look alike, a glance at the wrong moment does not answer.
    """

    kind: str
    template: str
    texts: tuple[str, ...]
    targets: frozenset[int]
    rivals: int = 0
    words: int = 0


def object_claims(stories: Stories) -> Iterator[Claim]:
    """All claims that need no second object."""
    yield from _appearance(stories)
    yield from _groups(stories)
    yield from _contrasts(stories)
    yield from _exceptions(stories)
    yield from _absent(stories)
    for noun in nouns_of(stories):
        for trait in _traits_of(stories):
            yield from _trait_claims(noun, trait, stories)


def unique_nouns(stories: Stories) -> Iterator[tuple[Noun, int]]:
    """Phrases that fit exactly one object, with at most one word more than that object needs."""
    found: list[tuple[Noun, int]] = []
    for noun in nouns_of(stories, full=True):
        fitting = denoted(noun, stories)
        if fitting and len(fitting) == 1:
            found.append((noun, next(iter(fitting))))
    for noun, index in found:
        if noun.words <= 1 + min(other.words for other, owner in found if owner == index):
            yield noun, index


def _appearance(stories: Stories) -> Iterator[Claim]:
    for noun, index in unique_nouns(stories):
        texts = [f"the {words}" for words in noun.said()]
        if noun.texture and noun.words > 1:
            bare = Noun(noun.shape, noun.colour, "", noun.size)
            texts += [f"the {words} that is {noun.texture}" for words in bare.said()]
        rivals = len(denoted(Noun(noun.shape), stories) or ()) - 1
        yield Claim("appearance", "look", tuple(texts), frozenset([index]), rivals, noun.words)


def _groups(stories: Stories) -> Iterator[Claim]:
    """ "all blue shapes", "both stars": some of the objects, not all."""
    for noun in nouns_of(stories, full=True):
        fitting = denoted(noun, stories)
        if fitting is None or not 2 <= len(fitting) < len(stories) or not 1 <= noun.words <= 2 or noun.size:
            continue
        plural = noun.said(plural=True)
        texts = [f"{head} {words}" for head in _amount(fitting, fitting) for words in plural]
        yield Claim("multiple", "group", tuple(texts), fitting)


def _amount(targets: frozenset[int], fitting: frozenset[int]) -> tuple[str, ...]:
    """Ways to open a plural; "both" only without rivals: "both circles that stop" would hint at two circles."""
    number = NUMBERS[len(targets)]
    if len(targets) == 2:
        return ("both", "the two") if targets == fitting else ("the two",)
    return ("all", "all the", f"the {number}")


def _contrasts(stories: Stories) -> Iterator[Claim]:
    """ "the triangle that is not red": the one of a kind without an attribute that the others of the kind have."""
    for noun in nouns_of(stories):
        if noun.words != 1 or (fitting := denoted(noun, stories)) is None:
            continue
        for other in nouns_of(stories, full=True):
            having = denoted(other, stories)
            if (
                other.words != 1
                or other.size
                or not having
                or (noun.shape and other.shape)
                or (noun.colour and other.colour)
            ):
                continue
            if len(rest := fitting - having) == 1 and fitting & having:
                predicate = other.colour or other.texture or f"a {other.shape}"
                texts = tuple(f"the {words} that is not {predicate}" for words in noun.said())
                yield Claim("negation", "contrast", texts, rest, len(fitting) - 1, 1)


def _exceptions(stories: Stories) -> Iterator[Claim]:
    everybody = frozenset(range(len(stories)))
    for noun, index in unique_nouns(stories):
        if noun.words <= 2 and len(everybody) > 2:
            texts = [f"{head} {words}" for head in _EXCEPT for words in noun.said()]
            yield Claim("multiple", "except", tuple(texts), everybody - {index})


_EXCEPT = ("everything except the", "all the objects except the", "every shape but the")


def _absent(stories: Stories) -> Iterator[Claim]:
    """A shape and a colour that both occur, never together."""
    for noun in nouns_of(stories):
        if noun.shape and noun.colour and all(noun.fits(story) is False for story in stories):
            yield Claim("none", "absent look", tuple(f"the {words}" for words in noun.said()), frozenset(), 1, 2)


def _traits_of(stories: Stories) -> Iterator[Trait]:
    yield from TRAITS
    changes = [story.actor.change for story in stories]
    for colour in sorted({change.colour for change in changes if change and change.colour}):
        yield turning(colour)
    for colour in sorted(
        {story.actor.look.colour for story in stories if story.actor.change and story.actor.change.colour}
    ):
        yield having_been(colour)


def _trait_claims(noun: Noun, trait: Trait, stories: Stories) -> Iterator[Claim]:
    """The claim of "the <noun> that <trait>", if it is clear for all that the noun fits."""
    fitting = denoted(noun, stories)
    if not fitting:
        return
    truths = {index: trait.test(stories[index]) for index in fitting}
    if None in truths.values():
        return
    targets = frozenset(index for index, truth in truths.items() if truth)
    rivals = len(fitting) - len(targets)
    if len(targets) > 1:
        if len(targets) < len(stories) and trait.name not in _SINGULAR_ONLY:
            opened = [f"{head} {words}" for head in _amount(targets, fitting) for words in noun.said(plural=True)]
            texts = [f"{start} {clause}" for start in opened for _, clause in trait.clauses]
            yield Claim("multiple", f"several: {trait.name}", tuple(texts), targets, rivals, noun.words)
    elif targets:
        yield Claim(trait.kind, trait.name, tuple(_singular(noun, trait, rivals)), targets, rivals, noun.words)
    elif trait.kind != "negation" or trait.name == "still":
        texts = [f"the {words} {clause}" for words in noun.said() for clause, _ in trait.clauses]
        yield Claim("none", f"none: {trait.name}", tuple(texts), targets, rivals, noun.words)


_SINGULAR_ONLY = ("not left", "not right", "not stopping", "not turning")
"""Negations that read oddly of several."""


def _singular(noun: Noun, trait: Trait, rivals: int) -> Iterator[str]:
    for words, (clause, _) in ((words, pair) for words in noun.said() for pair in trait.clauses):
        yield f"the {words} {clause}"
        if rivals and trait.kind == "negation":
            yield f"the only {words} {clause}"
    if not noun.words:
        yield from (f"the one {clause}" for clause, _ in trait.clauses if clause.startswith("that"))
