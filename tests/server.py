"""A scripted OpenAI-compatible server on loopback, for tests: real HTTP, answers made from the request itself.

    with ScriptedServer() as server:                      # every question gets a valid answer
        settings = EndpointSettings(model="m", base_url=server.base_url)
    with ScriptedServer(script=[error(429, retry_after=0), None]): ...   # the first request fails, the rest goes well
    with ScriptedServer(script=lambda number, body: cut() if number % 3 == 0 else None): ...

`server.requests` holds the JSON bodies in the order of arrival, `server.headers` their headers (lower-case names).
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What to send instead of a good answer: any status and bytes, late, or a connection cut before the answer."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    good: bool = False  # the good answer after all, only late


def error(status: int, message: str = "scripted", *, retry_after: object = None, **more: str) -> Reply:
    """An error as OpenAI words it."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Reply(status, json.dumps({"error": {"message": message, **more}}).encode(), headers)


def html(status: int = 200) -> Reply:
    """An error page of some proxy."""
    return Reply(status, b"<html><body><h1>It works!</h1></body></html>", {"Content-Type": "text/html"})


def cut() -> Reply:
    """The connection is reset before any answer."""
    return Reply(cut=True)


def late(delay_s: float) -> Reply:
    """The good answer after a delay."""
    return Reply(delay_s=delay_s, good=True)


def completion(content: str | None, *, finish_reason: str = "stop", **message: object) -> Reply:
    """A chat completion with this content."""
    return Reply(content=json.dumps(envelope(content, finish_reason, **message)).encode())


def envelope(content: str | None, finish_reason: str = "stop", **message: object) -> Body:
    """The body of a chat completion."""
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def texts(body: Body) -> str:
    """All text of a request, the system's and the user's."""
    pieces = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        pieces += [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(pieces)


def images(body: Body) -> list[str]:
    """The data URLs of a request."""
    contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return [part["image_url"]["url"] for content in contents for part in content if part["type"] == "image_url"]


def schema_of(body: Body) -> Body | None:
    """The JSON Schema a request wants kept: from `response_format`, else from the last text."""
    given = body.get("response_format", {}).get("json_schema")
    if given:
        schema: Body = given["schema"]
        return schema
    last = [line for line in texts(body).splitlines() if line.startswith("{")][-1:]
    return json.loads(last[0]) if last else None


def schema_brain(body: Body) -> str:
    """A plausible answer that keeps the schema of the request; plain words where it names none."""
    schema = schema_of(body)
    return "I see nothing." if schema is None else json.dumps(_value(schema, schema, "", texts(body)))


def _value(schema: Body, root: Body, name: str, text: str) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {key: _value(value, root, key, text) for key, value in schema["properties"].items()}
    if kind == "array":
        return [_value(schema["items"], root, name, text)]
    if kind in ("integer", "number"):
        return {"x_min": 300, "y_min": 300, "x_max": 700, "y_max": 700}.get(name, schema.get("minimum", 0))
    return _sentence(name, text)


def _sentence(name: str, text: str) -> str:
    """A few words for a field of a thought, with the expression and frames that the request itself names."""
    expression = _found(r'Expression: "(.*)"', text) or "the target"
    first = _found(r"Frame (\d+):", text) or "0"
    sentences = {
        "temporal": f'From frame {first} on I look for "{expression}": it stays in view and moves slowly.',
        "spatial": f"In frame {first} one candidate stands in the middle of the picture, fairly large, and fits best.",
        "linguistic": f'The words "{expression}" single out that candidate, and nothing else meets all of them.',
        "action": "I look at the frames where it is seen best to be sure of it.",
    }
    return sentences.get(name, f"About {name}: {expression}.").replace("<", "").replace(">", "")


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


class ScriptedServer:
    """The server; `base_url` ends in /v1.

    `script` gives the reply to request number n (from 0): a sequence (None or past its end: a good answer) or a
    function of the number and the body. `formats` are the `response_format` types it takes; it refuses others as
    OpenAI does, or takes them and pays no heed where `ignores_format` is set.
    """

    def __init__(
        self,
        brain: Callable[[Body], str] = schema_brain,
        script: Sequence[Reply | None] | Callable[[int, Body], Reply | None] = (),
        *,
        formats: frozenset[str] = frozenset({"json_schema", "json_object"}),
        ignores_format: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        self.brain = brain
        self.script = script
        self.formats = formats
        self.ignores_format = ignores_format
        self.delay_s = delay_s
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()
        self._thread.join()

    def answer(self, path: str, body: Body, headers: dict[str, str]) -> Reply:
        """The reply to one request; called in the request's own thread."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(headers)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self._scripted(number, body)
            time.sleep(self.delay_s if reply is None else reply.delay_s)
            if path != "/v1/chat/completions":
                return error(404, f"no path {path}")
            return self._good(body) if reply is None or reply.good else reply
        finally:
            with self._lock:
                self.in_flight -= 1

    def other(self, method: str, path: str, raw: bytes, headers: dict[str, str]) -> Reply:
        """The reply to a request that is no chat completion; see tests/batches.py."""
        return error(404, f"no path {path}")

    def _scripted(self, number: int, body: Body) -> Reply | None:
        if callable(self.script):
            return self.script(number, body)
        return self.script[number] if number < len(self.script) else None

    def _good(self, body: Body) -> Reply:
        wanted = body.get("response_format", {}).get("type")
        if wanted is not None and wanted not in self.formats and not self.ignores_format:
            return error(400, f"'response_format.type' {wanted!r} is not supported", param="response_format")
        seen = {k: v for k, v in body.items() if k != "response_format"} if self.ignores_format else body
        return completion(self.brain(seen))


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    owner: ScriptedServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def hang_up(self) -> None:
        """Cut the connections that clients keep open."""
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up (a time-out, an interruption) is no fault of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner = self.server.owner
        if self.path.startswith(("/v1/files", "/v1/batches")):
            self._send(owner.other("POST", self.path, raw, headers))
        else:
            self._send(owner.answer(self.path, json.loads(raw), headers))

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.owner.other("GET", self.path, b"", headers))

    def _send(self, reply: Reply) -> None:
        if reply.cut:
            # Linger 0: the peer sees a reset, as from a server that dies.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests print nothing."""
