"""What verification rests on: the settings, the blind view, and the protocol of a grounder.

A grounder is blind: it sees the unmarked frame, the expression and the thought of one turn, and the other frames
shown so far. It never sees plan, facts or mask. Its boxes are (x, y, width, height) in pixels of the original frame;
no boxes means "the target is not here".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from vtscot.records import Box, Frozen, Thought
from vtscot.segmenter.base import Image


class VerifySettings(Frozen):
    """Who grades, and the thresholds. All thresholds are inclusive: a value that equals one passes."""

    grounder: str = "words"
    segmenter: str = "grabcut"
    checkpoint: str | None = None  # of a segmenter with weights: a folder or an id of the Hub
    device: str = "auto"
    dtype: str = "auto"
    judge: Literal["none", "openai"] = "none"  # who reads expression and thought for entailment, besides
    max_pixels: int = Field(default=1 << 19, gt=0)  # area of the image that grounder and segmenter see
    min_iou: float = Field(default=0.3, ge=0, le=1)  # of the grounded mask with the target's
    min_ratio: float = Field(default=0.7, ge=0, le=1)  # that IoU over the segmenter's ceiling, on the answer's frame
    min_earlier_ratio: float = Field(default=0.3, ge=0, le=1)  # the same on the frames of earlier turns
    min_earlier_area: float = Field(
        default=0.002, ge=0, le=1
    )  # share of such a frame from which a target is held to it
    min_ceiling: float = Field(default=0.35, ge=0, le=1)  # below it a frame is not gradable
    min_part: float = Field(
        default=0.3, ge=0, le=1
    )  # of each piece of the target, and of each box, on the answer's frame
    min_visible: float = Field(default=0.0005, ge=0, le=1)  # share of the frame from which a target is plainly visible
    min_window_precision: float = Field(default=0.5, ge=0, le=1)  # share of the answer's window that shows the target
    min_window_iou: float = Field(default=0.4, ge=0, le=1)  # of the answer's window with the frames that show it
    window_frames: int = Field(default=12, ge=0)  # of the answer's window that a tracker is followed to; 0: none
    min_window_ratio: float = Field(default=0.6, ge=0, le=1)  # IoU along the window, over what the tracker reaches
    min_expression_share: float = Field(default=0.6, ge=0, le=1)  # of the expression's content words, in a thought
    max_repetition: float = Field(default=0.5, ge=0, le=1)  # shared word triples of two turns' thoughts
    max_part_repetition: float = Field(default=0.7, ge=0, le=1)  # the same of one part, from 20 words on
    min_language: float = Field(default=0.3, ge=0, le=1)  # share of English function words in each part of a thought
    min_words: int = Field(default=30, ge=0)  # of one thought
    max_words: int = Field(default=400, gt=0)


@dataclass(frozen=True, slots=True)
class ShownImage:
    """Another frame that had been shown by this turn; `load` decodes it (RGB, shape (H, W, 3)) when asked."""

    index: int
    load: Callable[[], Image]


@dataclass(frozen=True, slots=True)
class BlindView:
    """All that a grounder may see of one turn."""

    image: Image  # the unmarked decoded frame, maybe smaller than the original
    size: tuple[int, int]  # (width, height) of the original frame
    frame: int  # its index
    expression: str
    thought: Thought
    shown: tuple[ShownImage, ...] = ()


class Ungroundable(Exception):
    """The thought names no place, colour or thing that could be looked for."""


class Grounder(Protocol):
    """A back end; `name` is what recipes and verdicts call it."""

    @property
    def name(self) -> str: ...

    async def ground(self, view: BlindView) -> tuple[Box, ...]:
        """Boxes of what the thought points at; () for "not here"; raises Ungroundable where it points at nothing."""
        ...
