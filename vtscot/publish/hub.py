"""A dataset repository of the Hub, as a push sees it: what is there, its pull requests, and commits onto a ref.

Nothing here decides what is sent; `push` does. Every call either does what it says or raises HubError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from vtscot.errors import PublishError
from vtscot.publish.digests import file_digest, git_digest
from vtscot.publish.hub_errors import LOG_IN, HubError, endpoint, explained, status_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TITLE: Final = "VTS-CoT dataset (vtscot push)"
"""Title of the pull requests of a push, by which a second run finds that of the first."""
STALE: Final = re.compile(r"[^/]+/[^/]+-\d{5}-of-\d{5}\.parquet|assets/[^/]+\.(png|jpe?g|svg)")
"""Files that an earlier push may have left: those of them that the new dataset does not have go with its card."""
_ANSWER: Final = 600.0  # seconds without a byte before a connection counts as dead; a merge may take a while
_CONNECT: Final = 60.0


@dataclass(frozen=True)
class LocalFile:
    """A file of the dataset: its path in the repository, where it lies, its bytes."""

    name: str
    path: Path
    size: int

    @cached_property
    def sha256(self) -> str:
        return file_digest(self.path).hex()

    @cached_property
    def git_oid(self) -> str:
        return git_digest(self.path)


@dataclass(frozen=True)
class RemoteFile:
    """A file of the repository; `sha256` is that of a large one, `oid` the git id of any other."""

    size: int
    oid: str
    sha256: str | None

    def same(self, file: LocalFile) -> bool:
        """Whether it holds what the local file holds."""
        if self.sha256 is not None:
            return self.size == file.size and self.sha256 == file.sha256
        return self.size == file.size and self.oid == file.git_oid


Tree = dict[str, RemoteFile]


@dataclass(frozen=True)
class State:
    """What is on main: its newest commit, whether the repository is private, its files, whether vtscot wrote them."""

    head: str
    private: bool
    files: Tree
    own: bool


@dataclass(frozen=True)
class Request:
    """A pull request: its number, whether it is a draft still, its address."""

    num: int
    draft: bool
    url: str

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


class Repository:
    """The dataset repository `name` ("user/name"), seen with the user's token, or without one."""

    def __init__(self, name: str) -> None:
        from huggingface_hub import HfApi, get_token

        self.name = name
        self.token = get_token()
        self._api: HfApi = HfApi(endpoint=endpoint(), token=self.token or False, library_name="vtscot")
        self._kind: dict[str, Any] = {"repo_id": name, "repo_type": "dataset"}

    @property
    def url(self) -> str:
        return f"{endpoint()}/datasets/{self.name}"

    def look(self) -> State | None:
        """What is on main; None where there is no such repository, or none to be seen with this token."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with explained(self.name, "reading what is there"):
            try:
                info = self._api.dataset_info(self.name)
            except RepositoryNotFoundError as error:
                if self.token is not None and status_of(error) == 401:
                    raise
                return None
        own = "vtscot" in (info.tags or getattr(info.card_data, "tags", None) or ())
        return State(str(info.sha), bool(info.private), self.tree(str(info.sha)), own)

    def tree(self, revision: str) -> Tree:
        """The files at a branch, a pull request or a commit."""
        from huggingface_hub import RepoFile

        with explained(self.name, "listing what is there"):
            entries = list(self._api.list_repo_tree(**self._kind, recursive=True, revision=revision))
        return {
            entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def branch_tree(self, name: str) -> Tree | None:
        """The files of a branch; None where there is no such branch."""
        with explained(self.name, "listing the branches"):
            branches = self._api.list_repo_refs(**self._kind).branches
        return self.tree(name) if any(branch.name == name for branch in branches) else None

    def login(self) -> str:
        """The name of the token's user; PublishError where there is no token, or one that may only read."""
        if self.token is None:
            raise PublishError(f"no Hugging Face token: {LOG_IN}")
        with explained(self.name, "checking the token"):
            told = self._api.whoami()
        role = ((told.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise PublishError(
                f"the token may only read, and has no right to write to {self.name}; {LOG_IN} with one that may write"
            )
        return str(told["name"])

    def create(self, *, private: bool) -> None:
        """Make the repository; nothing where it is there already."""
        with explained(self.name, "creating the repository"):
            self._api.create_repo(**self._kind, private=private or None, exist_ok=True)

    def check_write(self) -> None:
        """Raises where the token may not write, before anything is sent."""
        with explained(self.name, "asking for the right to write"):
            self._api.auth_check(**self._kind, write=True)

    def branch(self, name: str) -> None:
        """Make the branch from main; nothing where it is there already."""
        with explained(self.name, f"creating the branch {name}"):
            self._api.create_branch(**self._kind, branch=name, exist_ok=True)

    def unfinished(self, author: str) -> Request | None:
        """The newest pull request of an earlier push by `author` that is neither merged nor closed."""
        with explained(self.name, "looking for an unfinished push"):
            for one in self._api.get_repo_discussions(**self._kind, discussion_type="pull_request"):
                if (one.title, one.author) == (TITLE, author) and one.status in ("draft", "open"):
                    return Request(one.num, one.status == "draft", one.url)
        return None

    def follows(self, request: Request, head: str) -> bool:
        """Whether a pull request was made from what is on main now, so that merging it loses nothing of main."""
        with explained(self.name, f"comparing pull request {request.num} with main"):
            return any(
                commit.commit_id == head for commit in self._api.list_repo_commits(**self._kind, revision=request.ref)
            )

    def open_request(self, description: str) -> Request:
        """A new pull request, a draft and empty."""
        with explained(self.name, "opening a pull request"):
            one = self._api.create_pull_request(**self._kind, title=TITLE, description=description)
        return Request(one.num, one.status == "draft", one.url)

    def set_status(self, request: Request, *, opened: bool, comment: str | None = None) -> None:
        """Open a draft for review, or close a pull request."""
        status: Literal["open", "closed"] = "open" if opened else "closed"
        with explained(self.name, f"setting pull request {request.num} to {status}"):
            self._api.change_discussion_status(
                **self._kind, discussion_num=request.num, new_status=status, comment=comment
            )

    def merge(self, request: Request) -> None:
        """Merge an open pull request into main."""
        with explained(self.name, f"merging pull request {request.num}"):
            self._api.merge_pull_request(**self._kind, discussion_num=request.num)

    def commit(self, ref: str, files: Sequence[LocalFile], deleted: Sequence[str], message: str) -> None:
        """Upload `files` and commit them onto `ref`, with the deletions; what the Hub has already is not sent again."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with explained(self.name, f"sending {message.lower()}"):
            added = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.path) for file in files]
            self._api.preupload_lfs_files(**self._kind, additions=added, revision=ref, free_memory=False)
            gone = [CommitOperationDelete(path_in_repo=name) for name in deleted]
            self._api.create_commit(**self._kind, operations=[*added, *gone], revision=ref, commit_message=message)


@contextmanager
def impatient_client() -> Iterator[None]:
    """Let the client give up a connection that is dead; by itself it would wait for ever."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.timeout = httpx2.Timeout(_ANSWER, connect=_CONNECT)
        return made

    set_client_factory(client)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


__all__ = ["HubError", "LocalFile", "RemoteFile", "Repository", "Request", "State", "Tree", "impatient_client"]
