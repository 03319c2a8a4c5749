"""One turn as the writer knows it, and how it speaks of other things."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vtscot.records import Fact, Observation, Selection, Step
from vtscot.teacher.oracle import words as say
from vtscot.teacher.oracle.scene import Scene, Thing
from vtscot.teacher.oracle.words import Phrases, agree, listed
from vtscot.words.places import region

NAMED: Final = 2  # other objects named in one thought, at most


@dataclass(frozen=True)
class Moment:
    """One turn as the writer knows it: what has been shown, what is decoded, what will be done next."""

    scene: Scene
    phrases: Phrases
    turn: int
    observation: Observation
    shown: tuple[int, ...]  # all frames shown so far, in order
    step: Step
    answers: bool

    @property
    def selection(self) -> Selection:
        return self.step.selection

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What justifies the step that is decided on now."""
        return self.step.facts

    @property
    def expression(self) -> str:
        return self.scene.task.query.expression

    @property
    def absent(self) -> bool:
        """True for a no-target query."""
        return self.scene.task.target is None

    @property
    def plural(self) -> bool:
        return self.scene.targets_meant > 1

    @property
    def subject(self) -> str:
        return "the targets" if self.plural else "the target"

    def say(self, bank: Sequence[str], skip: int = 0, **values: str) -> str:
        """A sentence about the target or targets."""
        subject = self.subject
        text = agree(
            self.phrases.pick(bank, skip), plural=self.plural, subject=subject, Subject=say.capital(subject), **values
        )
        return text.replace("seen of it.", "seen of them.") if self.plural else text

    def bounds(self) -> tuple[int, int]:
        """The selection's window by the nearest frames that have been shown."""
        start = max((i for i in self.shown if i <= self.selection.start), default=self.shown[0])
        return start, min((i for i in self.shown if i >= self.selection.end), default=self.shown[-1])

    def around(self) -> str:
        """`bounds` in words."""
        start, end = self.bounds()
        return f"around frame {start}" if start == end else f"between frame {start} and frame {end}"


def looks(colours: Sequence[str]) -> str:
    return listed(colours)


def brief(thing: Thing, size: tuple[int, int]) -> str:
    """Another object by colour and rough place: "a red one in the upper left"."""
    x, y = thing.centre
    colour = looks(thing.colours) or "small"
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} one {region(x / size[0], y / size[1])}"


def counted(things: Sequence[str]) -> list[str]:
    """Descriptions by `brief`, two equal ones taken together: "two red ones in the upper left"."""
    distinct = list(dict.fromkeys(things))
    return [
        re.sub(r"^an? (.*?) one ", r"two \1 ones ", thing) if things.count(thing) == 2 else thing for thing in distinct
    ]
