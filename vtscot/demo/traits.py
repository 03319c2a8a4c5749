"""Predicates over one story, each with its wording. Every test has a margin; what lies within it is None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .story import Story, Truth, runs

Test = Callable[[Story], Truth]


@dataclass(frozen=True)
class Trait:
    """A predicate and the clauses that say it: (singular, plural) relative clauses, put behind a noun."""

    name: str
    kind: str
    test: Test
    clauses: tuple[tuple[str, str], ...]


def _moves(axis: int, sign: int) -> Test:
    def test(story: Story) -> Truth:
        there, back = story.travel(axis, sign), story.travel(axis, -sign)
        aside = story.travel(1 - axis, 1) + story.travel(1 - axis, -1)
        if there <= 0.06:
            return False
        return True if there >= 0.25 and back <= 0.03 and aside <= 0.6 * there else None

    return test


def never_moves(story: Story) -> Truth:
    if story.actor.change is not None and story.actor.change.factor != 1:
        return None
    if story.phases == "r" and story.distance < 0.5:
        return True
    return False if story.distance >= 0.15 * min(story.size) else None


def _phases(pattern: str) -> Test:
    def test(story: Story) -> Truth:
        return None if story.phases is None else pattern in story.phases

    return test


def _sets_off(story: Story) -> Truth:
    if story.phases is None:
        return None
    return True if story.phases == "rm" else None if "rm" in story.phases else False


def _keeps_going(story: Story) -> Truth:
    """Never stops; of what never moved at all one would not say that."""
    if story.phases is None or "m" not in story.phases:
        return None
    return "mr" not in story.phases


def _turns_back(story: Story) -> Truth:
    if len(story.stays) > 1:
        return None
    minor = max(min(story.travel(axis, 1), story.travel(axis, -1)) for axis in (0, 1))
    return True if minor >= 0.15 else False if minor <= 0.03 else None


def enters(story: Story) -> Truth:
    if len(story.stays) > 1:
        return None
    if story.entered is not None:
        return True if story.entered >= 2 else None
    return False if story.stays[0][0] == 0 and story.whole[0] > 0.75 and story.seen[0] else None


def leaves(story: Story) -> Truth:
    if len(story.stays) > 1:
        return None
    if story.left is not None:
        return True if story.left <= story.frames - 3 else None
    return False if story.stays[-1][1] == story.frames - 1 and story.whole[-1] > 0.75 and story.seen[-1] else None


def _returns(story: Story) -> Truth:
    if len(story.stays) == 1:
        # Who is hidden for a while also seems to come back.
        return False if len(runs(story.seen)) == 1 else None
    (_, gone), (back, end) = story.stays[0], story.stays[1]
    long = len(story.stays) == 2 and gone >= 6 and back - gone > 6 and end - back >= 6
    return True if long and story.seen[:gone].sum() >= 6 and story.seen[back:].sum() >= 6 else None


def _both(*tests: Test) -> Test:
    def test(story: Story) -> Truth:
        truths = [one(story) for one in tests]
        return False if False in truths else None if None in truths else True

    return test


def opposite(test: Test) -> Test:
    def negated(story: Story) -> Truth:
        truth = test(story)
        return None if truth is None else not truth

    return negated


def _plainly_changes(story: Story) -> Truth:
    """Whether the change, of whatever sort, happens in full view and leaves time to see before and after."""
    change = story.actor.change
    if change is None:
        return False
    before, after = story.seen[: change.start].sum(), story.seen[change.end + 1 :].sum()
    during = story.share_in_view[change.start : change.end + 1].min()
    return True if before >= 6 and after >= 6 and during > 0.4 else None


def _resized(grown: bool) -> Test:
    def test(story: Story) -> Truth:
        change = story.actor.change
        if change is None or change.factor == 1 or (change.factor > 1) != grown:
            return False
        return _plainly_changes(story)

    return test


def _recoloured(story: Story) -> Truth:
    change = story.actor.change
    return _plainly_changes(story) if change and change.colour else False


def turning(colour: str) -> Trait:
    """The change to one colour; made per video for the colours that occur."""

    def test(story: Story) -> Truth:
        change = story.actor.change
        return _plainly_changes(story) if change and change.colour == colour else False

    words = ((f"that turns {colour}", f"that turn {colour}"), (f"that becomes {colour}", f"that become {colour}"))
    return Trait(f"turns {colour}", "change", test, (*words, (f"that ends up {colour}", f"that end up {colour}")))


def having_been(colour: str) -> Trait:
    """The change away from one colour."""

    def test(story: Story) -> Truth:
        change = story.actor.change
        return _plainly_changes(story) if change and change.colour and story.actor.look.colour == colour else False

    words = ((f"that is {colour} only at first", f"that are {colour} only at first"),)
    return Trait(f"was {colour}", "change", test, (*words, (f"that stops being {colour}", f"that stop being {colour}")))


def _that(verb: str, plural: str, *more: str) -> tuple[tuple[str, str], ...]:
    return ((f"that {verb}", f"that {plural}"), *((phrase, phrase) for phrase in more))


_LEFT, _RIGHT, _UP, _DOWN = _moves(0, -1), _moves(0, 1), _moves(1, -1), _moves(1, 1)
_STOPS = _both(_phases("mr"), opposite(_phases("mrm")))

TRAITS: tuple[Trait, ...] = (
    Trait("left", "motion", _LEFT, _that("moves to the left", "move to the left", "moving left", "heading left")),
    Trait("right", "motion", _RIGHT, _that("moves to the right", "move to the right", "moving right", "heading right")),
    Trait("up", "motion", _UP, _that("moves up", "move up", "moving upwards", "rising through the picture")),
    Trait("down", "motion", _DOWN, _that("moves down", "move down", "moving downwards", "sinking")),
    Trait("stops", "motion", _STOPS, _that("stops for good", "stop for good", "coming to rest and staying there")),
    Trait("halts", "motion", _phases("mr"), _that("stops", "stop", "coming to a halt")),
    Trait(
        "pauses", "motion", _phases("mrm"), _that("stops and then goes on", "stop and then go on", "pausing on its way")
    ),
    Trait("starts", "motion", _sets_off, _that("rests and then sets off", "rest and then set off")),
    Trait(
        "turns", "motion", _turns_back, _that("turns back", "turn back", "reversing direction", "going there and back")
    ),
    Trait("enters", "motion", enters, _that("comes into view", "come into view", "entering the picture")),
    Trait("leaves", "motion", leaves, _that("leaves the frame", "leave the frame", "going out of view")),
    Trait(
        "passes through",
        "motion",
        _both(enters, leaves),
        _that("enters and leaves again", "enter and leave again", "only passing through"),
    ),
    Trait(
        "returns",
        "motion",
        _returns,
        _that("leaves and comes back", "leave and come back", "reappearing after a while"),
    ),
    Trait("grows", "change", _resized(True), _that("grows", "grow", "becoming larger", "getting bigger")),
    Trait("shrinks", "change", _resized(False), _that("shrinks", "shrink", "becoming smaller", "getting smaller")),
    Trait("recolours", "change", _recoloured, _that("changes colour", "change colour", "taking on another colour")),
    Trait("still", "negation", never_moves, _that("never moves", "never move", "not moving at all")),
    Trait("not leaving", "negation", opposite(leaves), _that("never leaves the frame", "never leave the frame")),
    Trait("not left", "negation", opposite(_LEFT), _that("does not move to the left", "do not move to the left")),
    Trait("not right", "negation", opposite(_RIGHT), _that("does not move to the right", "do not move to the right")),
    Trait("not stopping", "negation", _keeps_going, _that("does not stop", "do not stop", "never stopping")),
    Trait("not turning", "negation", opposite(_turns_back), _that("does not turn back", "do not turn back")),
)
