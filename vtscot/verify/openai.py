"""A blind grounder behind an OpenAI-compatible endpoint.

The model sees what a `BlindView` holds: the unmarked frame, the expression and the thought. It answers in whole
numbers from 0 to 1000 across the picture, whatever size it was sent at.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial

from pydantic import Field

from vtscot.endpoint.answers import BadAnswer
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.faults import brief
from vtscot.endpoint.request import Picture, Request
from vtscot.prompts import render_prompt
from vtscot.records import Box, Frozen
from vtscot.verify.base import BlindView

SCALE = 1000


class ScaledBox(Frozen):
    """A box in thousandths of the picture's width and height."""

    x_min: int = Field(ge=0, le=SCALE)
    y_min: int = Field(ge=0, le=SCALE)
    x_max: int = Field(ge=0, le=SCALE)
    y_max: int = Field(ge=0, le=SCALE)


class GroundAnswer(Frozen):
    """The boxes of what the thought points at; none where it is not here."""

    boxes: tuple[ScaledBox, ...]


class OpenAIGrounder:
    """Asks the endpoint where the thought points. The client belongs to whoever made it."""

    def __init__(self, client: ChatClient, *, seed: int = 0) -> None:
        self._client = client
        self._seed = seed

    @property
    def name(self) -> str:
        return f"openai:{self._client.settings.model}"

    async def ground(self, view: BlindView) -> tuple[Box, ...]:
        """Boxes (x, y, width, height) in pixels of the original frame; raises TeacherError and EndpointError."""
        request = await asyncio.to_thread(ground_request, view, self._seed)
        return await self._client.ask(request, GroundAnswer, partial(frame_boxes, size=view.size))


def ground_request(view: BlindView, seed: int) -> Request:
    """The question about one view; the image goes out as it is."""
    from PIL import Image

    height, width = view.image.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode() + view.image.tobytes()).hexdigest()
    picture = Picture(digest, view.frame, width * height, load=partial(Image.fromarray, view.image))
    text = render_prompt("verifier/ground.j2", frame=view.frame, expression=view.expression, thought=view.thought)
    return Request(
        label=f"{brief(view.expression, 80)!r}, blind grounding on frame {view.frame}",
        system=render_prompt("verifier/system.j2"),
        content=(f"Frame {view.frame}:", picture, text),
        schema_name="ground_answer",
        schema=GroundAnswer.model_json_schema(),
        seed=seed,
    )


def frame_boxes(answer: GroundAnswer, size: tuple[int, int]) -> tuple[Box, ...]:
    """The answer's boxes in pixels of a frame of `size` (width, height); raises BadAnswer for an empty box."""
    return tuple(_frame_box(box, *size) for box in answer.boxes)


def _frame_box(box: ScaledBox, width: int, height: int) -> Box:
    if box.x_max <= box.x_min or box.y_max <= box.y_min:
        raise BadAnswer("schema", "a box has no area: x_min and y_min must be less than x_max and y_max")
    x, y = box.x_min * width / SCALE, box.y_min * height / SCALE
    return x, y, (box.x_max - box.x_min) * width / SCALE, (box.y_max - box.y_min) * height / SCALE
