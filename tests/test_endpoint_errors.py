"""What a server can do wrong, each met over real HTTP: retried, refused with a reason, or the end of the run."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from email.utils import formatdate

import pytest

from tests.asking import GOOD, KEY, REQUEST, Answer, ask, good, one, settings
from tests.server import (
    Reply,
    ScriptedServer,
    completion,
    cut,
    error,
    html,
    late,
)
from vtscot.endpoint.answers import BadAnswer
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.faults import pause, retry_after
from vtscot.errors import EndpointError, TeacherError
from vtscot.ledger import Ledger


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


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
