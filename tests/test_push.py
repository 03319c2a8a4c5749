"""Pushing to a stand-in for the Hub through the real client: what goes, in which order, and what may go wrong."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.hub import CUT, CUT_AFTER, CUT_IN_BODY, TOKEN, Commit, Hub, Repo, serve_hub
from tests.outcomes import LICENCES, all_outcomes, make_world
from vtscot.errors import PublishError, UsageError
from vtscot.publish import Target, publish, push
from vtscot.publish.hub import TITLE, LocalFile
from vtscot.publish.sending import STEP_FILES, local_files, steps_of

REPO = "someone/episodes"
OLD = "demo/train-00001-of-00002.parquet"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    publish(all_outcomes(), make_world(run / "frames").context(), run)
    return run / "dataset"


@pytest.fixture
def dataset(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "dataset"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as hub:
        use_hub(monkeypatch, hub.address)
        yield hub


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS
    patient = SimpleNamespace(sleep=lambda seconds: None, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", patient)  # retries need not wait


def send(
    dataset: Path,
    target: Target | None = None,
    *,
    dry_run: bool = False,
    agree: bool = True,
    waits: list[float] | None = None,
) -> tuple[str, list[str]]:
    said: list[str] = []
    waited = [] if waits is None else waits
    url = push(
        dataset,
        target or Target(REPO),
        say=said.append,
        confirm=lambda: agree,
        dry_run=dry_run,
        licences=LICENCES,
        wait=waited.append,
    )
    return url, said


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def held(hub: Hub, ref: str = "main") -> dict[str, bytes]:
    """What a ref shows, but for the file that the Hub puts into every repository."""
    files = hub.repos[REPO].refs[ref][-1].files
    return {path: data for path, data in files.items() if path != ".gitattributes"}


def made(hub: Hub, ref: str) -> list[Commit]:
    """The commits of a ref that main does not have."""
    repo = hub.repos[REPO]
    known = {commit.oid for commit in repo.refs["main"]}
    return [commit for commit in repo.refs[ref] if commit.oid not in known]


def change_card(dataset: Path, line: str = "more") -> None:
    card = dataset / "README.md"
    card.write_text(card.read_text() + f"\n{line}\n")


# ---- the way ----


def test_main_shows_all_of_it_by_one_merge_and_the_card_comes_last(dataset: Path, hub: Hub) -> None:
    url, said = send(dataset)
    repo = hub.repos[REPO]
    assert url == f"{hub.address}/datasets/{REPO}"
    assert held(hub) == files_of(dataset)
    assert len(repo.commits) == 1  # the merge
    assert repo.pulls[1].status == "merged"
    assert repo.pulls[1].title == TITLE
    *data, card = made(hub, "refs/pr/1")
    assert card.added == ["README.md"]
    assert all("README.md" not in commit.added for commit in data)
    assert len(hub.uploads) == len([name for name in files_of(dataset) if hub.large(name)])
    assert any("new        demo/train-00000-of-00001.parquet" in line for line in said)
    assert any("(public), by a pull request that is merged" in line for line in said)
    assert not repo.private


def test_what_is_there_already_is_not_sent_again(dataset: Path, hub: Hub) -> None:
    send(dataset)
    hub.uploads.clear()
    _, said = send(dataset)
    assert hub.uploads == []
    assert len(hub.repos[REPO].commits) == len(hub.repos[REPO].pulls) == 1
    assert said[-1] == "main holds all of it already"
    assert any("of these go 0 files, 0 bytes" in line for line in said)
    assert any("exists, public" in line for line in said)


def test_changed_data_replace_the_old_and_drop_their_shards(dataset: Path, hub: Hub) -> None:
    send(dataset)
    repo = hub.repos[REPO]
    repo.files |= {OLD: b"old", "assets/old.png": b"old", "notes.txt": b"mine"}
    change_card(dataset)
    _, said = send(dataset)
    assert made(hub, "refs/pr/2")[-1].deleted == ["assets/old.png", OLD]
    assert made(hub, "refs/pr/2")[-1].added == ["README.md"]
    assert held(hub) == files_of(dataset) | {"notes.txt": b"mine"}
    assert any(f"delete     {OLD}" in line for line in said)
    assert any("replace    README.md" in line for line in said)
    assert any("left as they are: .gitattributes, notes.txt" in line for line in said)


def test_an_open_request_is_left_for_others_and_merged_by_a_plain_push(dataset: Path, hub: Hub) -> None:
    url, _ = send(dataset, Target(REPO, open_pr=True))
    repo = hub.repos[REPO]
    assert url == f"{hub.address}/datasets/{REPO}/discussions/1"
    assert repo.pulls[1].status == "open"
    assert held(hub) == {}
    assert held(hub, "refs/pr/1") == files_of(dataset)
    change_card(dataset)
    assert send(dataset, Target(REPO, open_pr=True))[0] == url  # the same one, brought up to date
    send(dataset)
    assert repo.pulls[1].status == "merged"
    assert held(hub) == files_of(dataset)


def test_a_request_to_a_repository_of_others(dataset: Path, hub: Hub) -> None:
    hub.repos["other/episodes"] = Repo(private=False)
    with pytest.raises(PublishError, match=r"no right to write to other/episodes \(403\).* --open-pr"):
        send(dataset, Target("other/episodes"))
    assert hub.uploads == []
    send(dataset, Target("other/episodes", open_pr=True))
    assert hub.repos["other/episodes"].pulls[1].status == "open"


def test_a_branch_leaves_main_as_it_is(dataset: Path, hub: Hub) -> None:
    url, _ = send(dataset, Target(REPO, branch="next"))
    assert url == f"{hub.address}/datasets/{REPO}/tree/next"
    assert held(hub, "next") == files_of(dataset)
    assert made(hub, "next")[-1].added == ["README.md"]
    assert held(hub) == {}
    assert hub.repos[REPO].pulls == {}
    change_card(dataset)
    _, said = send(dataset, Target(REPO, branch="next"))  # it is there now
    assert any("unchanged  demo/train-00000-of-00001.parquet" in line for line in said)
    assert held(hub, "next") == files_of(dataset)


def test_the_branch_main_is_reached_like_main(dataset: Path, hub: Hub) -> None:
    send(dataset, Target(REPO, branch="main"))
    assert hub.repos[REPO].pulls[1].status == "merged"


def test_private(dataset: Path, hub: Hub) -> None:
    send(dataset, Target(REPO, private=True))
    assert hub.repos[REPO].private
    assert any("exists, private" in line for line in send(dataset)[1])


def test_private_into_a_public_repository_is_refused(dataset: Path, hub: Hub) -> None:
    send(dataset)
    with pytest.raises(PublishError, match="exists and is public"):
        send(dataset, Target(REPO, private=True))


def test_a_dataset_of_another_kind_is_not_overwritten(dataset: Path, hub: Hub) -> None:
    hub.repos[REPO] = Repo(private=False, files={"README.md": b"mine", "data/train-00000-of-00001.parquet": b"mine"})
    with pytest.raises(PublishError, match="holds a dataset that is not vtscot's"):
        send(dataset)
    assert hub.repos[REPO].commits == []


def test_small_files_go_through_the_streaming_client_too(
    dataset: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.all_regular = True
    send(dataset)
    assert held(hub) == files_of(dataset)


def test_dry_run_says_what_would_be_done_and_changes_nothing(dataset: Path, hub: Hub) -> None:
    _, said = send(dataset, dry_run=True)
    assert {request.split()[0] for request in hub.requests} == {"GET"}
    for file in local_files(dataset):
        assert any(file.name in line and f"{file.size:,}" in line for line in said)
    assert said[-1] == "dry run: nothing was sent"
    assert hub.repos == {}


def test_a_no_sends_nothing(dataset: Path, hub: Hub) -> None:
    with pytest.raises(PublishError, match="nothing was sent"):
        send(dataset, agree=False)
    assert {request.split()[0] for request in hub.requests} == {"GET"}


# ---- interruptions ----

CUTS = {
    "creating the repository": "POST /api/repos/create",
    "opening the request": f"POST /api/datasets/{REPO}/discussions",
    "an upload": "PUT /lfs/",
    "the first commit": f"POST /api/datasets/{REPO}/commit",
    "opening the draft": f"POST /api/datasets/{REPO}/discussions/1/status",
    "the merge": f"POST /api/datasets/{REPO}/discussions/1/merge",
}


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, CUT) for name in CUTS), ("an upload", CUT_IN_BODY), ("the first commit", CUT_IN_BODY)]
)
def test_a_cut_connection_and_a_second_run(name: str, kind: str, dataset: Path, hub: Hub) -> None:
    hub.faults[CUTS[name]] = kind
    with pytest.raises(PublishError, match=r"cannot reach .* run the same command again"):
        send(dataset)
    assert REPO not in hub.repos or held(hub) == {}
    hub.faults.clear()
    send(dataset)
    assert_sent_once(dataset, hub)
    assert len(hub.uploads) == len(set(hub.uploads))  # what had arrived is not sent again


@pytest.mark.parametrize("name", CUTS)
def test_an_answer_that_is_lost_is_not_asked_for_twice(name: str, dataset: Path, hub: Hub) -> None:
    hub.faults[CUTS[name]] = (CUT_AFTER, 1)
    send(dataset)
    assert_sent_once(dataset, hub)


def assert_sent_once(dataset: Path, hub: Hub) -> None:
    """Main shows all of it by one merge of one pull request."""
    repo = hub.repos[REPO]
    assert held(hub) == files_of(dataset)
    assert [pull.status for pull in repo.pulls.values()] == ["merged"]
    assert len(repo.commits) == 1


def test_a_push_that_stopped_between_data_and_card_is_gone_on_with(dataset: Path, hub: Hub) -> None:
    hub.faults["POST /api/validate-yaml"] = (500, {})  # what the client does first of all with a card
    with pytest.raises(PublishError, match="sending card"):
        send(dataset)
    repo = hub.repos[REPO]
    assert held(hub) == {}
    assert set(held(hub, "refs/pr/1")) == set(files_of(dataset)) - {"README.md"}
    assert repo.pulls[1].status == "draft"
    hub.faults.clear()
    hub.requests.clear()
    _, said = send(dataset)
    assert "going on with pull request 1" in said
    assert hub.requests.count(f"POST /api/datasets/{REPO}/commit/refs/pr/1") == 1  # only the card
    assert held(hub) == files_of(dataset)


def test_one_run_survives_what_passes(dataset: Path, hub: Hub) -> None:
    hub.faults |= {
        f"POST /api/datasets/{REPO}/commit": (CUT, 2),
        f"POST /api/datasets/{REPO}/discussions/1/merge": ((503, {}), 1),
        f"POST /api/datasets/{REPO}/discussions/1/status": ((429, {"Retry-After": "40"}), 1),
    }
    waits: list[float] = []
    _, said = send(dataset, waits=waits)
    assert held(hub) == files_of(dataset)
    assert 41.0 in waits
    assert any("rate limit is reached (429)" in line and "trying again in 41 s" in line for line in said)
    assert len(hub.repos[REPO].pulls) == 1


def test_main_that_went_on_closes_the_old_request(dataset: Path, hub: Hub) -> None:
    send(dataset, Target(REPO, open_pr=True))
    repo = hub.repos[REPO]
    repo.refs["main"].append(Commit("by hand", {**repo.files, "README.md": b"by hand"}, parent=repo.sha))
    repo.files = repo.refs["main"][-1].files
    send(dataset)
    assert [pull.status for pull in repo.pulls.values()] == ["closed", "merged"]
    assert repo.pulls[1].comments == ["main has changed; pushed again from there"]
    assert held(hub) == files_of(dataset)


def test_requests_of_others_and_by_other_names_are_left_alone(dataset: Path, hub: Hub) -> None:
    hub.repos[REPO] = repo = Repo(private=False)
    repo.open_pull(TITLE, "", "stranger")
    repo.open_pull("Fix a typo", "", "someone")
    send(dataset)
    assert [pull.status for pull in repo.pulls.values()] == ["draft", "draft", "merged"]


def test_files_that_the_repository_ignores_are_missed(dataset: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ignored", ("LICENSE.md",))
    with pytest.raises(PublishError, match=r"does not hold LICENSE\.md as it was sent"):
        send(dataset)
    assert held(hub) == {}


def test_steps_are_bounded() -> None:
    sizes = [2**29, 2**29, 1, 2**31, *[1] * (STEP_FILES + 1)]
    files = [LocalFile(f"{i}.parquet", Path(f"{i}"), size) for i, size in enumerate(sizes)]
    steps = [[file.size for file in step] for step in steps_of(files)]
    assert steps == [[2**29, 2**29], [1], [2**31], [1] * STEP_FILES, [1]]


# ---- refusals ----

FAULTS = {
    "token refused": ("GET /api/whoami-v2", (401, {}), "does not accept the token"),
    "no right to commit": (f"POST /api/datasets/{REPO}/preupload", (403, {}), "no right to write to someone/episodes"),
    "repository gone": (
        f"POST /api/datasets/{REPO}/preupload",
        (404, {"X-Error-Code": "RepoNotFound"}),
        "no such repository",
    ),
    "rate limit": (
        "POST /api/repos/create",
        (429, {"Retry-After": "1"}),
        r"rate limit is reached \(429\); try again in 1 s",
    ),
    "rate limit of an hour": (
        "POST /api/repos/create",
        (429, {"RateLimit": '"api";r=0;t=3600'}),
        r"rate limit is reached \(429\); try again in 3600 s",
    ),
    "server error": (f"POST /api/datasets/{REPO}/commit", (500, {}), r"a problem of its own \(500\)"),
    "upload refused": ("PUT /lfs/", (403, {}), "no right to write"),
    "conflict": (f"POST /api/datasets/{REPO}/discussions/1/merge", (409, {}), "somebody else changed"),
    "bad request": (f"POST /api/datasets/{REPO}/discussions", (400, {}), r"the Hub refuses it \(400\)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_refusals_are_one_line_that_says_what_to_do(name: str, dataset: Path, hub: Hub) -> None:
    start, answer, message = FAULTS[name]
    hub.faults[start] = answer
    with pytest.raises(PublishError, match=message) as caught:
        send(dataset)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert REPO not in hub.repos or held(hub) == {}


def test_another_ones_namespace(dataset: Path, hub: Hub) -> None:
    with pytest.raises(PublishError, match="no right to write to other/episodes"):
        send(dataset, Target("other/episodes"))


def test_a_token_that_may_only_read(dataset: Path, hub: Hub) -> None:
    hub.role = "read"
    with pytest.raises(PublishError, match="the token may only read, and has no right to write"):
        send(dataset)


TARGETS = {
    "three names": (Target("a/b/c"), "user/name"),
    "one name": (Target("name"), "user/name"),
    "a space": (Target("a b/c"), "user/name"),
    "an address": (Target("https://hub/a/b"), "user/name"),
    "a ref": (Target(REPO, branch="refs/pr/1"), "no name of a branch"),
    "a way out": (Target(REPO, branch="a/../b"), "no name of a branch"),
    "branch and request": (Target(REPO, branch="b", open_pr=True), "give one"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_cannot_be(name: str, dataset: Path, hub: Hub) -> None:
    target, message = TARGETS[name]
    with pytest.raises(UsageError, match=message):
        send(dataset, target)
    assert hub.requests == []


def test_no_token(dataset: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(PublishError, match="no Hugging Face token: run `hf auth login`"):
        send(dataset)
    assert hub.requests == []
    assert send(dataset, dry_run=True)[1][-1] == "dry run: nothing was sent"


def test_network_down(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_hub(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(PublishError, match="cannot reach http://127"):
            send(dataset)
        _, said = send(dataset, dry_run=True)
    assert any(line.startswith("what is there is not known: ") for line in said)
    assert said[-1] == "dry run: nothing was sent"
