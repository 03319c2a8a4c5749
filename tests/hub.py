"""A stand-in for the Hub on loopback: the endpoints that `huggingface_hub` calls to create a repository and commit.

It keeps files and commits in memory. `faults` maps the start of "METHOD /path" to an answer (status, headers) given
instead, or to `CUT`, which closes the connection without one; a fault with a count goes after that many requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "standin" * 4
CUT = "cut"


@dataclass
class Commit:
    """What one commit did, in order."""

    summary: str
    added: list[str]
    deleted: list[str]


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """State of the stand-in. `large` says which paths go the way of large files."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ("someone",)
    all_regular: bool = False

    def large(self, path: str) -> bool:
        return path.endswith(".parquet") and not self.all_regular

    def fault(self, line: str) -> Any:
        """The fault for this request, if one is due."""
        for start, fault in list(self.faults.items()):
            if line.startswith(start):
                answer, times = fault if isinstance(fault, tuple) and isinstance(fault[1], int) else (fault, None)
                if times is not None:
                    if times <= 1:
                        del self.faults[start]
                    else:
                        self.faults[start] = (answer, times - 1)
                return answer
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path)
        line = f"{self.command} {path}"
        self.hub.requests.append(line)
        fault = self.hub.fault(line)
        if fault == CUT:
            self.close_connection = True
            self.connection.close()
            return
        if fault is not None:
            self._send(fault[0], {"error": "fault"}, fault[1])
        elif not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif "/resolve/" in path:
            self._give(path)
        else:
            self._send(*self._route(line, path, body))

    def _give(self, path: str) -> None:
        """A file of a repository, or what is told about it."""
        name, _, rest = path.removeprefix("/datasets/").partition("/resolve/")
        repo = self.hub.repos[name]
        data = repo.files[rest.partition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_git_oid(data)}"')
        self.send_header("X-Repo-Commit", repo.sha)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _route(self, line: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if line == "POST /api/repos/create":
            return self._create(json.loads(body))
        if line == "POST /api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.startswith("/lfs/"):
            self.hub.blobs[path.rsplit("/", maxsplit=1)[-1]] = body
            self.hub.uploads.append(path.rsplit("/", maxsplit=1)[-1])
            return 200, {}, {}
        for name, repo in self.hub.repos.items():
            if path.startswith(f"/api/datasets/{name}"):
                return self._repo(repo, name, path.removeprefix(f"/api/datasets/{name}"), body)
            if path == f"/datasets/{name}.git/info/lfs/objects/batch":
                return self._batch(json.loads(body))
        return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        owner = wanted.get("organization") or self.hub.namespaces[0]
        name = f"{owner}/{wanted['name']}"
        url = f"{self.hub.address}/datasets/{name}"
        if owner not in self.hub.namespaces:
            return 403, {"error": "You don't have the rights to create a dataset under this namespace"}, {}
        if name in self.hub.repos:
            return 409, {"error": "You already created this dataset repo", "url": url}, {}
        self.hub.repos[name] = Repo(private=wanted.get("visibility") == "private")
        return 200, {"url": url, "name": name, "id": name}, {}

    def _repo(self, repo: Repo, name: str, rest: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if rest in ("", "/revision/main", f"/revision/{repo.sha}"):
            files = [{"rfilename": path} for path in sorted(repo.files)]
            return 200, {"id": name, "sha": repo.sha, "private": repo.private, "siblings": files, "tags": []}, {}
        if rest.startswith(("/tree/main", f"/tree/{repo.sha}")):
            return 200, [_entry(path, data) for path, data in sorted(repo.files.items())], {}
        if rest == "/preupload/main":
            return 200, {"files": [self._mode(repo, file["path"]) for file in json.loads(body)["files"]]}, {}
        if rest == "/commit/main":
            self._commit(repo, [json.loads(line) for line in body.splitlines() if line])
            return (
                200,
                {"commitUrl": f"{self.hub.address}/datasets/{name}/commit/{repo.sha}", "commitOid": repo.sha},
                {},
            )
        return 404, {"error": f"no such endpoint: {rest}"}, {}

    def _mode(self, repo: Repo, path: str) -> dict[str, Any]:
        large = self.hub.large(path)
        old = repo.files.get(path)
        oid = None if old is None else hashlib.sha256(old).hexdigest() if large else _git_oid(old)
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def _batch(self, wanted: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        objects = []
        for item in wanted["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.blobs:
                answer["actions"] = {"upload": {"href": f"{self.hub.address}/lfs/{item['oid']}", "header": {}}}
            objects.append(answer)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def _commit(self, repo: Repo, lines: list[dict[str, Any]]) -> None:
        commit = Commit(lines[0]["value"]["summary"], [], [])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del repo.files[value["path"]]
                commit.deleted.append(value["path"])
                continue
            data = base64.b64decode(value["content"]) if line["key"] == "file" else self.hub.blobs[value["oid"]]
            repo.files[value["path"]] = data
            commit.added.append(value["path"])
        repo.commits.append(commit)


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}


@contextmanager
def serve_hub(**state: Any) -> Iterator[Hub]:
    """A hub that answers at `hub.address` until the block ends."""
    hub = Hub(**state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
