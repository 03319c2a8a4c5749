"""Claims that compare objects: order in time, place and superlatives at an end of the video, passing and overtaking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .claims import Claim, Stories, unique_nouns
from .nouns import Noun, denoted, nouns_of
from .raster import Film
from .story import Story, Truth
from .traits import enters, leaves

CLEAR_FRAMES = 4
"""Events count as ordered if they lie at least this far apart."""

Pair = Callable[[Story, Story], Truth]


def relation_claims(film: Film, stories: Stories) -> Iterator[Claim]:
    """All claims about order and relations."""
    for noun in nouns_of(stories):
        fitting = denoted(noun, stories)
        if not fitting:
            continue
        group = [stories[index] for index in sorted(fitting)]
        for event in _EVENTS:
            yield from _ordered(noun, group, event)
        for superlative in _SUPERLATIVES:
            yield from _extreme(noun, group, superlative)
        yield from _passing_pillar(noun, group, film)
        for reference, index in _references(stories):
            yield from _related(noun, group, reference, stories[index], film)


# --- order in time


@dataclass(frozen=True)
class _Event:
    name: str
    test: Callable[[Story], Truth]
    time: Callable[[Story], int | None]
    infinitives: tuple[str, ...]


_EVENTS = (
    _Event("enter", enters, lambda story: story.entered, ("enter", "come into view", "enter the frame")),
    _Event("leave", leaves, lambda story: story.left, ("leave", "leave the frame", "go out of view")),
)


def _ordered(noun: Noun, group: list[Story], event: _Event) -> Iterator[Claim]:
    """ "the first shape to leave": needs at least two that do, well apart in time."""
    truths = [event.test(story) for story in group]
    if None in truths or sum(map(bool, truths)) < 2:
        return
    timed = sorted((event.time(story) or 0, story.index) for story, truth in zip(group, truths, strict=True) if truth)
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(timed)]
    if gaps[0] >= CLEAR_FRAMES:
        yield _order_claim(noun, event, "first", timed[0][1], len(group))
    if gaps[-1] >= CLEAR_FRAMES:
        yield _order_claim(noun, event, "last", timed[-1][1], len(group))
    if len(timed) > 2 and min(gaps[:2]) >= CLEAR_FRAMES:
        yield _order_claim(noun, event, "second", timed[1][1], len(group))


def _order_claim(noun: Noun, event: _Event, rank: str, target: int, size: int) -> Claim:
    texts = [f"the {rank} {words} to {verb}" for words in noun.said() for verb in event.infinitives]
    texts += [f"the {words} that is the {rank} to {event.infinitives[0]}" for words in noun.said()]
    if not noun.words:
        texts += [f"the {rank} one to {verb}" for verb in event.infinitives]
    return Claim("order", f"{event.name} {rank}", tuple(texts), frozenset([target]), size - 1, noun.words)


# --- superlatives


@dataclass(frozen=True)
class _Superlative:
    """The greatest `value` wins if it beats the next by `margin`; `frame` 0 or -1 asks at the start or the end."""

    name: str
    kind: str
    value: Callable[[Story], float]
    margin: Callable[[float, float], bool]
    words: tuple[str, ...]
    frame: int | None = None


def _apart(first: float, second: float) -> bool:
    return first - second >= 0.1


def _times(first: float, second: float) -> bool:
    return second > 0 and first >= 1.5 * second


def _place(axis: int, sign: int, frame: int) -> Callable[[Story], float]:
    return lambda story: float(sign * story.centre[story.around(frame), axis].mean() / story.size[axis])


def _place_superlatives() -> Iterator[_Superlative]:
    sides = (("left", 0, -1), ("right", 0, 1), ("top", 1, -1), ("bottom", 1, 1))
    for frame, moments in ((0, ("at the start", "in the first frame")), (-1, ("at the end", "in the last frame"))):
        for side, axis, sign in sides:
            phrase = f"farthest to the {side}" if axis == 0 else f"nearest the {side}"
            words = tuple(f"the {{}} {phrase} {moment}" for moment in moments)
            yield _Superlative(f"{side} {frame}", "relation", _place(axis, sign, frame), _apart, words, frame)


_SUPERLATIVES = (
    *_place_superlatives(),
    _Superlative(
        "fastest", "motion", lambda story: story.pace, _times, ("the fastest {}", "the {} that moves fastest")
    ),
)


def _extreme(noun: Noun, group: list[Story], ask: _Superlative) -> Iterator[Claim]:
    if ask.frame is not None:
        present = [story.plain_at(ask.frame) for story in group]
        if None in present:
            return
        group = [story for story, here in zip(group, present, strict=True) if here]
    if len(group) < 2:
        return
    first, second = sorted(group, key=ask.value, reverse=True)[:2]
    if ask.margin(ask.value(first), ask.value(second)):
        texts = tuple(form.format(words) for form in ask.words for words in noun.said())
        yield Claim(ask.kind, ask.name, texts, frozenset([first.index]), len(group) - 1, min(noun.words, 1))


# --- relations to a second object


def _references(stories: Stories) -> Iterator[tuple[Noun, int]]:
    """The shortest unique phrases of each object."""
    known = list(unique_nouns(stories))
    for noun, index in known:
        if noun.words == min(other.words for other, owner in known if owner == index):
            yield noun, index


def _beside(axis: int, sign: int, frame: int) -> Pair:
    def test(a: Story, b: Story) -> Truth:
        here = a.plain_at(frame)
        if here is None or not b.plain_at(frame):
            return None
        if not here:
            return False
        offset = (a.centre - b.centre)[a.around(frame)].mean(axis=0)
        ahead, aside = sign * offset[axis], abs(offset[1 - axis])
        room = 0.5 * (a.side[frame] + b.side[frame])
        if ahead <= -0.25 * room:
            return False
        return True if ahead >= room and ahead >= 1.1 * aside else None

    return test


def _crosses(mover: Story, other: Story, cover: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Truth:
    """Whether the mover goes from one side of the other to the opposite one; `cover` is the share hidden meanwhile."""
    if cover.max() <= 0.02:
        return False
    peak = int(cover.argmax())
    clear = (cover < 0.01) & mover.seen & other.seen
    before, after = np.flatnonzero(clear[:peak]), np.flatnonzero(clear[peak:])
    if cover.max() < 0.35 or len(before) < 4 or len(after) < 4:
        return None
    first, last = before[-1], peak + after[0]
    gone = mover.centre[last] - mover.centre[first]
    axis = int(np.abs(gone).argmax())
    sides = np.sign((mover.centre - other.centre)[[first, last], axis])
    stirs = np.hypot(*(other.centre[last] - other.centre[first]))
    return True if sides[0] != sides[1] and abs(gone[axis]) >= max(0.8 * other.side[peak], 2 * stirs) else None


def _overtakes(a: Story, b: Story) -> Truth:
    common = np.flatnonzero(a.seen & b.seen)
    if len(common) < 8:
        return None if len(common) else False
    first, last = common[0], common[-1]
    width, height = a.size
    go_a, go_b = ((story.centre[last, 0] - story.centre[first, 0]) / width for story in (a, b))
    if go_a * go_b < 0:
        return False
    gap = np.sign(go_a) * (a.centre[common, 0] - b.centre[common, 0]) / width
    if abs(go_b) >= 0.1 and abs(go_a) > abs(go_b) and gap[0] <= -0.08 and gap[-1] >= 0.08:
        return True if abs(a.centre[first, 1] - b.centre[first, 1]) < 0.4 * height else None
    return False if gap.min() > 0.04 or gap.max() < -0.04 else None


def _pair_tests(film: Film) -> Iterator[tuple[str, str, Pair]]:
    """(name, wording, test) of all relations to a reference; the wording takes the reference's phrase."""
    moments = ((0, "at the start"), (-1, "at the end"))
    sides = (("to the left of", 0, -1), ("to the right of", 0, 1), ("above", 1, -1), ("below", 1, 1))
    for frame, moment in moments:
        for words, axis, sign in sides:
            yield f"{words} {frame}", f"{words} {{}} {moment}", _beside(axis, sign, frame)
    hidden = film.hidden / np.maximum(film.inside, 1)[:, None]
    yield "passes behind", "that passes behind {}", lambda a, b: _crosses(a, b, hidden[a.index, b.index])
    yield "passes in front", "that passes in front of {}", lambda a, b: _crosses(a, b, hidden[b.index, a.index])
    yield "overtakes", "that overtakes {}", _overtakes


def _related(noun: Noun, group: list[Story], reference: Noun, other: Story, film: Film) -> Iterator[Claim]:
    rest = [story for story in group if story.index != other.index]
    for name, wording, test in _pair_tests(film):
        truths = [test(story, other) for story in rest]
        if None in truths or sum(map(bool, truths)) != 1:
            continue
        target = rest[truths.index(True)].index
        phrases = [f"the {words}" for words in reference.said()]
        texts = tuple(f"the {words} {wording.format(phrase)}" for words in noun.said() for phrase in phrases)
        yield Claim("relation", name, texts, frozenset([target]), len(rest) - 1, noun.words)


def _passing_pillar(noun: Noun, group: list[Story], film: Film) -> Iterator[Claim]:
    """ "the star that passes behind the pillar": the pillar is scenery and no target."""
    if len(film.world.pillars) != 1:
        return
    truths = [_behind_pillar(story, film) for story in group]
    if None in truths or sum(map(bool, truths)) != 1:
        return
    target = group[truths.index(True)].index
    forms = (
        "that passes behind the pillar",
        "going past behind the pillar",
        "that is hidden by the pillar for a moment",
    )
    texts = tuple(f"the {words} {form}" for words in noun.said() for form in forms)
    yield Claim("relation", "behind the pillar", texts, frozenset([target]), len(group) - 1, noun.words)


def _behind_pillar(story: Story, film: Film) -> Truth:
    cover = film.hidden[story.index, -1] / np.maximum(film.inside[story.index], 1)
    if cover.max() <= 0.02:
        return False
    pillar, x = film.world.pillars[0], story.centre[:, 0]
    left = (x < pillar.left) & story.seen & (cover == 0)
    right = (x > pillar.right) & story.seen & (cover == 0)
    return True if cover.max() >= 0.4 and left.sum() >= 4 and right.sum() >= 4 else None
