"""One question and how to ask it, for the tests of the endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.server import Body
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.request import Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.ledger import Ledger
from vtscot.records import Frozen

KEY = "sk-secret-0123456789"
GOOD = '{"colour": "red"}'


class Answer(Frozen):
    colour: str


REQUEST = Request(
    label="mevis/train/dog/0, turn 0, spatial pass",
    system="Answer.",
    content=("What colour is it?",),
    schema_name="answer",
    schema=Answer.model_json_schema(),
)


def settings(url: str | None, **more: object) -> EndpointSettings:
    values: dict[str, object] = {"model": "m", "base_url": url, "backoff_s": 0.01, "max_attempts": 3, "timeout_s": 5}
    return EndpointSettings.model_validate({**values, **more})


def ask(
    ledger: Ledger, settings: EndpointSettings, *requests: Request, check: Callable[[Answer], str] | None = None
) -> tuple[list[str | BaseException], ChatClient]:
    """What each request came to, asked at once; and the client, closed."""

    async def run() -> tuple[list[str | BaseException], ChatClient]:
        client = ChatClient(settings, ledger)
        asked = [client.ask(request, Answer, check or (lambda answer: answer.colour)) for request in requests]
        try:
            return await asyncio.gather(*asked, return_exceptions=True), client
        finally:
            await client.close()

    return asyncio.run(run())


def one(ledger: Ledger, settings: EndpointSettings, check: Callable[[Answer], str] | None = None) -> str:
    result = ask(ledger, settings, REQUEST, check=check)[0][0]
    if isinstance(result, BaseException):
        raise result
    return result


def good(body: Body) -> str:
    return GOOD
