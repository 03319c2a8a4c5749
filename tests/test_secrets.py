"""The API key reaches the server and nothing else: not the run, not the output, whatever the server sends back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batches import BatchServer
from tests.cli import Ended, vtscot
from tests.server import Body, Reply, completion, error, schema_brain

KEY = 'sk-test/0123456789abcdef"0123456789\\x'
SPELLINGS = (KEY, json.dumps(KEY)[1:-1], "sk-test%2F0123456789abcdef%220123456789%5Cx", KEY[:24])
SECRETS = (b"pass-word-0123", b"tok-0123456789")
QUICK = ("--set", "teacher.backoff_s=0.01", "--set", "verify.segmenter=box", "--set", "teacher.batch_quiet_s=0.3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vtscot.demo import write_demo

    root = tmp_path_factory.mktemp("world")
    write_demo(root, videos=1, seed=5, workers=1)
    return root


def echoing(number: int, body: Body) -> Reply | None:
    """Every second answer fails, or holds the key, or both: as some gateways repeat a request's headers."""
    kinds: tuple[Callable[[], Reply], ...] = (
        lambda: error(500, f"upstream said: Authorization: Bearer {KEY}"),
        lambda: Reply(502, f"<pre>Authorization: Bearer {KEY}</pre>".encode(), {"X-Echo": "Bearer"}),
        lambda: completion(schema_brain(body), reasoning_content=f"The header was Bearer {KEY}."),
        lambda: error(400, f"seed is not supported for {KEY}", param="seed"),
        lambda: Reply(200, json.dumps({"error": {"message": f"Bearer {KEY}"}}).encode()),
    )
    return kinds[number // 2 % len(kinds)]() if number % 2 == 0 else None


def build(server: BatchServer, world: Path, run: Path, *more: str, log: str = "debug") -> Ended:
    secret = server.base_url.replace("http://", "http://user:pass-word-0123@") + "?token=tok-0123456789"
    url = secret if "--secret-url" in more else server.base_url
    endpoint = ("--teacher", "openai", "--model", "m", "--base-url", url, *QUICK)
    options = [option for option in more if option != "--secret-url"]
    return vtscot(
        *("build", "--run", run, "--source", "mevis", "--root", world, "--limit", "3", *endpoint, *options),
        OPENAI_API_KEY=KEY,
        OPENAI_LOG=log,
    )


def places(run: Path, ended: Ended) -> Iterator[tuple[str, bytes]]:
    """Everything that a build leaves behind."""
    yield "standard output", ended.out.encode()
    yield "standard error", ended.err.encode()
    for path in run.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


@pytest.mark.parametrize("batch", [(), ("--batch",)], ids=["chat", "batch"])
def test_the_key_is_in_nothing_that_a_build_leaves(world: Path, tmp_path: Path, batch: tuple[str, ...]) -> None:
    with BatchServer(line=echoing) as server:
        server.script = echoing
        ended = build(server, world, tmp_path / "run", *batch)
        assert ended.code in (0, 1), ended.err
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert "Traceback" not in ended.err
    found = [
        (where, text)
        for where, content in places(tmp_path / "run", ended)
        for text in SPELLINGS
        if text.encode() in content
    ]
    assert found == []
    assert len(list(places(tmp_path / "run", ended))) > 6, "there is something to look at"


def test_an_end_with_an_echo_says_nothing_either(world: Path, tmp_path: Path) -> None:
    with BatchServer() as server:
        server.script = lambda number, body: error(401, f"Incorrect API key provided: {KEY}. Bearer {KEY}")
        ended = build(server, world, tmp_path / "run")
    assert ended.code == 1
    assert "***" in ended.complaint
    assert not any(text.encode() in content for _, content in places(tmp_path / "run", ended) for text in SPELLINGS)


def test_a_password_in_the_address_is_not_kept(world: Path, tmp_path: Path) -> None:
    with BatchServer() as server:
        ended = build(server, world, tmp_path / "run", "--secret-url", log="")
    found = [where for where, content in places(tmp_path / "run", ended) for text in SECRETS if text in content]
    assert found == []
