"""`push`: check, say what goes, ask, send the data in steps, the card last, and show it all at once.

By default the data go to a pull request: main shows nothing before its merge, which comes last and once. With
`open_pr` it stays open for others to look at; with `branch` the same steps go to that branch, and main is not touched.

A push that breaks off is gone on with by the same command: it finds its unfinished pull request or branch and sends
what that does not hold. What may pass by itself (a cut connection, a rate limit, a fault of the Hub) is waited for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vtscot.errors import PublishError, UsageError
from vtscot.publish.hub import STALE, LocalFile, Repository, Request, State, Tree, impatient_client
from vtscot.publish.hub_errors import HubError
from vtscot.publish.locate import CARD
from vtscot.publish.validate import validate_dataset

if TYPE_CHECKING:
    from vtscot.sources.base import Licence

Say = Callable[[str], None]
STEP_FILES: Final = 32
STEP_BYTES: Final = 2**30
"""A step is one commit: what a push that breaks off may have to look at again. Uploaded files are not sent again."""
TRIES: Final = 5  # in a row without a step forward
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BRANCH: Final = re.compile(r"(?!refs/)[A-Za-z0-9_](?!.*(?:\.\.|//|/$|\.lock$))[\w./-]*")
MAIN: Final = "main"


@dataclass(frozen=True)
class Target:
    """Where a dataset goes: "user/name", whether the repository is to be private, and by which way."""

    repo: str
    private: bool = False
    branch: str | None = None
    open_pr: bool = False

    def check(self) -> None:
        """UsageError for names and options that cannot be."""
        if not _REPO.fullmatch(self.repo):
            raise UsageError(f"--repo {self.repo!r} is not of the form user/name")
        if self.branch is not None and not _BRANCH.fullmatch(self.branch):
            raise UsageError(f"--branch {self.branch!r} is no name of a branch")
        if self.branch is not None and self.open_pr:
            raise UsageError("--branch commits to a branch and --open-pr opens a pull request onto main: give one")

    @property
    def onto(self) -> str | None:
        """The branch that is committed to; None for a pull request, which is also how main is reached."""
        return None if self.branch == MAIN else self.branch


def push(
    directory: Path,
    target: Target,
    *,
    say: Say,
    confirm: Callable[[], bool],
    dry_run: bool = False,
    licences: Mapping[str, Licence] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Send the dataset in `directory` to `target`; returns the address where it can be seen.

    Raises UsageError for a target that cannot be, PublishError where the dataset is not fit to be published, where
    `confirm` says no, or where the Hub refuses it.
    """
    target.check()
    files = _checked(directory, licences, say)
    repository = Repository(target.repo)
    author = None if dry_run else repository.login()
    with impatient_client():
        state = _looked(repository, target, dry_run=dry_run, say=say)
        for line in describe(files, state, target, repository):
            say(line)
        if dry_run or author is None:
            say("dry run: nothing was sent")
            return repository.url
        if not confirm():
            raise PublishError("nothing was sent")
        return _Push(files, target, repository, author, say, wait).run()


def local_files(directory: Path) -> list[LocalFile]:
    """The files of a dataset in the order in which they go: shards, then licences and pictures, then the card."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    files = [LocalFile(path.relative_to(directory).as_posix(), path, path.stat().st_size) for path in paths]
    return sorted(files, key=lambda file: (file.name == CARD, not file.name.endswith(".parquet"), file.name))


def stale_files(tree: Tree, files: Sequence[LocalFile]) -> list[str]:
    """What an earlier push left at a ref and the new card does not name."""
    return sorted(name for name in set(tree) - {file.name for file in files} if STALE.fullmatch(name))


def _checked(directory: Path, licences: Mapping[str, Licence] | None, say: Say) -> list[LocalFile]:
    if problems := validate_dataset(directory, licences):
        for problem in problems:
            say(f"  {problem}")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PublishError(
            f"{directory} is not fit to be published: {problems[0]}{more};"
            " write the dataset anew (vtscot rebuild RUN) or mend what is named"
        )
    return local_files(directory)


def _looked(repository: Repository, target: Target, *, dry_run: bool, say: Say) -> State | None:
    """What is on main, with the branch's files where it goes to one; a dry run goes on without knowing.

    PublishError where the push would do harm there.
    """
    try:
        state = repository.look()
        tree = None if state is None or target.onto is None else repository.branch_tree(target.onto)
    except HubError as error:
        if not dry_run:
            raise
        say(f"what is there is not known: {error}")
        return None
    if state is None:
        return None
    if target.private and not state.private:
        raise PublishError(f"{target.repo} exists and is public: make it private on the Hub, or push without --private")
    if not state.own and any(STALE.fullmatch(name) for name in state.files):
        raise PublishError(
            f"{target.repo} holds a dataset that is not vtscot's (no tag vtscot in its card): choose another --repo"
        )
    return state if tree is None else replace(state, files=tree)


def describe(files: Sequence[LocalFile], state: State | None, target: Target, repository: Repository) -> Iterator[str]:
    """What will be sent, line by line: files, what becomes of those that are there, target, visibility and way."""
    tree: Tree = {} if state is None else state.files
    kinds = [_becomes(file, tree) for file in files]
    for file, kind in zip(files, kinds, strict=True):
        yield f"  {file.size:>12,} bytes  {kind:<9}  {file.name}"
    for name in stale_files(tree, files):
        yield f"  {tree[name].size:>12,} bytes  {'delete':<9}  {name}"
    others = sorted(name for name in set(tree) - {file.name for file in files} if not STALE.fullmatch(name))
    if others:
        yield f"  left as they are: {', '.join(others[:5])}{f' and {len(others) - 5} more' if len(others) > 5 else ''}"
    going = [file for file, kind in zip(files, kinds, strict=True) if kind != "unchanged"]
    yield (
        f"{len(files)} files, {sum(file.size for file in files):,} bytes; of these go"
        f" {len(going)} files, {sum(file.size for file in going):,} bytes"
    )
    yield f"to {repository.url} ({_visibility(state, target)}), {_way(target)}"


def _becomes(file: LocalFile, tree: Tree) -> str:
    if file.name not in tree:
        return "new"
    return "unchanged" if tree[file.name].same(file) else "replace"


def _visibility(state: State | None, target: Target) -> str:
    if state is not None:
        return f"exists, {'private' if state.private else 'public'}"
    return "private" if target.private else "public"


def _way(target: Target) -> str:
    if target.onto is not None:
        return f"onto the branch {target.onto}; main is not touched"
    if target.open_pr:
        return "as a pull request that stays open"
    return "by a pull request that is merged at the end"


@dataclass
class _Push:
    """One push under way; every step looks at what is there, so it can be taken again from the start."""

    files: Sequence[LocalFile]
    target: Target
    repository: Repository
    author: str
    say: Say
    wait: Callable[[float], None]
    steps: int = 0  # commits made
    shown: bool = False

    def run(self) -> str:
        """Send until it is done; what may pass is waited for, `TRIES` times without a step forward."""
        failures, steps = 0, 0
        while True:
            try:
                return self._send()
            except HubError as error:
                failures = 1 if self.steps > steps else failures + 1
                steps = self.steps
                if error.wait is None or failures >= TRIES:
                    raise
                pause = max(error.wait, min(error.wait * 2 ** (failures - 1), 60.0))
                self.say(f"{error}; trying again in {pause:.0f} s")
                self.wait(pause)

    def _send(self) -> str:
        state = self.repository.look()
        if state is None:
            self.repository.create(private=self.target.private)
            state = self.repository.look()
        if state is None:
            raise PublishError(
                f"{self.target.repo} is there, but this token does not see it; use one that may, or another --repo"
            )
        if not self.target.open_pr:
            self.repository.check_write()
        if self.target.onto is not None:
            return self._onto_branch(self.target.onto)
        if self._complete(state.files):
            self.say("main holds all of it already")
            return self.repository.url
        return self._by_request(self._request(state))

    def _complete(self, tree: Tree) -> bool:
        return not self._missing(tree, self.files) and not stale_files(tree, self.files)

    def _onto_branch(self, branch: str) -> str:
        self.repository.branch(branch)
        self._fill(branch)
        self.say(f"branch {branch} holds all of it")
        return f"{self.repository.url}/tree/{branch}"

    def _request(self, state: State) -> Request:
        """The unfinished pull request of an earlier run, or a new one where there is none or main went on since."""
        found = self.repository.unfinished(self.author)
        if found is not None and self.repository.follows(found, state.head):
            self._say_once(f"going on with pull request {found.num}")
            return found
        if found is not None:
            self.say(f"pull request {found.num} is closed: main has changed since it was opened")
            self.repository.set_status(found, opened=False, comment="main has changed; pushed again from there")
        made = self.repository.open_request("The dataset as `vtscot push` found it. The card comes last.")
        self._say_once(f"pull request {made.num} is open: {made.url}")
        return made

    def _say_once(self, line: str) -> None:
        if not self.shown:
            self.say(line)
        self.shown = True

    def _by_request(self, request: Request) -> str:
        self._fill(request.ref)
        if request.draft:
            self.repository.set_status(request, opened=True)
        if self.target.open_pr:
            self.say("the pull request is ready, and stays open")
            return request.url
        self.repository.merge(request)
        self.say(f"pull request {request.num} is merged")
        return self.repository.url

    def _fill(self, ref: str) -> None:
        """Bring a ref to hold the dataset and nothing stale: data in steps, then the card with the deletions."""
        *data, card = self.files
        tree = self.repository.tree(ref)
        missing = self._missing(tree, data)
        total, sent = sum(file.size for file in missing), 0
        for chunk in steps_of(missing):
            self.repository.commit(ref, chunk, (), f"Data: {len(chunk)} of {len(data)} files")
            self.steps += 1
            sent += sum(file.size for file in chunk)
            self.say(f"sent {sent:,} of {total:,} bytes")
        if missing and (absent := self._missing(tree := self.repository.tree(ref), data)):
            raise PublishError(
                f"{self.target.repo} does not hold {absent[0].name} as it was sent: the dataset was changed in"
                " between, or a .gitignore of the repository leaves it out"
            )
        cards, stale = self._missing(tree, [card]), stale_files(tree, self.files)
        if cards or stale:
            self.repository.commit(ref, cards, stale, "Card")
            self.steps += 1

    def _missing(self, tree: Tree, files: Sequence[LocalFile]) -> list[LocalFile]:
        return [file for file in files if file.name not in tree or not tree[file.name].same(file)]


def steps_of(files: Sequence[LocalFile]) -> Iterator[list[LocalFile]]:
    """Cut `files` into runs of at most `STEP_FILES` files and, but for a larger single one, `STEP_BYTES`."""
    step: list[LocalFile] = []
    for file in files:
        if step and (len(step) == STEP_FILES or sum(one.size for one in step) + file.size > STEP_BYTES):
            yield step
            step = []
        step.append(file)
    if step:
        yield step
