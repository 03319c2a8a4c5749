"""Phrasings of the oracle, several for each thing it may say, and the one who picks among them.

`{subject}` is "the target" or "the targets"; sentences about other objects say so ("other", "another"), so that a
reader of the thought can tell what is meant from what is excluded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np

OVERVIEW: Final = (
    "The frames from {a} to {b} give an overview of the whole video.",
    "I go through the video once, from frame {a} to frame {b}.",
    "First I follow what happens between frame {a} and frame {b}.",
    "Taken in order, the frames from {a} to {b} tell how the scene develops.",
)
CLOSER: Final = (
    "The new frames from {a} to {b} follow this stretch more closely.",
    "Between frame {a} and frame {b} I can now watch things step by step.",
    "This time only the part from frame {a} to frame {b} is shown, at a finer pace.",
    "With the frames from {a} to {b} the decisive part is in front of me.",
)
ALWAYS: Final = (
    "{Subject} can be seen in each of them.",
    "{Subject} {stay} in view all along.",
    "In all of these frames {subject} {be} there.",
    "At no point shown here do I lose sight of {subject}.",
)
NEVER: Final = (
    "None of the frames shown so far lets me make out {subject}, so it must be a matter of the frames in between.",
    "I cannot make out {subject} in any frame so far, which leaves the moments between them.",
)
COMES: Final = (
    "{Subject} {be} missing in frame {a} and {have} come into view by frame {b}.",
    "In frame {a} there is no trace yet of {subject}, but frame {b} has it.",
    "Somewhere between frame {a} and frame {b} {subject} {appear}.",
    "Frame {b} is the first one shown with {subject}, and in frame {a} there was nothing to be seen of it.",
)
GOES: Final = (
    "In frame {a} {subject} {be} still there, in frame {b} no longer.",
    "After frame {a} {subject} {go} out of view, since frame {b} lacks it.",
    "{Subject} {be} lost from sight between frame {a} and frame {b}.",
    "Frame {a} is the last one shown with {subject}, as frame {b} proves.",
)
GAP: Final = (
    "{Subject} {be} out of sight after frame {a} and back by frame {b}.",
    "There is a break: after frame {a} {subject} {return} only in frame {b}.",
    "Between frame {a} and frame {b} {subject} {drop} out of view for a while and then {come} back.",
)
MOVES: Final = (
    "From frame {a} to frame {b} it moves {way} through the picture.",
    "Its place shifts {way} between frame {a} and frame {b}.",
    "Comparing frame {a} with frame {b}, it has gone {way}.",
    "Over frames {a} to {b} it travels {way}.",
)
RETURNS: Final = (
    "It goes {way} until about frame {m} and then back again by frame {b}.",
    "Up to frame {m} it heads {way}, after that it comes back towards where it was.",
    "Around frame {m} it turns: before, it moves {way}, later it comes back.",
)
RESTS: Final = (
    "From frame {a} to frame {b} it hardly changes its place.",
    "It keeps to nearly the same spot from frame {a} to frame {b}.",
    "Frames {a} and {b} show it in about the same place.",
    "It barely moves between frame {a} and frame {b}.",
)
STOPS: Final = (
    "From about frame {m} on it stands still.",
    "By frame {m} it has come to rest.",
    "It no longer moves once frame {m} is reached.",
)
MEETS: Final = (
    "Around frame {m} it comes close to another object.",
    "In frame {m} another object is right beside it.",
    "About frame {m} its way leads it near another object.",
)
CHANGES: Final = (
    "Its colour is {before} in frame {a} but {after} in frame {b}.",
    "In frame {a} it still looks {before}, in frame {b} it looks {after}.",
    "Between frame {a} and frame {b} it changes from {before} to {after}.",
)
GROWS: Final = (
    "It also becomes larger on the way.",
    "By the end it takes up clearly more of the picture.",
    "Meanwhile it grows in the picture.",
)
SHRINKS: Final = (
    "It also becomes smaller on the way.",
    "By the end it takes up clearly less of the picture.",
    "Meanwhile it shrinks in the picture.",
)
MATTERS: Final = (
    "What decides the matter happens {around}.",
    "The part to watch lies {around}.",
    "The telling moments fall {around}.",
    "So the stretch that counts lies {around}.",
)
COVERS: Final = (
    "The answer is therefore the stretch {around}.",
    "That settles the window, which lies {around}.",
    "An answer has to cover the time {around}.",
    "So the window to answer with lies {around}.",
)
FOLLOWED: Final = (
    "I follow everything that can be told apart from frame to frame, and nothing does what the query asks for.",
    "Whatever comes and goes there, nothing behaves as the query has it.",
    "Watching each thing in turn, I find no moment that the query could mean.",
    "At no time shown does anything match the description.",
)

HERE: Final = (
    "In frame {d} {the} is {place}; it looks {colours}.",
    "In frame {d} I find {the} {place}, and its colour is {colours}.",
    "In frame {d} {the}, {colours} in colour, is {place}.",
    "Frame {d} has {the} {place}; by its colour it is {colours}.",
)
HERE_PLAIN: Final = (
    "In frame {d} {the} is {place}.",
    "In frame {d} I find {the} {place}.",
)
NOT_HERE: Final = (
    "In frame {d} {subject} {be} not in view.",
    "{Subject} {be} not in this frame, number {d}.",
    "Frame {d} does not show {subject}.",
    "I cannot find {subject} anywhere in frame {d}.",
)
NOTHING_HERE: Final = (
    "The target is not here: frame {d} holds nothing that fits the query.",
    "In frame {d} the target is not to be found, since there is nothing that fits.",
    "Nothing in frame {d} fits the query, so the target is not here.",
    "Frame {d} shows no such thing; the target is not in this frame.",
)
ANOTHER: Final = (
    "Another object is {things}, but it is not the one.",
    "There is another object, {things}, which does not fit.",
    "Besides, I rule out another object, {things}.",
    "The other object here, {things}, is not meant.",
)
OTHERS: Final = (
    "Other objects are {things}; they are not meant.",
    "I rule out the other things in view: {things}.",
    "There are other objects too, namely {things}, which do not fit.",
    "The others here, {things}, are something else.",
)
ALONE: Final = (
    "Nothing else nearby could be mistaken for it.",
    "It is easy to tell from the background around it.",
    "No rival of similar looks is close to it.",
)
SHARP: Final = (
    "Its edges are clear enough there to tell where it ends.",
    "The frame is sharp enough to follow its border.",
    "It can be told apart well from what lies behind it.",
)

QUOTE: Final = (
    'The query reads "{exp}".',
    'I am asked for "{exp}".',
    'The words to satisfy are "{exp}".',
    'Once more, the request is "{exp}".',
)
COLOUR: Final = (
    "{words} {name} the colour, and that is how the target looks.",
    "The colour asked for, {words}, is what I see on the target.",
    "By colour, {words} {agree} with what I have found.",
)
EXCLUDES: Final = (
    "That leaves out {things}.",
    "With that, {things} cannot be meant.",
    "This rules out {things}.",
)
TIME: Final = (
    "{words} {speak} of what happens over time, which no single frame can settle.",
    "To judge {words}, one has to compare several frames.",
    "{words} {be} about the course of events, so the order of the frames counts.",
    "Only the change from frame to frame shows whether {words} {hold}.",
)
RIVALS: Final = (
    "Looks alone do not suffice, because {things} would pass as well; {words} {decide}.",
    "To tell the target from {things}, one needs {words}.",
    "What sets the target apart from {things} {be} {words}.",
)
SEVERAL: Final = (
    "{words} {ask} for more than one object, so all that fit are meant together.",
    "Because of {words}, every object that fits belongs to the answer.",
)
NEGATION: Final = (
    "{words} {tell} what to leave aside, so whatever has that property is excluded.",
    "Through {words} a property is denied, and whatever has it is excluded.",
)
PLAIN: Final = (
    "Taken together, {words} {describe} the target and nothing else that I see.",
    "{words} {be} met by the target alone.",
    "I check {words} one by one, and the target satisfies them.",
    "{words} {single} out the target among all that is shown.",
)
PLAIN_ONE: Final = (
    "{words} fits the target and nothing else that I see.",
    "I look for {words}, and only the target meets it.",
    "{words} singles out the target among all that is shown.",
)
PLAIN_NONE: Final = (
    "I check the query word by word, {words}, and whatever meets some of it fails the rest.",
    "Nothing shown satisfies {words} all at once.",
    "For {words} together there is no candidate left.",
    "{words} {find} nothing here that they could name.",
)

LOOK: Final = (
    "I want to look again at what happens {around}, {reason}.",
    "Before I answer, I ask to see more of the time {around}, {reason}.",
    "The next step is a closer look at the time {around}, {reason}.",
    "Let me see the part {around} in more detail, {reason}.",
)
UNSEEN: Final = (
    "because frame {d} does not show what I am looking for",
    "since frame {d}, which I have just studied, lacks the target",
)
RIVALRY: Final = (
    "because objects of like appearance have to be told apart",
    "since more than one thing could still be meant by its looks",
    "so that I do not confuse the target with its look-alikes",
)
TIMING: Final = (
    "because the query turns on when things happen",
    "since the motion can be judged only with frames that lie closer together",
    "so that I can check the course of events",
)
SHARPER: Final = (
    "because a sharper view will show the target better",
    "so that I can place the target more exactly",
    "since the target deserves a larger picture than this one",
)
CHECKING: Final = (
    "to make sure that nothing has been overlooked",
    "so that a brief appearance would not escape me",
)
CONFIRM: Final = (
    "Time, place and words agree, so I confirm what I have found and the window {around}.",
    "There is nothing left to check; I answer with the stretch {around}.",
    "I am sure enough to answer now, with the window {around}.",
    "All three steps point the same way, hence I settle on the window {around}.",
)
CONFIRM_NONE: Final = (
    "I answer that nothing shown is meant, having checked the time {around}.",
    "There is no use in looking further, so I answer with an empty result for the time {around}.",
    "I confirm that the query means nothing that can be seen {around}.",
)


class Phrases:
    """Picks phrasings for one turn: the order of each bank comes from seed and query, the place in it from the turn.

    So two turns of an episode do not use the same phrasing as long as the bank has another.
    """

    def __init__(self, seed: int, query_id: str, turn: int) -> None:
        self._name = f"vtscot-oracle/{seed}/{query_id}"
        self._turn = turn

    def rng(self, what: str) -> np.random.Generator:
        """The generator of one purpose."""
        digest = hashlib.sha256(f"{self._name}/{what}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def pick(self, bank: Sequence[str], skip: int = 0) -> str:
        """A phrasing; `skip` asks for the next ones where a turn needs several of one bank."""
        order = self.rng(bank[0]).permutation(len(bank))
        return bank[int(order[(self._turn + skip) % len(bank)])]

    def variant(self, what: str, count: int, skip: int = 0) -> int:
        """A number below `count` that differs from turn to turn."""
        return (int(self.rng(what).integers(count)) + self._turn + skip) % count


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_PLURAL: Final = {"be": "are", "have": "have"}
_SINGULAR: Final = {"be": "is", "have": "has", "go": "goes"}


def agree(template: str, *, plural: bool, **values: str) -> str:
    """Fill a template whose verbs stand in braces as infinitives, in the right number."""

    class _Verbs(dict[str, str]):
        def __missing__(self, verb: str) -> str:
            return _PLURAL.get(verb, verb) if plural else _SINGULAR.get(verb, verb + "s")

    return capital(template.format_map(_Verbs(values)))
