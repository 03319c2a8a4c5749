"""Asking an endpoint over real HTTP: forms of request, answers dug out, what is paid once, keys that stay secret."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.asking import GOOD, KEY, REQUEST, Answer, ask, good, one, settings
from tests.server import (
    Reply,
    ScriptedServer,
    completion,
    envelope,
    error,
    html,
    images,
    late,
    schema_of,
    texts,
)
from vtscot.endpoint.answers import json_object
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.faults import shown_url
from vtscot.endpoint.request import Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import EndpointError, TeacherError, UsageError, VtscotError
from vtscot.ledger import Ledger


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize(
    ("formats", "asked"),
    [
        pytest.param({"json_schema", "json_object"}, ["json_schema"], id="all"),
        pytest.param({"json_object"}, ["json_schema", "json_object"], id="json_object_only"),
        pytest.param(set[str](), ["json_schema", "json_object", None], id="neither"),
    ],
)
def test_servers_without_json_schema_get_it_in_words(
    ledger: Ledger, formats: set[str], asked: list[str | None]
) -> None:
    again = dataclasses.replace(REQUEST, system="another")
    with ScriptedServer(formats=frozenset(formats)) as server:
        assert one(ledger, settings(server.base_url))
        assert [body.get("response_format", {}).get("type") for body in server.requests] == asked
        assert schema_of(server.requests[-1]) == REQUEST.schema
        results, _ = ask(ledger, settings(server.base_url), REQUEST, again)
        assert not any(isinstance(result, BaseException) for result in results)


def test_a_client_remembers_what_the_server_lacks(ledger: Ledger) -> None:
    async def run(url: str) -> None:
        client = ChatClient(settings(url), ledger)
        for i in range(3):
            await client.ask(dataclasses.replace(REQUEST, system=f"Answer {i}."), Answer, lambda answer: answer)
        await client.close()

    with ScriptedServer(formats=frozenset()) as server:
        asyncio.run(run(server.base_url))
        assert len(server.requests) == 2 + 3


def test_a_server_that_ignores_the_format_is_told_in_words(ledger: Ledger) -> None:
    with ScriptedServer(ignores_format=True) as server:
        assert one(ledger, settings(server.base_url))
        assert len(server.requests) == 2
        assert "JSON Schema" in texts(server.requests[1])


@pytest.mark.parametrize(
    ("message", "gone", "come"),
    [
        pytest.param("Use 'max_completion_tokens' instead.", "max_tokens", "max_completion_tokens", id="limit"),
        pytest.param("'temperature' does not support 0.7", "temperature", None, id="temperature"),
        pytest.param("Unknown parameter: seed", "seed", None, id="seed"),
    ],
)
def test_a_refused_parameter_is_left_out(ledger: Ledger, message: str, gone: str, come: str | None) -> None:
    with ScriptedServer(good, [error(400, message)]) as server:
        assert one(ledger, settings(server.base_url)) == "red"
        before, after = server.requests
        assert gone in before
        assert gone not in after
        assert come is None or come in after


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD, id="plain"),
        pytest.param(f"```json\n{GOOD}\n```", id="fenced"),
        pytest.param(f"Here it is:\n```\n{GOOD}\n```\nI hope it helps {{}}.", id="fenced_with_words"),
        pytest.param(f"<think>It could be {{red}} or {{}}</think>\n{GOOD}", id="after_musings"),
        pytest.param(f"The answer: {GOOD} as asked.", id="in_words"),
        pytest.param('{"colour": "blue"}, or rather not</think>' + GOOD, id="musings_that_begin_with_an_answer"),
    ],
)
def test_json_is_dug_out(text: str) -> None:
    assert json_object(text) == {"colour": "red"}


def test_reasoning_does_not_disturb(ledger: Ledger) -> None:
    with ScriptedServer(good, [completion(GOOD, reasoning_content="Hmm {", reasoning="Hmm")]) as server:
        assert one(ledger, settings(server.base_url)) == "red"


def test_reasoning_is_kept_and_never_taken_for_the_answer(ledger: Ledger) -> None:
    replies = [
        completion(None, reasoning_content=GOOD),
        completion("", reasoning=GOOD),
        completion(f"<think>{GOOD}"),
        completion("{}", finish_reason="length", reasoning_content=GOOD),
    ]
    for number, reply in enumerate(replies):
        with ScriptedServer(good, [reply]) as server:
            request = dataclasses.replace(REQUEST, system=f"Answer {number}.")
            results, _ = ask(ledger, settings(server.base_url, max_answers=1), request)
            assert isinstance(results[0], TeacherError), results
            assert results[0].reason in ("empty", "not-json", "cut-off")
    assert ledger.usage().answers == len(replies)
    stored = ledger.answer(dataclasses.replace(REQUEST, system="Answer 0.").key(settings(None).asks(), 0))
    assert stored is not None
    assert json.loads(stored)["choices"][0]["message"]["reasoning_content"] == GOOD


def test_content_in_parts_is_read(ledger: Ledger) -> None:
    body = envelope(None)
    body["choices"][0]["message"]["content"] = [
        {"type": "text", "text": '{"colour": '},
        {"type": "text", "text": '"red"}'},
    ]
    with ScriptedServer(good, [Reply(content=json.dumps(body).encode())]) as server:
        assert one(ledger, settings(server.base_url)) == "red"


def test_offline_never_sends(ledger: Ledger) -> None:
    async def run(url: str, request: Request) -> str:
        client = ChatClient(settings(url), ledger, offline=True)
        return await client.ask(request, Answer, lambda answer: answer.colour)

    with ScriptedServer(good) as server:
        one(ledger, settings(server.base_url))
        assert asyncio.run(run(server.base_url, REQUEST)) == "red"
        with pytest.raises(TeacherError) as caught:
            asyncio.run(run(server.base_url, dataclasses.replace(REQUEST, system="another")))
        assert caught.value.reason == "not-in-ledger"
        assert len(server.requests) == 1


def test_transport_is_no_part_of_what_is_asked(ledger: Ledger) -> None:
    with ScriptedServer(good) as server, ScriptedServer(good) as other:
        one(ledger, settings(server.base_url))
        one(ledger, settings(other.base_url, concurrency=99, timeout_s=77, max_attempts=1, max_answers=9, backoff_s=2))
        assert other.requests == []
        one(ledger, settings(other.base_url, temperature=0.1))
        one(ledger, settings(other.base_url, model="another"))
        assert len(other.requests) == 2


def test_the_key_is_sent_and_never_told(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    echo = [error(401, f"Incorrect API key provided: {'x' * 280}{KEY}"), completion(f'{{"colour": "{KEY}"}}')]
    for reply in [*echo, error(400, f"seed {KEY}"), error(500, KEY), completion(KEY), html(200)]:
        with ScriptedServer(good, lambda number, body, reply=reply: reply if number < 3 else None) as server:  # type: ignore[misc]
            request = dataclasses.replace(REQUEST, system=f"Answer {len(told)}.")
            result, client = ask(ledger, settings(server.base_url), request)
            assert server.headers[0]["authorization"] == f"Bearer {KEY}"
            told += [repr(result), repr(client), repr(vars(client.settings))]
            told += ["".join(traceback.format_exception(e)) for e in result if isinstance(e, BaseException)]
    told += [caplog.text, *capfd.readouterr()]
    assert KEY not in "".join(told)
    assert not any(KEY[:12] in text for text in told)
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_local_server_needs_no_key(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with ScriptedServer(good) as server:
        assert one(ledger, settings(server.base_url)) == "red"


@pytest.mark.parametrize(
    ("key", "values", "kind", "message"),
    [
        pytest.param(None, {"base_url": None}, EndpointError, "set the variable OPENAI_API_KEY", id="no_key"),
        pytest.param("sk-\N{SNOWMAN}", {}, EndpointError, "OPENAI_API_KEY holds characters", id="odd_key"),
        pytest.param("sk a", {}, EndpointError, "OPENAI_API_KEY holds characters", id="key_with_space"),
        pytest.param(KEY, {"model": None}, UsageError, "--model", id="no_model"),
        pytest.param(KEY, {"base_url": "http://h:port/v1"}, UsageError, "--base-url", id="odd_port"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_sent(
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    values: dict[str, object],
    kind: type[VtscotError],
    message: str,
) -> None:
    if key is None:
        monkeypatch.delenv("OPENAI_API_KEY")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(kind, match=message) as caught:
        one(ledger, settings("http://127.0.0.1:1/v1", **values))
    assert key is None or key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http://", "http:///v1", "http://a b/v1"])
def test_what_is_no_address_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ValidationError):
        EndpointSettings(base_url=url)


def test_an_address_is_shown_without_its_password() -> None:
    assert shown_url("https://me:word@host:1/v1?token=x#y") == "https://host:1/v1"


def test_a_ctrl_c_keeps_what_had_come(ledger: Ledger) -> None:
    async def run(url: str) -> None:
        client = ChatClient(settings(url), ledger)
        first = await client.ask(REQUEST, Answer, lambda answer: answer.colour)
        second = asyncio.create_task(client.ask(dataclasses.replace(REQUEST, system="b"), Answer, lambda a: a.colour))
        await asyncio.sleep(0.1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await client.close()
        assert first == "red"

    with ScriptedServer(good, [None, late(2)]) as server:
        asyncio.run(run(server.base_url))
        assert one(ledger, settings(server.base_url)) == "red"
        assert len(server.requests) == 2


def test_requests_without_pictures_are_plain_text(ledger: Ledger) -> None:
    with ScriptedServer(good) as server:
        one(ledger, settings(server.base_url))
        assert server.requests[0]["messages"][1] == {"role": "user", "content": "What colour is it?"}
        assert images(server.requests[0]) == []
