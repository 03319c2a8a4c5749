"""What verification rests on: the settings, the blind view, and the protocol of a grounder.

A grounder is blind: it sees the unmarked frame, the expression and the thought of one turn, and the other frames
shown so far. It never sees plan, facts or mask. Its boxes are (x, y, width, height) in pixels of the original frame;
no boxes means "the target is not here".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from vtscot.records import Box, Frozen, Thought
from vtscot.segmenter.base import Image


class VerifySettings(Frozen):
    """Who grades, and the thresholds. All thresholds are inclusive: a value that equals one passes."""

    grounder: str = "words"
    segmenter: str = "grabcut"
    max_pixels: int = Field(default=512 * 28 * 28, gt=0)  # area of the image that grounder and segmenter see
    min_iou: float = Field(default=0.35, ge=0, le=1)  # of the grounded mask, on the answer's decoded frame
    min_ratio: float = Field(default=0.6, ge=0, le=1)  # that IoU over the segmenter's ceiling
    min_ceiling: float = Field(default=0.4, ge=0, le=1)  # below it a frame is not gradable
    min_window_precision: float = Field(default=0.5, ge=0, le=1)  # share of the answer's window that shows the target
    min_window_recall: float = Field(default=0.05, ge=0, le=1)  # share of the target's frames that the window holds
    min_expression_share: float = Field(default=0.5, ge=0, le=1)  # of the expression's content words, in a thought
    max_repetition: float = Field(default=0.8, ge=0, le=1)  # similarity of two turns' thoughts
    min_language: float = Field(default=0.5, ge=0, le=1)  # share of a thought's words that are plain English
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
