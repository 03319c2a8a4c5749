"""The demo's expressions against its masks: every claim is worked out a second time from visible pixels alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from vtscot.demo.expressions import Expression
from vtscot.demo.palette import COLOURS, Look
from vtscot.demo.shapes import SHAPES
from vtscot.demo.video import direct

VIDEOS = 36
ALIKE = {"little": "small", "big": "large", "spotted": "dotted", "checkered": "checked"}
WORD = "|".join(["small", "large", *ALIKE, *COLOURS, "striped", "dotted", "checked"])
NOUN = rf"(?P<noun>(?:(?:{WORD}) )*(?:{'|'.join(SHAPES)}|shape|object|one))(?:e?s)?"
OTHER = rf"the (?P<other>(?:(?:{WORD}) )*(?:{'|'.join(SHAPES)}|shape|object))"
START = r"the (?:only |two |three |four |five )?"


@dataclass(frozen=True)
class Evidence:
    """Looks by name, and what the masks show: area and centre of mass per object and frame."""

    looks: list[Look]
    recoloured: list[bool]
    area: np.ndarray
    centre: np.ndarray
    size: tuple[int, int]
    expressions: list[Expression]

    @cached_property
    def first(self) -> list[int]:
        return [int(np.flatnonzero(row)[0]) for row in self.area]

    @cached_property
    def last(self) -> list[int]:
        return [int(np.flatnonzero(row)[-1]) for row in self.area]

    def group(self, noun: str) -> list[int]:
        """The objects that a noun phrase fits by their looks."""
        words = {ALIKE.get(word, word) for word in noun.split()} - {"shape", "object", "one"}
        return [k for k, look in enumerate(self.looks) if words <= {look.shape, look.colour, look.texture, look.size}]

    def gone(self, k: int) -> np.ndarray:
        """Way from the first to the last clear sight, as shares of the frame."""
        clear = np.flatnonzero(self.area[k] > 0.6 * np.median(self.area[k][self.area[k] > 0]))
        return np.asarray((self.centre[k, clear[-1]] - self.centre[k, clear[0]]) / self.size)

    def blinks(self, k: int) -> bool:
        """Whether it is out of sight in between."""
        return bool((self.area[k, self.first[k] : self.last[k]] == 0).any())


def _evidence(number: int) -> Evidence:
    film, expressions = direct(0, number)
    world = film.world
    count = len(world.actors)
    rows, columns = np.mgrid[: world.height, : world.width].reshape(2, -1)
    area, centre = np.zeros((count, world.frames)), np.full((count, world.frames, 2), np.nan)
    for t, owner in enumerate(film.owners.reshape(world.frames, -1)):
        total = np.bincount(owner, minlength=256)
        sums = [np.bincount(owner, weights=axis, minlength=256) for axis in (columns, rows)]
        for k in range(count):
            if total[k + 1] >= 12:
                area[k, t] = total[k + 1]
                centre[k, t] = [axis[k + 1] / total[k + 1] for axis in sums]
    recoloured = [bool(actor.change and actor.change.colour) for actor in world.actors]
    return Evidence(
        [actor.look for actor in world.actors], recoloured, area, centre, (world.width, world.height), expressions
    )


@pytest.fixture(scope="module")
def videos() -> list[Evidence]:
    return [_evidence(number) for number in range(VIDEOS)]


Answer = Callable[[Evidence, "re.Match[str]"], set[int]]


def _order(event: str) -> Answer:
    def answer(seen: Evidence, match: re.Match[str]) -> set[int]:
        last = seen.area.shape[1] - 1
        times = {
            k: seen.first[k] if event == "enter" else seen.last[k]
            for k in seen.group(match["noun"])
            if (seen.first[k] > 0 if event == "enter" else seen.last[k] < last)
        }
        ranked = sorted(times, key=lambda k: times[k])
        return {ranked[{"first": 0, "second": 1, "last": -1}[match["rank"]]]}

    return answer


def _heading(axis: int, sign: int) -> Answer:
    return lambda seen, match: {k for k in seen.group(match["noun"]) if sign * seen.gone(k)[axis] > 0.15}


def _not_heading(seen: Evidence, match: re.Match[str]) -> set[int]:
    sign = {"left": -1, "right": 1}[match["side"]]
    return set(seen.group(match["noun"])) - _heading(0, sign)(seen, match)


def _enters(seen: Evidence, match: re.Match[str]) -> set[int]:
    return {k for k in seen.group(match["noun"]) if seen.first[k] > 0}


def _leaves(seen: Evidence, match: re.Match[str]) -> set[int]:
    return {k for k in seen.group(match["noun"]) if seen.last[k] < seen.area.shape[1] - 1}


def _stays(seen: Evidence, match: re.Match[str]) -> set[int]:
    return set(seen.group(match["noun"])) - _leaves(seen, match)


def _passes_through(seen: Evidence, match: re.Match[str]) -> set[int]:
    return _enters(seen, match) & _leaves(seen, match)


def _returns(seen: Evidence, match: re.Match[str]) -> set[int]:
    return {k for k in seen.group(match["noun"]) if seen.blinks(k)}


def _never_moves(seen: Evidence, match: re.Match[str]) -> set[int]:
    found = set()
    for k in seen.group(match["noun"]):
        whole = seen.area[k] >= 0.995 * seen.area[k].max()
        found |= {k} if np.nanmax(np.ptp(seen.centre[k, whole], axis=0)) < 1 and whole.sum() > 3 else set()
    return found


def _resizes(sign: int) -> Answer:
    """Greatest area in the last third of the video against the first: what is covered or cut counts for little."""

    def ratio(row: np.ndarray) -> float:
        early, late = row[: len(row) // 3].max(), row[-(len(row) // 3) :].max()
        return float(np.log(late / early)) if early and late else 0.0

    return lambda seen, match: {k for k in seen.group(match["noun"]) if sign * ratio(seen.area[k]) > 0.6}


def _beside(seen: Evidence, match: re.Match[str]) -> set[int]:
    axis, sign = {"to the left of": (0, -1), "to the right of": (0, 1), "above": (1, -1), "below": (1, 1)}[
        match["where"]
    ]
    frame = 0 if match["when"] == "start" else -1
    (other,) = seen.group(match["other"])
    place = sign * seen.centre[:, frame, axis]
    return {k for k in seen.group(match["noun"]) if place[k] > place[other]}


def _farthest(seen: Evidence, match: re.Match[str]) -> set[int]:
    axis, sign = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}[match["side"]]
    frame = 0 if match["when"] in ("at the start", "in the first frame") else -1
    place = {k: sign * seen.centre[k, frame, axis] for k in seen.group(match["noun"]) if seen.area[k, frame]}
    return {max(place, key=lambda k: place[k])}


def _overtakes(seen: Evidence, match: re.Match[str]) -> set[int]:
    (other,) = seen.group(match["other"])
    found = set()
    for k in set(seen.group(match["noun"])) - {other}:
        both = np.flatnonzero((seen.area[k] > 0) & (seen.area[other] > 0))
        go = seen.centre[[k, other]][:, both[-1], 0] - seen.centre[[k, other]][:, both[0], 0]
        lead = np.sign(go[0]) * (seen.centre[k, both, 0] - seen.centre[other, both, 0])
        found |= {k} if go[0] * go[1] > 0 and abs(go[1]) > 9 and lead[0] < 0 < lead[-1] else set()
    return found


def _looks(seen: Evidence, match: re.Match[str]) -> set[int]:
    return set(seen.group(match["noun"]))


def _except(seen: Evidence, match: re.Match[str]) -> set[int]:
    return set(range(len(seen.looks))) - set(seen.group(match["noun"]))


def _contrast(seen: Evidence, match: re.Match[str]) -> set[int]:
    return set(seen.group(match["noun"])) - set(seen.group(match["what"]))


PLACE = r"(?P<where>to the left of|to the right of|above|below)"
MOMENT = r"(?P<when>at the start|in the first frame|at the end|in the last frame)"
RULES: dict[str, tuple[str, Answer]] = {
    "order of entering": (rf"the (?P<rank>\w+) {NOUN} to (?:enter|come into view|enter the frame)", _order("enter")),
    "order of leaving": (rf"the (?P<rank>\w+) {NOUN} to (?:leave|leave the frame|go out of view)", _order("leave")),
    "moves left": (rf"{START}{NOUN} (?:that moves? to the left|moving left|heading left)", _heading(0, -1)),
    "moves right": (rf"{START}{NOUN} (?:that moves? to the right|moving right|heading right)", _heading(0, 1)),
    "moves down": (rf"{START}{NOUN} (?:that moves? down|moving downwards|sinking)", _heading(1, 1)),
    "moves up": (rf"{START}{NOUN} (?:that moves? up|moving upwards|rising through the picture)", _heading(1, -1)),
    "not left or right": (rf"{START}{NOUN} that does not move to the (?P<side>left|right)", _not_heading),
    "enters": (rf"{START}{NOUN} (?:that comes? into view|entering the picture)", _enters),
    "leaves": (rf"{START}{NOUN} (?:that leaves? the frame|going out of view)", _leaves),
    "never leaves": (rf"{START}{NOUN} that never leaves? the frame", _stays),
    "passes through": (rf"{START}{NOUN} (?:that enters? and leaves? again|only passing through)", _passes_through),
    "comes back": (rf"{START}{NOUN} (?:that leaves? and comes? back|reappearing after a while)", _returns),
    "never moves": (rf"{START}{NOUN} (?:that never moves?|not moving at all)", _never_moves),
    "grows": (rf"{START}{NOUN} (?:that grows?|becoming larger|getting bigger)", _resizes(1)),
    "shrinks": (rf"{START}{NOUN} (?:that shrinks?|becoming smaller|getting smaller)", _resizes(-1)),
    "beside": (rf"the {NOUN} {PLACE} {OTHER} at the (?P<when>start|end)", _beside),
    "farthest": (rf"the {NOUN} (?:farthest to|nearest) the (?P<side>\w+) {MOMENT}", _farthest),
    "overtakes": (rf"the {NOUN} that overtakes {OTHER}", _overtakes),
    "look": (rf"(?:the|both|the two|the three|all|all the) {NOUN}", _looks),
    "except": (rf"(?:everything except|all the objects except|every shape but) the {NOUN}", _except),
    "contrast": (rf"the {NOUN} that is not (?:a )?(?P<what>\w+)", _contrast),
}


def _matching(videos: list[Evidence], pattern: str) -> Iterator[tuple[Evidence, Expression, re.Match[str]]]:
    for seen in videos:
        for expression in seen.expressions:
            if match := re.fullmatch(pattern, expression.text):
                yield seen, expression, match


@pytest.mark.parametrize("rule", RULES)
def test_targets_follow_from_the_masks(videos: list[Evidence], rule: str) -> None:
    pattern, answer = RULES[rule]
    cases = list(_matching(videos, pattern))
    assert cases, f"no expression of the sort {rule!r} in {VIDEOS} videos: the test would check nothing"
    for seen, expression, match in cases:
        assert answer(seen, match) == set(expression.targets), expression.text


def test_most_expressions_are_checked(videos: list[Evidence]) -> None:
    texts = [expression.text for seen in videos for expression in seen.expressions]
    checked = [text for text in texts if any(re.fullmatch(pattern, text) for pattern, _ in RULES.values())]
    assert len(checked) > 0.65 * len(texts)


def test_looks_of_changing_objects_are_not_taken_for_granted(videos: list[Evidence]) -> None:
    """A plain "the red circle" never depends on an object that is red for a part of the time."""
    for seen, expression, match in _matching(videos, RULES["look"][0]):
        colours = set(match["noun"].split()) & set(COLOURS)
        assert not (colours and any(seen.recoloured[k] and seen.looks[k].colour in colours for k in expression.targets))


def test_every_video_has_twins_that_one_expression_tells_apart(videos: list[Evidence]) -> None:
    for seen in videos:
        a, b = seen.looks[:2]
        assert (a.shape, a.colour) == (b.shape, b.colour)
    apart = [any(len({0, 1} & set(e.targets)) == 1 for e in seen.expressions) for seen in videos]
    assert np.mean(apart) > 0.9
