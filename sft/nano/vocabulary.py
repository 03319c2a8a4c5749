"""The tokenizer of nano: trained on what a dialogue about demo videos may hold, in both of the oracle's styles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from vtscot.demo.palette import COLOURS
from vtscot.grammar import render_thought
from vtscot.policy.texts import texts_of
from vtscot.policy.tokenizer import train_tokenizer
from vtscot.records import Thought
from vtscot.sft.nano.world import Clip
from vtscot.words.places import PLACES, SIZES

NUMBERS: Final = 128  # the frames of a demo video and a few more
SIZE: Final = 1024 + NUMBERS
_REPEATED: Final = 6  # brief texts count more than full ones: they are what nano writes


def nano_tokenizer(clips: Iterable[Clip]) -> Any:
    """Words of the demo's expressions, of the brief style and of full thoughts; brief words and frames' numbers are one
    token each."""
    return train_tokenizer([*texts_of(None), *_expressions(clips), *_brief()], SIZE, NUMBERS)


def _expressions(clips: Iterable[Clip]) -> Iterator[str]:
    for clip in clips:
        for query in clip.queries:
            yield from query.texts[:3]


def _brief() -> Iterator[str]:
    places, sizes = list(PLACES), list(SIZES)
    for turn in range(_REPEATED * 200):
        colour = list(COLOURS)[turn % len(COLOURS)]
        across, down = places[turn % len(places)], places[(turn * 7) % len(places)]
        wide, tall = sizes[turn % len(sizes)], sizes[(turn * 5) % len(sizes)]
        noun, verb, there = ("targets", "are", "They are") if turn % 3 else ("target", "is", "It is")
        window = (f"{there} there from 9 to 13.", "I look from 4 to 22.", "It is in none.")[turn % 3]
        action = (
            "I look closer near frame 13.",
            "I am sure near frame 13.",
            "I look again to be sure.",
            "I am sure that it is not here.",
        )[turn % 4]
        thought = Thought(
            temporal=f"The {colour} {noun}: 0 no, 4 no, 9 yes, 13 yes, 18 no. {window}",
            spatial=f"In frame 24 the target is {colour}, {across} across, {down} down,"
            f" {wide} as wide and {tall} as tall."
            f" In frame 24 the {noun} {verb} not here. In frame 24 the first target is {colour}, the second, third,"
            " fourth, fifth target is turquoise",
            linguistic='The words that count are "red square leaves first".',
            action=action,
        )
        yield render_thought(thought)
        yield from ("system\n", "user\n", "assistant\n")
