"""The brief style: few words in a fixed order, for policies of a million parameters and a cold start of minutes.

Temporal: every low-resolution frame of the observation with yes or no, then from where to where the target is there (in
the first turn and the last one), and the window of a look if it is another. Saying yes or no right after a frame's
number makes presence one decision per frame, and what is said of the whole video can be read off the answers. Spatial:
colour, place and size on the decoded frame. Linguistic: of what the words that count speak; the words themselves are
not repeated, because so small a policy does not learn in minutes to copy whatever it is asked. Action: look or answer,
near which frame.

    The red target: 0 no, 4 no, 9 yes, 13 yes, 18 no. It is there from 9 to 13.
    In frame 24 the target is red, a third of the way across, halfway down, a fifth as wide and a quarter as tall.
    What counts is the colour and the time.
    I am sure near frame 13.

There are no synonyms and no seeds; only shown frames are named, as in the full style.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vtscot.records import Box, Thought
from vtscot.teacher.oracle.moment import Moment
from vtscot.teacher.oracle.scene import Scene, Thing
from vtscot.teacher.oracle.words import listed
from vtscot.words.colours import kin_of, names_of, read_colours
from vtscot.words.cues import cues_of
from vtscot.words.english import NEGATIONS, NUMBERS, word_set, words_of
from vtscot.words.places import PLACES, nearest, nearest_size

SIZE_WORDS: Final = word_set("big bigger biggest large larger largest small smaller smallest tiny tall short long")
PLACE_WORDS: Final = word_set(
    "left right top bottom above below under over behind beside between near nearer nearest far farther farthest front "
    "middle corner edge side upper lower next"
)
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")


def compose_briefly(moment: Moment) -> Thought:
    """The thought of one turn, in the brief style."""
    return Thought(
        temporal=f"{_table(moment)} {_window(moment)}",
        spatial=_places(moment),
        linguistic=_words(moment),
        action=_action(moment),
    )


def _table(moment: Moment) -> str:
    """Presence per frame of the strip: the sharp frame is left to the spatial part."""
    strip = _strip(moment)
    seen = set(moment.scene.trail(strip).seen)
    answers = ", ".join(f"{i} {'yes' if i in seen else 'no'}" for i in strip)
    colour = _colour(moment)
    return f"The {colour + ' ' if colour else ''}{'targets' if moment.plural else 'target'}: {answers}."


def _strip(moment: Moment) -> list[int]:
    """The low-resolution frames of the observation: of the video, or of the window looked at."""
    return sorted({frame.index for frame in moment.observation.frames if frame.role in ("temporal", "window")})


def _window(moment: Moment) -> str:
    """Where the target is there, said by the first turn and the answer; the window of a look, if it is another.

    A query without a target has no window worth a word.
    """
    if moment.absent:
        return "It is in none."
    window = moment.bounds()
    there = window if moment.answers else _seen_at_first(moment)
    sentences = [f"{'They are' if moment.plural else 'It is'} there from {there[0]} to {there[1]}."] if there else []
    if there != window:
        sentences.append(f"I look from {window[0]} to {window[1]}.")
    return " ".join(sentences)


def _seen_at_first(moment: Moment) -> tuple[int, int] | None:
    """From where to where the first table says yes; without a yes, what the sharp frames show."""
    if moment.turn:
        return None
    seen = moment.scene.trail(_strip(moment)).seen or moment.scene.trail(moment.shown).seen
    return (seen[0], seen[-1]) if seen else None


def _places(moment: Moment) -> str:
    """Where the targets are on the decoded frame, a sentence each."""
    frame = moment.observation.decoded
    things = moment.scene.targets(frame)
    if not things:
        return f"In frame {frame} {moment.subject} {'are' if moment.plural else 'is'} not here."
    return " ".join(_place(moment, frame, thing, number, len(things)) for number, thing in enumerate(things))


def _place(moment: Moment, frame: int, thing: Thing, number: int, count: int) -> str:
    ordinal = (ORDINALS[number] if number < len(ORDINALS) else "next") + " " if count > 1 else ""
    colour = _worn(moment.expression, thing) or next(iter(thing.colours), "")
    where = say_briefly(thing.box, moment.scene.size)
    return f"In frame {frame} the {ordinal}target is {colour + ', ' if colour else ''}{where}."


def say_briefly(box: Box, size: tuple[int, int]) -> str:
    """Centre and sides of a box in shares of the frame's `size` (width, height); `read_place` reads it back."""
    w, h = box[2] / size[0], box[3] / size[1]
    x, y = box[0] / size[0] + w / 2, box[1] / size[1] + h / 2
    sides = f"{nearest_size(w)} as wide and {nearest_size(h)} as tall"
    return f"{nearest(PLACES, x)} across, {nearest(PLACES, y)} down, {sides}"


def _colour(moment: Moment) -> str:
    """The colour that the expression names, if a target wears it where it was first seen.

    Of a target that is told by something else a colour is not said before the frames are looked at: it would have to
    be known who is meant before the first look, and all that follows would be about whoever wears it.
    """
    first = _first_sighting(moment.scene, moment.shown)
    named = read_colours(moment.expression)
    worn = named if first is None else (w for w in named if any(_wears(w, t) for t in moment.scene.targets(first)))
    return next(iter(worn), "")


def _first_sighting(scene: Scene, shown: Sequence[int]) -> int | None:
    return next((frame for frame in scene.trail(shown).seen if scene.targets(frame)), None)


def _worn(expression: str, thing: Thing) -> str | None:
    """The first colour word of the expression that fits the thing."""
    return next((word for word in read_colours(expression) if _wears(word, thing)), None)


def _wears(word: str, thing: Thing) -> bool:
    """True where the colour is the thing's, light and shade allowed for."""
    return bool(set(names_of(word)) & set(thing.colours) or (thing.colours and kin_of(word).issuperset(thing.colours)))


def _words(moment: Moment) -> str:
    """What the expression goes by, as far as its words say so."""
    words = set(words_of(moment.expression))
    named = {
        "the colour": bool(read_colours(moment.expression)),
        "the size": bool(words & SIZE_WORDS),
        "the number": bool(words & NUMBERS),
        "the place": bool(words & PLACE_WORDS),
        "the time": cues_of(moment.expression).weight > 0,
        "what is not meant": bool(words & NEGATIONS),
    }
    kinds = [kind for kind, there in named.items() if there]
    return f"What counts is {listed(kinds or ['the shape'])}."


def _action(moment: Moment) -> str:
    if moment.absent:
        return "I am sure that it is not here." if moment.answers else "I look again to be sure."
    seen = moment.scene.trail(moment.shown).seen or moment.shown
    near = min(seen, key=lambda frame: (abs(frame - moment.selection.keyframe), frame))
    return f"{'I am sure' if moment.answers else 'I look closer'} near frame {near}."
