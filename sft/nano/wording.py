"""What nano writes about an observation: the words of the oracle's brief style, and where its decisions stand in them.

A `Reply` is text with marked places. A mark covers the characters of one decision: `yes`/`no` after a frame's number,
the colour, place and size words, the window's numbers, and `[SEG]`. Marks carry the weight of their tokens in the
loss (`PLAIN` elsewhere: numbers that are copied and words that never change are learned in passing) and, where
there is something to look at, the frame that the answer is to be read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vtscot.demo.palette import COLOURS
from vtscot.grammar import SEG
from vtscot.words.places import PLACES, SIZES

PLAIN: Final = 0.25
Span = tuple[int, int]
_WORD: Final = {"cyan": "turquoise"}  # as vtscot.words.colours names its pixels


@dataclass(frozen=True)
class Mark:
    """Characters `start` to `end` decide something; `frame` (and whether it is the sharp one) is where to look."""

    start: int
    end: int
    weight: float
    name: str
    frame: int | None = None
    sharp: bool = False


@dataclass
class Reply:
    """Text as it grows, with its marks."""

    text: str = ""
    marks: list[Mark] = field(default_factory=list)

    def add(
        self, text: str, name: str = "", weight: float = PLAIN, frame: int | None = None, sharp: bool = False
    ) -> None:
        """Append `text`, as a decision if it has a name."""
        start = len(self.text)
        self.text += text
        if name:
            self.marks.append(Mark(start, len(self.text), weight, name, frame, sharp))


@dataclass(frozen=True)
class Spot:
    """One target on the sharp frame: its colour, centre and sides as shares of the frame."""

    colour: str
    x: float
    y: float
    width: float
    height: float


def lead(expression: str, colours: Sequence[set[str]]) -> str:
    """The opening of a table, with the colour that the expression names if a target wears it.

    `colours` of every target over time; none where nothing is meant.
    """
    said = [word for word in expression.split() if word in COLOURS]
    worn = set().union(*colours) if colours else set(said)
    colour = next((word for word in said if word in worn), None)
    noun = "targets" if len(colours) > 1 else "target"
    return f"The {colour} {noun}:" if colour else f"The {noun}:"


def add_table(reply: Reply, opening: str, seen: Mapping[int, bool], window: Span | None, plural: bool) -> None:
    """`The red target: 0 no, 4 no, 9 yes. It is there from 9 to 9.`: one decision per frame, then the window."""
    reply.add(opening, "lead", 1.0)
    for place, (frame, there) in enumerate(seen.items()):
        reply.add(f"{',' if place else ''} {frame}")
        reply.add(" yes" if there else " no", "seen", 3.0, frame)
    if window is None:
        reply.add(". It is in")
        reply.add(" none", "window", 1.0)
        reply.add(".")
        return
    reply.add(". They are" if plural else ". It is")
    reply.add(" there", "window", 0.5)
    reply.add(" from")
    reply.add(f" {window[0]}", "window", 1.0)
    reply.add(" to")
    reply.add(f" {window[1]}", "window", 1.0)
    reply.add(".")


def span_of(table: Mapping[int, bool]) -> Span | None:
    """The first and the last frame that a table says yes to."""
    shown = [frame for frame, there in table.items() if there]
    return (shown[0], shown[-1]) if shown else None


def add_place(reply: Reply, frame: int, spots: Sequence[Spot], plural: bool, learned: bool = True) -> None:
    """Where the target is on the sharp frame, in fractions; nothing where several would need a sentence each.

    Not `learned`: place and size are read, not to be said.
    """
    if not spots:
        reply.add(f" In frame {frame} the {'targets are' if plural else 'target is'}")
        reply.add(" not", "here", 1.0, frame, True)
        reply.add(" here.")
        return
    if plural:
        return
    spot = spots[0]
    reply.add(f" In frame {frame} the target is")
    reply.add(f" {_WORD.get(spot.colour, spot.colour)}", "here", 1.0, frame, True)
    reply.add(",")
    reply.add(f" {_nearest(PLACES, spot.x)}", "across", 1.0 * learned, frame, True)
    reply.add(" across,")
    reply.add(f" {_nearest(PLACES, spot.y)}", "down", 1.0 * learned, frame, True)
    reply.add(" down,")
    reply.add(f" {_nearest(SIZES, spot.width)}", "wide", 0.5 * learned, frame, True)
    reply.add(" as wide and")
    reply.add(f" {_nearest(SIZES, spot.height)}", "tall", 0.5 * learned, frame, True)
    reply.add(" as tall.")


def add_seg(reply: Reply, frame: int) -> None:
    """The mask's token, at the end."""
    reply.add(" ")
    reply.add(SEG, "seg", 0.1, frame, True)


def _nearest(words: Mapping[str, float], value: float) -> str:
    return min(words, key=lambda word: (abs(words[word] - value), word))
