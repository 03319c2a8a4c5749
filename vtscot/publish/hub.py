"""The way to the Hub: check, say what goes, upload the data, then the card in a commit of its own.

What is visible is what the card names, so a push that breaks off before the card leaves the old dataset in place,
and running it again uploads only what is missing. Shards of an earlier push that the new card does not name go with
the card's commit.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.errors import PublishError, UsageError
from vtscot.publish.validate import validate_dataset

if TYPE_CHECKING:
    from vtscot.sources.base import Licence

CARD: Final = "README.md"
SHARDS: Final = "*/*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].parquet"
_REPO: Final = re.compile(r"[\w.-]+/[\w.-]+")
LOG_IN: Final = "run `hf auth login`, or set HF_TOKEN"


def plan_push(run: Path, repo: str) -> list[tuple[str, int]]:
    """(path in `repo`, bytes) of everything that goes, in the order in which it goes: the card last."""
    directory = _dataset(run)
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    planned = [(path.relative_to(directory).as_posix(), path.stat().st_size) for path in paths]
    if not planned:
        raise PublishError(f"{directory} is empty: nothing to push to {repo}; run `vtscot build` first")
    return sorted(planned, key=lambda item: item[0] == CARD)


def push(
    run: Path,
    repo: str,
    *,
    private: bool,
    dry_run: bool,
    say: Callable[[str], None],
    licences: Mapping[str, Licence] | None = None,
) -> str:
    """Upload the dataset of `run` to the dataset repository `repo` ("user/name"); returns its address.

    Raises UsageError for another kind of name, PublishError where the dataset is not fit to be published or the Hub
    refuses it.
    """
    if not _REPO.fullmatch(repo):
        raise UsageError(f"--repo {repo!r} is not of the form user/name")
    directory = _dataset(run)
    if problems := validate_dataset(directory, licences):
        for problem in problems:
            say(f"  {problem}")
        raise PublishError(f"{directory} is not fit to be published: {problems[0]}{_and_more(len(problems) - 1)}")
    planned = plan_push(run, repo)
    for path, size in planned:
        say(f"  {size:>12,} bytes  {path}")
    total = sum(size for _, size in planned)
    say(f"{len(planned)} files, {total:,} bytes, to {_endpoint()}/datasets/{repo}{' (private)' if private else ''}")
    if dry_run:
        say("dry run: nothing was sent")
        return f"{_endpoint()}/datasets/{repo}"
    return _upload(directory, repo, [path for path, _ in planned], private=private, say=say)


def _dataset(run: Path) -> Path:
    directory = run / "dataset"
    if not directory.is_dir():
        raise PublishError(f"{run} holds no dataset; run `vtscot build --run {run}` first")
    return directory


def _and_more(count: int) -> str:
    return "" if count == 0 else f" (and {count} more)"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _upload(directory: Path, repo: str, names: list[str], *, private: bool, say: Callable[[str], None]) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    token = get_token()
    if token is None:
        raise PublishError(f"no Hugging Face token: {LOG_IN}")
    api = HfApi(endpoint=_endpoint(), token=token, library_name="vtscot")
    with _explained(repo, "creating the repository"):
        url = str(api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True))
        _check_visibility(api, repo, private)
    say("sending the data")
    with _explained(repo, "sending the data"):
        api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=directory,
            ignore_patterns=[CARD],
            commit_message="Data",
        )
    say("sending the card")
    with _explained(repo, "sending the card"):
        old = [name for name in api.list_repo_files(repo, repo_type="dataset") if fnmatch.fnmatch(name, SHARDS)]
        card = CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=directory / CARD)
        stale = [CommitOperationDelete(path_in_repo=name) for name in sorted(set(old) - set(names))]
        api.create_commit(repo, [card, *stale], repo_type="dataset", commit_message="Card")
    say(f"done: {url}")
    return url


def _check_visibility(api: Any, repo: str, private: bool) -> None:
    if private and not api.dataset_info(repo).private:
        raise PublishError(f"{repo} exists and is public: make it private on the Hub, or push without --private")


@contextmanager
def _explained(repo: str, doing: str) -> Iterator[None]:
    """Turn what the client raises into one line that says what to do."""
    import httpx2
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise PublishError(f"{repo!r} is no name of a repository (user/name): {_line(error)}") from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise PublishError(f"{doing} to {repo} failed: {_explain(error, repo)}") from error


def _explain(error: BaseException, repo: str) -> str:
    import httpx2

    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if response is not None:
            return _status(response, cause, repo)
        if isinstance(cause, httpx2.TimeoutException):
            return f"{_endpoint()} did not answer in time; run the same command again to go on"
        if isinstance(cause, (httpx2.TransportError, ConnectionError)):
            return f"cannot reach {_endpoint()} ({_line(cause)}); run the same command again to go on"
    return _line(error)


def _status(response: Any, error: BaseException, repo: str) -> str:
    code = response.status_code
    if code == 401:
        return f"the Hub does not accept the token (401); {LOG_IN}"
    if code == 403:
        return f"the token has no right to write to {repo} (403); use a token with write access, or another --repo"
    if code == 404:
        return f"no such repository, or no right to see it (404); check the name in --repo {repo}"
    if code == 429:
        wait = response.headers.get("Retry-After")
        return f"the Hub's rate limit is reached (429); try again {f'in {wait} s' if wait else 'later'}"
    if code >= 500:
        return f"the Hub has a problem of its own ({code}); run the same command again later"
    return f"the Hub refuses it ({code}): {_line(error)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
