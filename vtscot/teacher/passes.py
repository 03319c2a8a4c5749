"""The three questions that a model is asked about one turn, each with its own pictures, template and answer.

| pass | sees | answers |
|---|---|---|
| temporal | the low-resolution frames; as a private hint the window and what happens | temporal, keyframe |
| spatial | the sharp frames, with the target outlined as a private hint | spatial |
| linguistic | no pictures: the expression, and what the other two passes wrote | linguistic, action |
| single | all of these in the place of the three, for cheap runs | temporal, keyframe, spatial, linguistic, action |

None sees a frame that the policy has not been shown by this turn. `compose` alone makes a Thought of the answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from pydantic import Field

from vtscot.endpoint.answers import BadAnswer
from vtscot.endpoint.request import OUTLINE, Picture, Request
from vtscot.errors import FrameError
from vtscot.grammar import clean, reserved
from vtscot.prompts import render_prompt
from vtscot.records import Frozen, Observation, ShownFrame, Step, Thought
from vtscot.teacher.base import PassTokens, TraceTask
from vtscot.teacher.hints import hints, nearest

if TYPE_CHECKING:
    from vtscot.frames import Frames


class TemporalAnswer(Frozen):
    """What happens when, and the keyframe chosen among the step's candidates."""

    temporal: str = Field(description="what happens when, and which window matters")
    keyframe: int = Field(description="one of the candidate frames")


class SpatialAnswer(Frozen):
    """Where the candidates are and what they look like."""

    spatial: str = Field(description="where the candidates are and what they look like in the sharp frames")


class LinguisticAnswer(Frozen):
    """Which words single out the target, and why the action follows."""

    linguistic: str = Field(description="which words single out the target and which candidates they exclude")
    action: str = Field(description="why look again, or why the answer is sure")


class SingleAnswer(Frozen):
    """A whole thought, and the keyframe."""

    temporal: str = Field(description="what happens when, and which window matters")
    keyframe: int = Field(description="one of the candidate frames")
    spatial: str = Field(description="where the candidates are and what they look like in the sharp frames")
    linguistic: str = Field(description="which words single out the target and which candidates they exclude")
    action: str = Field(description="why look again, or why the answer is sure")

    @property
    def thought(self) -> Thought:
        return Thought(temporal=self.temporal, spatial=self.spatial, linguistic=self.linguistic, action=self.action)


_digests: WeakKeyDictionary[Frames, dict[int, str]] = WeakKeyDictionary()
_sizes: WeakKeyDictionary[Frames, tuple[int, int]] = WeakKeyDictionary()
_HEADINGS: Final = {
    name: re.compile(rf"\A[*#\s]*(?:{step}(?:\s*{title}[:.])?|{title}\s*[:.])[*\s]*", re.IGNORECASE)
    for name, step, title in (
        ("temporal", "step 1:", "temporal dynamics"),
        ("spatial", "step 2:", "spatial details"),
        ("linguistic", "step 3:", "expression analysis"),
        ("action", "action:", "action"),
    )
}
"""A part's own heading at its beginning: the grammar writes it. Any other heading is an answer in the wrong place."""

A = TypeVar("A", TemporalAnswer, SpatialAnswer, LinguisticAnswer, SingleAnswer)
K = TypeVar("K", TemporalAnswer, SingleAnswer)


@dataclass(frozen=True)
class Moment:
    """One turn of a task while it is written: what has been shown and thought up to it."""

    task: TraceTask
    turn: int
    step: Step
    observation: Observation
    shown: frozenset[int]
    earlier: tuple[Thought, ...]
    tokens: PassTokens | None = None

    @property
    def final(self) -> bool:
        return self.turn == len(self.task.plan.steps) - 1

    @property
    def low(self) -> tuple[ShownFrame, ...]:
        """The frames of this observation at low resolution."""
        return tuple(frame for frame in self.observation.frames if frame.role in ("temporal", "window"))

    @property
    def sharp(self) -> tuple[ShownFrame, ...]:
        """The frames of this observation at high resolution."""
        return tuple(frame for frame in self.observation.frames if frame.role in ("spatial", "keyframe"))


@dataclass(frozen=True)
class Pass:
    """One question: its template is `prompts/teacher/NAME.j2`."""

    name: str
    answer: type[Frozen]
    shows: Callable[[Moment], tuple[ShownFrame, ...]]
    outlines: bool = False

    async def prepare(self, moment: Moment, **found: object) -> Request:
        """`request` for an event loop: frames whose digest is not known yet are read in a thread."""
        indices = [frame.index for frame in self.shows(moment)]
        if not _digests.get(moment.task.frames, {}).keys() >= set(indices):
            await asyncio.to_thread(lambda: [_digest(moment.task.frames, index) for index in indices])
        return self.request(moment, **found)

    def request(self, moment: Moment, **found: object) -> Request:
        """The question about this moment; `found` are answers of other passes."""
        parts: list[str | Picture] = []
        for frame in self.shows(moment):
            outline = self.outlines and frame in moment.sharp
            parts += [f"Frame {frame.index}:", _picture(moment, frame, outline=outline)]
        text = render_prompt(f"teacher/{self.name}.j2", **_values(moment), **found)
        return Request(
            label=f"{moment.task.query.id}, turn {moment.turn}, {self.name} pass",
            system=render_prompt("teacher/system.j2"),
            content=(*parts, text),
            schema_name=f"{self.name}_answer",
            schema=_schema(self.answer, moment.step.keyframes),
            seed=moment.task.seed,
            variant=moment.task.variant,
            max_output_tokens=moment.tokens.of(self.name) if moment.tokens is not None else None,
        )


def _picture(moment: Moment, frame: ShownFrame, *, outline: bool) -> Picture:
    task = moment.task
    rle = task.target.rle(frame.index) if outline and task.target is not None else None
    return Picture(
        digest=_digest(task.frames, frame.index),
        index=frame.index,
        max_pixels=frame.max_pixels,
        load=partial(task.frames.image, frame.index, frame.max_pixels),
        outline=rle,
        size=_size(task.frames, frame.index),
    )


def _size(frames: Frames, index: int) -> tuple[int, int] | None:
    """(width, height) of a video's first frame asked for; None where it cannot be read, which is said later."""
    if frames not in _sizes:
        try:
            _sizes[frames] = frames.size(index)
        except FrameError:
            return None
    return _sizes[frames]


def _digest(frames: Frames, index: int) -> str:
    """`frames.digest`, remembered as long as the frames are: many queries show the same ones."""
    known = _digests.setdefault(frames, {})
    if index not in known:
        known[index] = frames.digest(index)
    return known[index]


TEMPORAL: Final = Pass("temporal", TemporalAnswer, lambda moment: moment.low)
SPATIAL: Final = Pass("spatial", SpatialAnswer, lambda moment: moment.sharp, outlines=True)
LINGUISTIC: Final = Pass("linguistic", LinguisticAnswer, lambda moment: ())
SINGLE: Final = Pass("single", SingleAnswer, lambda moment: moment.observation.frames, outlines=True)
PASSES: Final = (TEMPORAL, SPATIAL, LINGUISTIC)


def _values(moment: Moment) -> dict[str, object]:
    """What the templates may use; each takes only what its pass should see."""
    task, selection = moment.task, moment.step.selection
    sharp = [frame.index for frame in moment.sharp]
    return {
        "expression": task.query.expression,
        "num_frames": task.plan.num_frames,
        "earlier": moment.earlier,
        "final": moment.final,
        "has_target": task.target is not None,
        "hints": hints(moment.step.facts, moment.shown),
        "shown": [frame.index for frame in moment.low],
        "shown_so_far": sorted(moment.shown),
        "sharp": sharp,
        "outlined": [i for i in sharp if task.target is not None and task.target.rle(i) is not None],
        "colour": OUTLINE,
        "decoded": moment.observation.decoded,
        "start": selection.start,
        "end": selection.end,
        "shown_start": nearest(selection.start, moment.shown),
        "shown_end": nearest(selection.end, moment.shown),
        "keyframes": moment.step.keyframes,
    }


def _schema(answer: type[Frozen], keyframes: tuple[int, ...]) -> Mapping[str, Any]:
    """The answer's JSON Schema in the strict subset of structured outputs, the keyframe held to the candidates."""
    schema = answer.model_json_schema()
    schema.pop("description", None)
    if "keyframe" in schema["properties"]:
        schema["properties"]["keyframe"]["enum"] = sorted(set(keyframes))
    return schema


def checked(answer: A) -> A:
    """The answer with its texts as clean paragraphs; BadAnswer for an empty text, markup or another part's heading."""
    texts: dict[str, str] = {}
    for name, value in answer:
        if isinstance(value, str):
            texts[name] = text = _HEADINGS[name].sub("", clean(value))
            if not text:
                raise BadAnswer("empty", f"the {name} text is empty")
            if mark := reserved(text):
                raise BadAnswer("markup", f"the {name} text holds the reserved text {mark!r}")
    return answer.model_copy(update=texts)


def checked_keyframe(answer: K, candidates: tuple[int, ...]) -> K:
    """`checked`, and the keyframe must be one of the mined candidates."""
    if answer.keyframe not in candidates:
        raise BadAnswer("invented-frame", f"keyframe {answer.keyframe} is not among {', '.join(map(str, candidates))}")
    return checked(answer)


def compose(temporal: TemporalAnswer, spatial: SpatialAnswer, linguistic: LinguisticAnswer) -> Thought:
    """The thought of a turn from the answers of its three passes."""
    return Thought(
        temporal=temporal.temporal,
        spatial=spatial.spatial,
        linguistic=linguistic.linguistic,
        action=linguistic.action,
    )
