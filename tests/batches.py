"""The Batch API of a scripted server: files and batches over real HTTP, worked on by the same brain as chat requests.

with BatchServer(polls=2) as server:                       # done at the third look
with BatchServer(line=lambda number, body: error(500) if number == 0 else None): ...   # one line fails
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.server import Body, Reply, ScriptedServer, error, schema_brain


@dataclass
class Job:
    """One batch at the server."""

    id: str
    file_id: str
    metadata: Body
    polls: int = 0
    status: str = "in_progress"
    errors: list[Body] = field(default_factory=list)
    output_id: str | None = None
    error_id: str | None = None
    counts: Body = field(default_factory=dict)


class BatchServer(ScriptedServer):
    """`polls`: looks until a batch is done. `line`: what becomes of line n (over all batches): None is a good answer,
    a cut reply no line at all. `refuse`: errors of the first batches; `ends`: another final status. `script` is for
    requests that are not chat completions here: it gets their number and "METHOD /path".
    """

    def __init__(
        self,
        brain: Callable[[Body], str] = schema_brain,
        *,
        polls: int = 0,
        line: Callable[[int, Body], Reply | None] = lambda number, body: None,
        refuse: Sequence[Body] = (),
        ends: Sequence[str] = (),
        calls: Callable[[int, str], Reply | None] = lambda number, call: None,
        lists: bool = True,
    ) -> None:
        super().__init__(brain)
        self.polls, self.line, self.calls, self.lists = polls, line, calls, lists
        self.refuse, self.ends = list(refuse), list(ends)
        self.files: dict[str, tuple[str, bytes]] = {}
        self.jobs: dict[str, Job] = {}
        self.called: list[str] = []
        self.lines: list[Body] = []

    def other(self, method: str, path: str, raw: bytes, headers: dict[str, str]) -> Reply:
        path = urlsplit(path).path.removeprefix("/v1")
        with self._lock:
            number = len(self.called)
            self.called.append(f"{method} {path}")
            self.headers.append(headers)
            scripted = self.calls(number, f"{method} {path}")
            made = None if scripted is not None and not scripted.cut else self._answered(method, path, raw, headers)
        return scripted or made or error(404, f"no path {path}")

    def _answered(self, method: str, path: str, raw: bytes, headers: dict[str, str]) -> Reply | None:
        fixed: dict[tuple[str, str], Callable[[], Body]] = {
            ("POST", "/files"): lambda: self._file(self._keep(*_multipart(raw, headers["content-type"]))),
            ("POST", "/batches"): lambda: self._shown(self._make(json.loads(raw))),
            ("GET", "/batches"): lambda: _page([self._shown(job) for job in self.jobs.values()]),
            ("GET", "/files"): lambda: _page([self._file(name) for name in self.files]),
        }
        if (method, path) in fixed and (self.lists or method == "POST"):
            return _json(fixed[method, path]())
        if match := re.fullmatch(r"/files/(\S+)/content", path):
            return Reply(content=self.files[match[1]][1], headers={"Content-Type": "application/octet-stream"})
        if match := re.fullmatch(r"/batches/(\S+)", path):
            return _json(self._looked_at(self.jobs[match[1]]))
        return None

    def _looked_at(self, job: Job) -> Body:
        job.polls += 1
        if job.status == "in_progress" and job.polls > self.polls:
            self._work(job)
        return self._shown(job)

    def _keep(self, name: str, content: bytes) -> str:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = name, content
        return file_id

    def _make(self, body: Body) -> Job:
        job = Job(f"batch_{len(self.jobs)}", body["input_file_id"], body.get("metadata") or {})
        self.jobs[job.id] = job
        if self.refuse:
            job.status, job.errors = "failed", [self.refuse.pop(0)]
        return job

    def _work(self, job: Job) -> None:
        good, bad = [], []
        for text in self.files[job.file_id][1].splitlines():
            asked = json.loads(text)
            assert (asked["method"], asked["url"]) == ("POST", "/v1/chat/completions")
            number = len(self.lines)
            self.lines.append(asked["body"])
            reply = self.line(number, asked["body"]) or self._good(asked["body"])
            if reply.cut:
                continue
            response = {"status_code": reply.status, "request_id": "r", "body": json.loads(reply.content)}
            row = {"id": f"l{number}", "custom_id": asked["custom_id"], "response": response, "error": None}
            (good if reply.status == 200 else bad).append(json.dumps(row))
        job.status = self.ends.pop(0) if self.ends else "completed"
        job.counts = {"total": len(good) + len(bad), "completed": len(good), "failed": len(bad)}
        job.output_id = self._keep("output.jsonl", "\n".join(good).encode()) if good else None
        job.error_id = self._keep("error.jsonl", "\n".join(bad).encode()) if bad else None

    def _file(self, file_id: str) -> Body:
        name, content = self.files[file_id]
        about = {"id": file_id, "object": "file", "created_at": 0, "filename": name, "bytes": len(content)}
        return {**about, "purpose": "batch", "status": "processed"}

    def _shown(self, job: Job) -> Body:
        shown: dict[str, Any] = {
            "id": job.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": 0,
            "input_file_id": job.file_id,
            "status": job.status,
            "metadata": job.metadata,
            "output_file_id": job.output_id,
            "error_file_id": job.error_id,
        }
        if job.errors:
            shown["errors"] = {"object": "list", "data": job.errors}
        return shown | ({"request_counts": job.counts} if job.counts else {})

    @property
    def uploads(self) -> int:
        """Files that clients sent."""
        return self.called.count("POST /files")


def _page(rows: list[Body]) -> Body:
    return {"object": "list", "data": rows, "has_more": False}


def _json(value: Body) -> Reply:
    return Reply(content=json.dumps(value).encode())


def _multipart(raw: bytes, kind: str) -> tuple[str, bytes]:
    """File name and content of the one file in a form."""
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    for part in raw.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if name := re.search(rb'filename="([^"]+)"', head):
            return name[1].decode(), content.removesuffix(b"\r\n")
    raise ValueError("no file in the form")
