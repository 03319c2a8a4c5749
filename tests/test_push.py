"""Pushing to a stand-in for the Hub through the real client: what goes, in which order, and what may go wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub import CUT, TOKEN, Hub, serve_hub
from tests.outcomes import LICENCES, all_outcomes, make_world
from vtscot.errors import PublishError, UsageError
from vtscot.publish import plan_push, publish, push, validate_dataset

REPO = "someone/episodes"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    publish(all_outcomes(), make_world(run / "frames").context(), run)
    return run


@pytest.fixture
def run(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published / "dataset", tmp_path / "run" / "dataset")
    return tmp_path / "run"


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


def send(run: Path, repo: str = REPO, *, private: bool = False, dry_run: bool = False) -> tuple[str, list[str]]:
    said: list[str] = []
    return push(run, repo, private=private, dry_run=dry_run, say=said.append, licences=LICENCES), said


def files_of(run: Path) -> dict[str, bytes]:
    root = run / "dataset"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def on_main(hub: Hub) -> dict[str, bytes]:
    """What main shows, but for the file that the Hub puts into every repository."""
    return {path: data for path, data in hub.repos[REPO].files.items() if path != ".gitattributes"}


def test_push_sends_everything_and_the_card_last(run: Path, hub: Hub) -> None:
    url, said = send(run)
    repo = hub.repos[REPO]
    assert url == f"{hub.address}/datasets/{REPO}"
    assert on_main(hub) == files_of(run)
    assert [commit.added for commit in repo.commits][-1] == ["README.md"]
    assert "README.md" not in repo.commits[0].added
    assert len(hub.uploads) == 3  # the shards go the way of large files
    assert any("demo/train-00000-of-00001.parquet" in line for line in said)
    assert not repo.private


def test_second_push_sends_nothing_again(run: Path, hub: Hub) -> None:
    send(run)
    before = len(hub.repos[REPO].commits)
    hub.uploads.clear()
    send(run)
    assert hub.uploads == []
    assert len(hub.repos[REPO].commits) == before


def test_a_cut_connection_leaves_the_card_out_and_the_next_push_goes_on(run: Path, hub: Hub) -> None:
    hub.faults[f"POST /api/datasets/{REPO}/commit"] = CUT
    with pytest.raises(PublishError, match=r"cannot reach .* run the same command again"):
        send(run)
    assert on_main(hub) == {}
    uploaded = list(hub.uploads)
    hub.faults.clear()
    send(run)
    assert hub.uploads == uploaded  # what had arrived is not sent again
    assert on_main(hub) == files_of(run)


def test_shards_of_an_earlier_cut_go_with_the_card(run: Path, hub: Hub) -> None:
    send(run)
    repo = hub.repos[REPO]
    repo.files["demo/train-00001-of-00002.parquet"] = b"old"
    repo.files["notes.txt"] = b"mine"
    (run / "dataset" / "README.md").write_text((run / "dataset" / "README.md").read_text() + "\nmore\n")
    send(run)
    assert repo.commits[-1].deleted == ["demo/train-00001-of-00002.parquet"]
    assert repo.commits[-1].added == ["README.md"]
    assert "notes.txt" in repo.files


def test_small_files_go_through_the_streaming_client_too(run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.all_regular = True
    send(run)
    assert on_main(hub) == files_of(run)
    assert hub.repos[REPO].commits[-1].added == ["README.md"]


def test_dry_run_says_what_goes_and_sends_nothing(run: Path, hub: Hub) -> None:
    _, said = send(run, dry_run=True)
    assert hub.requests == []
    for path, size in plan_push(run, REPO):
        assert any(path in line and f"{size:,}" in line for line in said)
    assert said[-1] == "dry run: nothing was sent"


def test_plan_lists_every_file_once_and_the_card_last(run: Path) -> None:
    planned = plan_push(run, REPO)
    assert dict(planned) == {path: len(data) for path, data in files_of(run).items()}
    assert planned[-1][0] == "README.md"


def test_private(run: Path, hub: Hub) -> None:
    send(run, private=True)
    assert hub.repos[REPO].private


def test_private_into_a_public_repository_is_refused(run: Path, hub: Hub) -> None:
    send(run)
    with pytest.raises(PublishError, match="exists and is public"):
        send(run, private=True)


FAULTS = {
    "token refused": ("POST /api/repos/create", (401, {}), "does not accept the token"),
    "no right to commit": (f"POST /api/datasets/{REPO}/preupload", (403, {}), "no right to write to someone/episodes"),
    "no such repository": (
        f"POST /api/datasets/{REPO}/preupload",
        (404, {"X-Error-Code": "RepoNotFound"}),
        "no such repository",
    ),
    "rate limit": (
        "POST /api/repos/create",
        (429, {"Retry-After": "1"}),
        r"rate limit is reached \(429\); try again in 1 s",
    ),
    "server error": (f"POST /api/datasets/{REPO}/commit", (500, {}), r"a problem of its own \(500\)"),
    "upload refused": ("PUT /lfs/", (403, {}), "no right to write"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_refusals_are_one_line_that_says_what_to_do(name: str, run: Path, hub: Hub) -> None:
    start, answer, message = FAULTS[name]
    hub.faults[start] = answer
    with pytest.raises(PublishError, match=message) as caught:
        send(run)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_another_ones_namespace(run: Path, hub: Hub) -> None:
    with pytest.raises(PublishError, match="no right to write to other/episodes"):
        send(run, "other/episodes")


@pytest.mark.parametrize("name", ["a/b/c", "name", "a b/c", "https://hub/a/b"])
def test_a_name_that_is_no_repository(run: Path, hub: Hub, name: str) -> None:
    with pytest.raises(UsageError, match="user/name"):
        send(run, name)
    assert hub.requests == []


def test_no_token(run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(PublishError, match="no Hugging Face token: run `hf auth login`"):
        send(run)
    assert hub.requests == []


def test_network_down(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_hub(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(PublishError, match="cannot reach http://127"):
            send(run)


def test_a_run_without_dataset(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="holds no dataset; run `vtscot build"):
        send(tmp_path)


# ---- what may not be published ----


def test_a_fresh_dataset_is_fit(run: Path) -> None:
    assert validate_dataset(run / "dataset") == []
    assert validate_dataset(run / "dataset", LICENCES) == []


def edit(run: Path, config: str, change: Any) -> None:
    """Rewrite the rows of a config by hand, keeping the schema."""
    path = run / "dataset" / config / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def with_images(rows: list[dict[str, Any]]) -> None:
    rows[0]["images"] = [{"bytes": b"jpeg", "path": None}] * len(rows[0]["frames"])


def with_masks_called_free(rows: list[dict[str, Any]]) -> None:
    rows[0] |= {"redistributable": True, "track": ["abc"]}


EDITS = {
    "frames of a third party": ("mevis", with_images, "images of a source whose licence"),
    "masks of a third party": ("mevis", with_masks_called_free, "track of a source whose licence"),
    "another licence": ("mevis", lambda rows: rows[0].update(licence="mit"), "it states licence 'mit'"),
    "unknown source": ("demo", lambda rows: rows[0].update(source="who"), "source 'who' is not known"),
    "an image too few": ("demo", lambda rows: rows[0]["images"].pop(), "image placeholders, but"),
    "local path in a name": (
        "demo",
        lambda rows: rows[0]["frames"][0].update(name="/home/me/1.jpg"),
        "path of this machine",
    ),
    "local path in a thought": (
        "demo",
        lambda rows: rows[0]["messages"][2]["content"][0].update(text="see /home/me/x.jpg"),
        "path of this machine: /home/me/x.jpg",
    ),
    "secret": (
        "demo",
        lambda rows: rows[0].update(teacher="openai:" + "sk-" + "a1" * 12),
        "looks like a secret: sk-a1a",
    ),
    "rows gone": ("demo", lambda rows: rows.pop(), "README.md states 5 rows, the files hold 4"),
}


@pytest.mark.parametrize("name", EDITS)
def test_rows_that_may_not_go(name: str, run: Path, hub: Hub) -> None:
    config, change, message = EDITS[name]
    edit(run, config, change)
    assert any(message in problem for problem in validate_dataset(run / "dataset", LICENCES))
    with pytest.raises(PublishError, match="is not fit to be published"):
        send(run)
    assert hub.requests == []


def test_frames_that_the_rows_call_private_are_seen_without_knowing_the_sources(run: Path) -> None:
    edit(run, "mevis", with_images)
    assert any("images of a source" in problem for problem in validate_dataset(run / "dataset"))


def drop_column(directory: Path) -> None:
    path = directory / "demo" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["plan"]), path)


def retype_column(directory: Path) -> None:
    path = directory / "demo" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("seed")
    pq.write_table(table.set_column(place, "seed", table.column("seed").cast(pa.string())), path)


FILES = {
    "column missing": (drop_column, "column 'plan' is missing"),
    "column of another type": (retype_column, "column 'seed' is string, not int64"),
    "truncated": (
        lambda d: (d / "demo" / "train-00000-of-00001.parquet").write_bytes(b"PAR1"),
        "not a parquet file that can be read",
    ),
    "frames beside it": (lambda d: (d / "00000.jpg").write_bytes(b"jpeg"), "00000.jpg is no part of a dataset"),
    "link": (lambda d: (d / "LICENSE.md").unlink() or (d / "LICENSE.md").symlink_to("/etc/hostname"), "is a link"),
    "shard that no config names": (
        lambda d: shutil.copy(d / "demo" / "train-00000-of-00001.parquet", d / "demo" / "extra.parquet"),
        "demo/extra.parquet: no config of README.md names it",
    ),
    "shard gone": (lambda d: (d / "mevis" / "train-00000-of-00001.parquet").unlink(), "no file matches"),
    "card gone": (lambda d: (d / "README.md").unlink(), "holds no README.md"),
    "card without metadata": (lambda d: (d / "README.md").write_text("# hello\n"), "no YAML metadata"),
    "card of nonsense": (
        lambda d: (d / "README.md").write_text("---\nconfigs: 3\n---\n"),
        "README.md lists no config",
    ),
    "token in the card": (
        lambda d: (d / "README.md").write_text((d / "README.md").read_text() + "hf_" + "ab" * 12),
        "README.md: what looks like a secret: hf_aba",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_may_not_go(name: str, run: Path) -> None:
    change, message = FILES[name]
    change(run / "dataset")
    problems = validate_dataset(run / "dataset", LICENCES)
    assert any(message in problem for problem in problems), problems


def test_publish_does_not_load_the_client() -> None:
    heavy = ("huggingface_hub", "pyarrow", "cv2", "jinja2", "datasets")
    code = f"import sys, vtscot.publish; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
