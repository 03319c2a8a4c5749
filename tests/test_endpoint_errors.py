"""What a server can do wrong, each met over real HTTP: retried, refused with a reason, or the end of the run."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.server import (
    Body,
    Reply,
    ScriptedServer,
    completion,
    cut,
    envelope,
    error,
    html,
    images,
    late,
    schema_of,
    texts,
)
from vtscot.endpoint.answers import BadAnswer, json_object
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.faults import pause, retry_after, shown_url
from vtscot.endpoint.request import Request
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import EndpointError, TeacherError, UsageError, VtscotError
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


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


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


TRANSIENT = {
    "rate limit": (error(429), "rate-limited"),
    "server error": (error(500), "server-error"),
    "bad gateway with a page": (html(502), "server-error"),
    "unavailable": (error(503), "server-error"),
    "late": (late(2), "time-out"),
    "cut connection": (cut(), "connection"),
    "a page in the place of JSON": (html(200), "not-json"),
    "JSON that is no completion": (Reply(content=b'{"hello": 1}'), "not-json"),
    "JSON nested too deep": (Reply(content=b"[" * 100_000), "not-json"),
    "an error with status 200": (Reply(content=b'{"error": {"message": "overloaded"}}'), "server-error"),
}


@pytest.mark.parametrize("reply", [reply for reply, _ in TRANSIENT.values()], ids=TRANSIENT)
def test_what_may_pass_is_sent_again(ledger: Ledger, reply: Reply) -> None:
    with ScriptedServer(good, [reply, reply]) as server:
        assert one(ledger, settings(server.base_url, timeout_s=0.5)) == "red"
        assert len(server.requests) == 3


@pytest.mark.parametrize(("reply", "reason"), TRANSIENT.values(), ids=TRANSIENT)
def test_what_does_not_pass_fails_the_query_and_can_be_tried_again(ledger: Ledger, reply: Reply, reason: str) -> None:
    with ScriptedServer(good, lambda number, body: reply) as server:
        with pytest.raises(TeacherError, match="mevis/train/dog/0") as caught:
            one(ledger, settings(server.base_url, timeout_s=0.3, max_attempts=2))
        assert (caught.value.reason, caught.value.retryable) == (reason, True)
        assert len(server.requests) == 2
        server.script = ()
        assert one(ledger, settings(server.base_url)) == "red"


UNUSABLE = {
    "no choices": (Reply(content=b'{"choices": []}'), "empty", True),
    "no message": (Reply(content=b'{"choices": [null]}'), "empty", True),
    "no text": (completion(None), "empty", True),
    "white space": (completion(" \n"), "empty", True),
    "cut off": (completion(GOOD, finish_reason="length"), "cut-off", True),
    "broken JSON": (completion('{"colour": "re'), "not-json", True),
    "prose": (completion("It is red."), "not-json", True),
    "a list": (completion('["red"]'), "not-json", True),
    "another schema": (completion('{"color": "red"}'), "schema", True),
    "another type": (completion('{"colour": ["red"]}'), "schema", True),
    "a refusal": (completion(None, refusal="I cannot do that."), "refused", False),
    "a content filter": (completion("", finish_reason="content_filter"), "refused", False),
}


@pytest.mark.parametrize(("reply", "reason", "again"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_answer_is_kept_and_another_asked_for(
    ledger: Ledger, reply: Reply, reason: str, again: bool
) -> None:
    with ScriptedServer(good, lambda number, body: reply) as server:
        for _ in range(2):  # the second time all comes from the ledger
            with pytest.raises(TeacherError, match="mevis/train/dog/0") as caught:
                one(ledger, settings(server.base_url, max_answers=2))
            assert (caught.value.reason, caught.value.retryable) == (reason, again)
            assert len(server.requests) == (2 if again else 1)
        assert ledger.usage().answers == len(server.requests)


def test_a_better_answer_is_used_and_replayed_for_nothing(ledger: Ledger) -> None:
    with ScriptedServer(good, [completion("{"), completion('{"a": 1}')]) as server:
        assert one(ledger, settings(server.base_url)) == "red"
        assert one(ledger, settings(server.base_url)) == "red"
        assert len(server.requests) == 3
        assert len({body["seed"] for body in server.requests}) == 3


def test_more_answers_may_be_allowed_later(ledger: Ledger) -> None:
    with ScriptedServer(good, [completion("{"), completion("{")]) as server:
        with pytest.raises(TeacherError):
            one(ledger, settings(server.base_url, max_answers=2))
        assert one(ledger, settings(server.base_url, max_answers=3)) == "red"
        assert len(server.requests) == 3


def test_an_answer_the_caller_cannot_use_counts_as_unusable(ledger: Ledger) -> None:
    def check(answer: Answer) -> str:
        raise BadAnswer("invented-frame", "frame 99")

    with ScriptedServer(good) as server:
        with pytest.raises(TeacherError, match="frame 99") as caught:
            one(ledger, settings(server.base_url, max_answers=2), check)
        assert caught.value.reason == "invented-frame"
        assert len(server.requests) == 2


FINAL = {
    "key refused": (error(401, f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY"),
    "unpaid": (error(402), "paid"),
    "forbidden": (error(403), "OPENAI_API_KEY"),
    "no such model": (error(404, "The model `m` does not exist"), "--model"),
    "a page where the path is wrong": (html(404), "--base-url"),
    "quota used up": (error(429, "You exceeded your quota", code="insufficient_quota"), "quota is used up"),
}


@pytest.mark.parametrize(("reply", "cure"), FINAL.values(), ids=FINAL)
def test_what_every_request_would_meet_ends_the_run(ledger: Ledger, reply: Reply, cure: str) -> None:
    with ScriptedServer(good, [reply]) as server:
        with pytest.raises(EndpointError, match=cure) as caught:
            one(ledger, settings(server.base_url))
        assert len(server.requests) == 1
        assert server.base_url in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://no-such-host.invalid/v1"])
def test_no_server_at_all_ends_the_run(ledger: Ledger, url: str) -> None:
    with pytest.raises(EndpointError, match="--base-url"):
        one(ledger, settings(url, max_attempts=2))


def test_a_server_that_goes_away_later_fails_queries_only(ledger: Ledger) -> None:
    async def run(server: ScriptedServer) -> TeacherError:
        client = ChatClient(settings(server.base_url, max_attempts=2), ledger)
        await client.ask(REQUEST, Answer, lambda answer: answer)
        server.__exit__()
        try:
            with pytest.raises(TeacherError) as caught:
                await client.ask(dataclasses.replace(REQUEST, system="another"), Answer, lambda answer: answer)
        finally:
            await client.close()
        return caught.value

    server = ScriptedServer(good)
    server.__enter__()
    failure = asyncio.run(run(server))
    assert (failure.reason, failure.retryable) == ("connection", True)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_fails_its_query_only(ledger: Ledger, status: int) -> None:
    with ScriptedServer(good, [error(status, "context too long")]) as server:
        with pytest.raises(TeacherError, match="context too long") as caught:
            one(ledger, settings(server.base_url))
        assert (caught.value.reason, caught.value.retryable) == ("bad-request", False)
        assert len(server.requests) == 1


def test_retry_after_is_waited_for(ledger: Ledger) -> None:
    with ScriptedServer(good, [error(429, retry_after=0.4)]) as server:
        begun = time.monotonic()
        assert one(ledger, settings(server.base_url)) == "red"
        assert time.monotonic() - begun >= 0.4


def test_a_wait_beyond_patience_fails_the_query(ledger: Ledger) -> None:
    with ScriptedServer(good, [error(429, retry_after=3600)]) as server:
        with pytest.raises(TeacherError) as caught:
            one(ledger, settings(server.base_url))
        assert (caught.value.reason, caught.value.retryable) == ("rate-limited", True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"retry-after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": formatdate(1000, usegmt=True)}, 10.0, id="date"),
        pytest.param({"retry-after": formatdate(900, usegmt=True)}, 0.0, id="past_date"),
        pytest.param({"retry-after-ms": "250", "retry-after": "7"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after": "nan"}, None, id="nan"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after": "-5"}, None, id="negative"),
    ],
)
def test_retry_after_reads(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, 990.0) == seconds


def test_backoff_grows_is_jittered_and_repeats_itself() -> None:
    pauses = [[pause(f"key{i}", attempt, 1.0, 60.0, None) for i in range(200)] for attempt in (1, 3, 20)]
    assert [max(row) <= limit for row, limit in zip(pauses, (2, 8, 60), strict=True)] == [True] * 3
    assert [min(row) < limit / 10 < limit * 0.9 < max(row) for row, limit in zip(pauses, (2, 8, 60), strict=True)]
    assert pauses[0][0] == pause("key0", 1, 1.0, 60.0, None)
    assert 30 <= pause("key0", 20, 1.0, 60.0, 30.0) <= 31


def test_requests_in_flight_are_bounded(ledger: Ledger) -> None:
    requests = [dataclasses.replace(REQUEST, system=f"Answer {i}.") for i in range(12)]
    with ScriptedServer(good, delay_s=0.05) as server:
        results, client = ask(ledger, settings(server.base_url, concurrency=3), *requests)
        assert results == ["red"] * 12
        assert server.most_in_flight == 3
    assert (client.stats.sent, client.stats.answered) == (12, 12)
    assert (client.stats.input_tokens, client.stats.output_tokens) == (1200, 240)


def test_the_same_question_at_the_same_time_is_sent_once(ledger: Ledger) -> None:
    twin = dataclasses.replace(REQUEST, label="another query with the same words")
    with ScriptedServer(good, delay_s=0.05) as server:
        results, client = ask(ledger, settings(server.base_url), REQUEST, twin)
        assert results == ["red", "red"]
        assert len(server.requests) == 1
    assert client.stats.from_ledger == 1


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
    ],
)
def test_json_is_dug_out(text: str) -> None:
    assert json_object(text) == {"colour": "red"}


def test_reasoning_does_not_disturb(ledger: Ledger) -> None:
    with ScriptedServer(good, [completion(GOOD, reasoning_content="Hmm {", reasoning="Hmm")]) as server:
        assert one(ledger, settings(server.base_url)) == "red"


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
