"""The blind grounder behind an endpoint: what it shows, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.server import ScriptedServer, completion, images, texts
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import TeacherError
from vtscot.ledger import Ledger
from vtscot.records import Thought
from vtscot.verify.base import BlindView
from vtscot.verify.openai import OpenAIGrounder

SIZE = (96, 64)  # width, height


def settings(url: str, **more: object) -> EndpointSettings:
    values: dict[str, object] = {"model": "m", "base_url": url, "backoff_s": 0.01, "timeout_s": 10, "max_answers": 2}
    return EndpointSettings.model_validate({**values, **more})


def pixels(url: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def view(size: tuple[int, int] = SIZE) -> BlindView:
    thought = Thought(temporal="It enters.", spatial="A dog in the middle.", linguistic="Only the dog.", action="Sure.")
    return BlindView(np.full((64, 96, 3), 90, np.uint8), size, 12, "the dog", thought)


def ground(ledger: Ledger, url: str, seen: BlindView) -> tuple[tuple[float, float, float, float], ...]:
    async def run() -> tuple[tuple[float, float, float, float], ...]:
        client = ChatClient(settings(url), ledger)
        try:
            return await OpenAIGrounder(client).ground(seen)
        finally:
            await client.close()

    return asyncio.run(run())


def test_the_grounder_answers_in_pixels_of_the_original_frame(ledger: Ledger) -> None:
    with ScriptedServer() as server:
        assert ground(ledger, server.base_url, view((960, 640))) == ((288.0, 192.0, 384.0, 256.0),)
        assert ground(ledger, server.base_url, view((960, 640))) == ((288.0, 192.0, 384.0, 256.0),)
    assert len(server.requests) == 1


def test_the_grounder_shows_the_unmarked_frame_and_the_thought_alone(ledger: Ledger) -> None:
    with ScriptedServer() as server:
        ground(ledger, server.base_url, view())
    body = server.requests[0]
    assert np.abs(pixels(images(body)[0]).astype(int) - 90).max() <= 2
    assert "A dog in the middle." in texts(body)
    assert not {"hint", "outline", "mask", "plan"} & set(texts(body).lower().split())


def test_no_boxes_mean_not_here(ledger: Ledger) -> None:
    with ScriptedServer(lambda body: '{"boxes": []}') as server:
        assert ground(ledger, server.base_url, view()) == ()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([500, 0, 100, 900], id="turned_round"),
        pytest.param([0, 0, 1001, 900], id="outside"),
        pytest.param([0, 0, 0, 0], id="no_area"),
    ],
)
def test_boxes_that_are_none_are_refused(ledger: Ledger, box: list[int]) -> None:
    named = dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
    reply = completion(json.dumps({"boxes": [named]}))
    with ScriptedServer(script=lambda number, body: reply) as server, pytest.raises(TeacherError) as caught:
        ground(ledger, server.base_url, view())
    assert caught.value.reason == "schema"
