"""What the stand-in for the Hub remembers: repositories with branches, pull requests and every commit's files."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

MAIN = "main"


class RefusedError(Exception):
    """The answer to a request that the Hub refuses: status, message and the code it gives beside it."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code} if code else {}


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Commit:
    """The files after it, and what it did to get there, in order."""

    summary: str
    files: dict[str, bytes]
    added: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    parent: str = ""

    @property
    def oid(self) -> str:
        state = [self.parent, self.summary, *(f"{path} {git_oid(data)}" for path, data in sorted(self.files.items()))]
        return hashlib.sha1("\n".join(state).encode()).hexdigest()


@dataclass
class Pull:
    """A pull request onto main."""

    num: int
    title: str
    author: str
    description: str = ""
    status: str = "draft"
    comments: list[str] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


@dataclass
class Repo:
    """`refs` holds the history of every branch and pull request, oldest first; `files` and `commits` are main's."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    refs: dict[str, list[Commit]] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refs.setdefault(MAIN, [Commit("initial commit", self.files)])

    @property
    def sha(self) -> str:
        return self.refs[MAIN][-1].oid

    @property
    def commits(self) -> list[Commit]:
        return self.refs[MAIN][1:]

    def history(self, revision: str) -> list[Commit]:
        """The commits up to a branch, a pull request or a commit."""
        if revision in self.refs:
            return self.refs[revision]
        for commits in self.refs.values():
            for i, commit in enumerate(commits):
                if commit.oid == revision:
                    return commits[: i + 1]
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def file(self, revision: str, path: str) -> bytes:
        files = self.history(revision)[-1].files
        if path not in files:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        return files[path]

    def branch(self, name: str) -> None:
        if name in self.refs:
            raise RefusedError(409, f"Reference already exists: {name}")
        self.refs[name] = list(self.refs[MAIN])

    def open_pull(self, title: str, description: str, author: str) -> Pull:
        pull = Pull(len(self.pulls) + 1, title, author, description)
        self.pulls[pull.num] = pull
        self.refs[pull.ref] = list(self.refs[MAIN])
        return pull

    def commit(self, ref: str, lines: list[dict[str, Any]], blobs: dict[str, bytes]) -> Commit:
        """Apply the lines of a commit's payload to a branch or pull request."""
        if ref not in self.refs:
            raise RefusedError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
        header, head = lines[0]["value"], self.refs[ref][-1]
        if header.get("parentCommit", head.oid) != head.oid:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        commit = Commit(header["summary"], dict(head.files), parent=head.oid)
        for line in lines[1:]:
            _apply(commit, line["key"], line["value"], blobs)
        self._put(ref, commit)
        return commit

    def merge(self, pull: Pull) -> None:
        """What the pull request changed since it left main, as one commit on main."""
        if pull.status != "open":
            raise RefusedError(400, f"This pull request is {pull.status}: it cannot be merged")
        if self.conflicts(pull):
            raise RefusedError(409, "This pull request has conflicts")
        base, head, main = self._base(pull), self.refs[pull.ref][-1].files, self.refs[MAIN][-1]
        merged = Commit(f"{pull.title} (#{pull.num})", dict(main.files), parent=main.oid)
        for path in _changed(base, head):
            if path in head:
                merged.files[path] = head[path]
                merged.added.append(path)
            else:
                merged.files.pop(path, None)
                merged.deleted.append(path)
        self._put(MAIN, merged)
        pull.status = "merged"

    def conflicts(self, pull: Pull) -> list[str]:
        base, main, head = self._base(pull), self.refs[MAIN][-1].files, self.refs[pull.ref][-1].files
        both = set(_changed(base, main)) & set(_changed(base, head))
        return sorted(path for path in both if main.get(path) != head.get(path))

    def _base(self, pull: Pull) -> dict[str, bytes]:
        known = {commit.oid for commit in self.refs[MAIN]}
        return next(commit.files for commit in reversed(self.refs[pull.ref]) if commit.oid in known)

    def _put(self, ref: str, commit: Commit) -> None:
        self.refs[ref].append(commit)
        self.files = self.refs[MAIN][-1].files


def _changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _apply(commit: Commit, key: str, value: dict[str, Any], blobs: dict[str, bytes]) -> None:
    path = value["path"]
    if key == "deletedFile":
        if path not in commit.files:
            raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
        del commit.files[path]
        commit.deleted.append(path)
        return
    if key == "lfsFile" and value["oid"] not in blobs:
        raise RefusedError(400, f"the content of {path} was never uploaded")
    commit.files[path] = base64.b64decode(value["content"]) if key == "file" else blobs[value["oid"]]
    commit.added.append(path)
