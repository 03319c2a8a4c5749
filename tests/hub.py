"""A stand-in for the Hub on loopback: the endpoints that `huggingface_hub` and `datasets` call to push and to load.

It keeps files and commits in memory. `faults` maps the start of "METHOD /path" to an answer (status, headers) given
instead, or to `CUT`, which closes the connection without one, `CUT_IN_BODY`, which closes it in the middle of what
is sent, or `CUT_AFTER`, which does what was asked and never says so; a fault with a count goes after that many.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub_state import MAIN, Commit, Pull, RefusedError, Repo, git_oid

__all__ = ["CUT", "CUT_AFTER", "CUT_IN_BODY", "TOKEN", "Commit", "Hub", "Pull", "Repo", "serve_hub"]

TOKEN = "hf_" + "standin" * 4
CUT = "cut"
CUT_IN_BODY = "cut in the body"
CUT_AFTER = "cut after"
WHEN = "2026-01-01T00:00:00.000Z"


@dataclass
class Hub:
    """State of the stand-in. `large` says which paths go the way of large files; the token is `user`'s."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ("someone",)  # where the token may write
    user: str = "someone"
    role: str = "write"  # of the token
    all_regular: bool = False
    ignored: tuple[str, ...] = ()  # paths that a .gitignore leaves out

    def large(self, path: str) -> bool:
        return path.endswith((".parquet", ".png", ".jpg")) and not self.all_regular

    def may_write(self, name: str) -> bool:
        return self.role != "read" and name.split("/", maxsplit=1)[0] in self.namespaces

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
        path = urlsplit(self.path).path
        line = f"{self.command} {unquote(path)}"
        self.hub.requests.append(line)
        fault = self.hub.fault(line)
        length = int(self.headers.get("Content-Length") or 0)
        if fault in (CUT, CUT_IN_BODY):
            self.rfile.read(length // 2 if fault == CUT_IN_BODY else length)
            self._hang_up()
            return
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        if isinstance(fault, tuple):
            self._send(fault[0], {"error": "fault"}, fault[1])
            return
        try:
            status, answer, headers = self._route(path, body)
        except RefusedError as refused:
            status, answer, headers = refused.status, {"error": str(refused)}, refused.headers
        if fault == CUT_AFTER:
            self._hang_up()
        elif isinstance(answer, bytes):
            self._give(answer, headers)
        else:
            self._send(status, answer, headers)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, data: bytes, headers: dict[str, str]) -> None:
        """A file, or the part of it that is asked for."""
        status, part = 200, data
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin = int(first) if first else len(data) - int(last)
            end = min(int(last), len(data) - 1) if first and last else len(data) - 1
            status, part = 206, data[begin : end + 1]
            headers = headers | {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}
        self._head(status, {"Content-Length": str(len(part)), "Accept-Ranges": "bytes", **headers})
        if self.command == "GET":
            self.wfile.write(part)

    def _route(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if path.startswith("/lfs/"):
            return self._blob(path.rsplit("/", maxsplit=1)[-1], body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, "Invalid username or password.")
        plain = {
            "/api/whoami-v2": self._who,
            "/api/repos/create": self._create,
            "/api/validate-yaml": lambda body: (200, {"errors": [], "warnings": []}, {}),
        }
        if path in plain:
            return plain[path](body)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "datasets"] and len(parts) > 3:
            return self._repo("/".join(parts[2:4]), parts[4:], body)
        if parts[0] != "datasets" or len(parts) < 4:
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        if parts[2].endswith(".git"):
            return self._batch("/".join(parts[1:3]).removesuffix(".git"), json.loads(body))
        return self._resolve(self._known("/".join(parts[1:3])), unquote(parts[4]), unquote("/".join(parts[5:])))

    def _who(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        token = {"displayName": "stand-in", "role": self.hub.role, "createdAt": WHEN}
        return 200, {"type": "user", "name": self.hub.user, "auth": {"accessToken": token}}, {}

    def _known(self, name: str) -> Repo:
        if name not in self.hub.repos:
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return self.hub.repos[name]

    def _must_write(self, name: str, ref: str = "") -> None:
        own = [pull.ref for pull in self._known(name).pulls.values() if pull.author == self.hub.user]
        if not self.hub.may_write(name) and (self.hub.role == "read" or ref not in own):
            raise RefusedError(403, "Forbidden: you need write access")

    def _blob(self, oid: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if hashlib.sha256(body).hexdigest() != oid:
            raise RefusedError(400, "the content does not have this digest")
        self.hub.blobs[oid] = body
        self.hub.uploads.append(oid)
        return 200, {}, {}

    def _create(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or self.hub.user}/{wanted['name']}"
        url = f"{self.hub.address}/datasets/{name}"
        if not self.hub.may_write(name):
            raise RefusedError(403, "You don't have the rights to create a dataset under this namespace")
        if name in self.hub.repos:
            return 409, {"error": "You already created this dataset repo", "url": url}, {}
        attributes = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}
        self.hub.repos[name] = Repo(private=wanted.get("visibility") == "private", files=attributes)
        return 200, {"url": url, "name": name, "id": name}, {}

    def _resolve(self, repo: Repo, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        data = repo.file(revision, path)
        large = self.hub.large(path)
        etag = hashlib.sha256(data).hexdigest() if large else git_oid(data)
        return 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": repo.history(revision)[-1].oid}

    def _repo(self, name: str, rest: list[str], body: bytes) -> tuple[int, Any, dict[str, str]]:
        repo = self._known(name)
        verb, revision = (rest or ["revision"])[0], unquote(rest[1]) if len(rest) > 1 else MAIN
        answers: dict[str, Callable[[], Any]] = {
            "revision": lambda: self._info(repo, name, repo.history(revision)),
            "auth-check": lambda: self._must_write(name) if revision == "write" else None,
            "tree": lambda: self._tree(repo.history(revision)[-1].files, unquote("/".join(rest[2:]))),
            "paths-info": lambda: self._paths(repo.history(revision)[-1].files, body.decode()),
            "refs": lambda: _refs(repo),
            "commits": lambda: [_told(commit, self.hub.user) for commit in reversed(repo.history(revision))],
            "discussions": lambda: self._discussions(repo, name, rest[1:], body),
            "preupload": lambda: self._modes(repo.history(revision)[-1].files, json.loads(body)["files"]),
            "branch": lambda: self._must_write(name, revision) or repo.branch(revision),
            "commit": lambda: self._commit(repo, name, revision, body),
        }
        if verb not in answers:
            raise RefusedError(404, f"no such endpoint: {verb}")
        return 200, answers[verb](), {}

    def _commit(self, repo: Repo, name: str, ref: str, body: bytes) -> dict[str, Any]:
        self._must_write(name, ref)
        commit = repo.commit(ref, [json.loads(line) for line in body.splitlines() if line], self.hub.blobs)
        return {"commitUrl": f"{self.hub.address}/datasets/{name}/commit/{commit.oid}", "commitOid": commit.oid}

    def _paths(self, files: dict[str, bytes], body: str) -> list[dict[str, Any]]:
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        return [one for one in self._tree(files, "", whole=True) if one["path"] in wanted]

    def _info(self, repo: Repo, name: str, history: list[Commit]) -> dict[str, Any]:
        files = history[-1].files
        card = _card(files.get("README.md", b"").decode(errors="replace"))
        return {
            "id": name,
            "sha": history[-1].oid,
            "private": repo.private,
            "siblings": [{"rfilename": path} for path in sorted(files)],
            "cardData": card,
            "tags": card.get("tags", []),
        }

    def _tree(self, files: dict[str, bytes], under: str, *, whole: bool = False) -> list[dict[str, Any]]:
        asked = parse_qs(urlsplit(self.path).query)
        recursive = whole or asked.get("recursive", ["false"])[0].lower() in ("1", "true")
        prefix = f"{under}/" if under else ""
        inside = {path: data for path, data in sorted(files.items()) if path.startswith(prefix)}
        if under and not inside:
            raise RefusedError(404, f"{under} does not exist", "EntryNotFound")
        folders = {str(path[:i]) for path in inside for i in range(len(prefix), len(path)) if path[i] == "/"}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": git_oid(path.encode())} for path in folders]
        entries += [self._entry(path, data) for path, data in inside.items()]
        here = [one for one in entries if recursive or "/" not in str(one["path"])[len(prefix) :]]
        return sorted(here, key=lambda one: str(one["path"]))

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(data), "oid": git_oid(data)}
        if self.hub.large(path):
            sha = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 134}
        return entry | {"lastCommit": {"id": "0" * 40, "title": "", "date": WHEN}}

    def _modes(self, files: dict[str, bytes], asked: list[dict[str, Any]]) -> dict[str, Any]:
        return {"files": [self._mode(files, file["path"]) for file in asked]}

    def _mode(self, files: dict[str, bytes], path: str) -> dict[str, Any]:
        large = self.hub.large(path)
        old = files.get(path)
        oid = None if old is None else hashlib.sha256(old).hexdigest() if large else git_oid(old)
        return {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": path in self.hub.ignored,
            "oid": oid,
        }

    def _batch(self, name: str, wanted: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        self._must_write(name, wanted.get("ref", {}).get("name", ""))
        objects = []
        for item in wanted["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.blobs:
                answer["actions"] = {"upload": {"href": f"{self.hub.address}/lfs/{item['oid']}", "header": {}}}
            objects.append(answer)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def _discussions(self, repo: Repo, name: str, rest: list[str], body: bytes) -> dict[str, Any]:
        told = json.loads(body) if body else {}
        if not rest and self.command == "POST":
            return _pull(repo.open_pull(told["title"], told["description"], self.hub.user), repo, name)
        if not rest:
            pulls = [_pull(pull, repo, name) for pull in reversed(repo.pulls.values())]
            return {"discussions": pulls, "count": len(pulls), "start": 0}
        pull = repo.pulls[int(rest[0])]
        if len(rest) > 1:
            self._change(repo, name, pull, rest[1], told)
        event = {"id": "0" * 16, "createdAt": WHEN, "author": {"name": self.hub.user}, "type": "status-change"}
        return _pull(pull, repo, name) | {"newStatus": event | {"data": {"status": pull.status}}}

    def _change(self, repo: Repo, name: str, pull: Pull, what: str, told: dict[str, Any]) -> None:
        if what == "merge" or pull.author != self.hub.user:
            self._must_write(name)
        if what == "merge":
            repo.merge(pull)
        elif what == "status":
            pull.status = told["status"]
        if told.get("comment"):
            pull.comments.append(told["comment"])


def _card(text: str) -> dict[str, Any]:
    parts = text.split("---\n")
    value = yaml.safe_load(parts[1]) if text.startswith("---\n") and len(parts) > 2 else {}
    return value if isinstance(value, dict) else {}


def _refs(repo: Repo) -> dict[str, Any]:
    branches = [name for name in repo.refs if not name.startswith("refs/pr/")]
    told = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": repo.refs[name][-1].oid} for name in branches]
    return {"branches": told, "converts": [], "tags": []}


def _told(commit: Commit, author: str) -> dict[str, Any]:
    return {"id": commit.oid, "authors": [{"user": author}], "date": WHEN, "title": commit.summary, "message": ""}


def _pull(pull: Pull, repo: Repo, name: str) -> dict[str, Any]:
    return {
        "num": pull.num,
        "title": pull.title,
        "author": {"name": pull.author},
        "createdAt": WHEN,
        "status": pull.status,
        "repo": {"name": name, "type": "dataset"},
        "isPullRequest": True,
        "changes": {"base": "refs/heads/main"},
        "filesWithConflicts": repo.conflicts(pull),
        "events": [],
    }


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
