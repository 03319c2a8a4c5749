"""What the reinforcement stage asks, and how its command refuses what it cannot train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import vtscot
from vtscot.errors import DataError, UsageError
from vtscot.index import ensure_index
from vtscot.rl.queries import open_tasks
from vtscot.sources.registry import open_source


def test_every_query_with_a_mask_is_asked_and_the_others_are_counted(demo_root: Path, tmp_path: Path) -> None:
    tasks = open_tasks("demo", demo_root, "train", tmp_path)
    index = ensure_index(open_source("demo", demo_root, "train"), tmp_path)
    assert len(tasks) + sum(tasks.left_out.values()) == len(index.expressions)
    without = sum(not query.anno_ids for query in index.queries)
    assert tasks.left_out.get("no target", 0) == without
    task = tasks[0]
    assert task.query.id == tasks.ids[0]
    assert len(task.truth) == len(task.frames)
    assert any(mask is not None for mask in task.truth.masks)


def test_a_run_knows_its_source(sft_run: Path, tmp_path: Path) -> None:
    tasks = open_tasks(str(sft_run), None, None, tmp_path / "index")
    assert len(tasks)
    assert not (tmp_path / "index").exists()
    with pytest.raises(UsageError, match="leave --root out"):
        open_tasks(str(sft_run), tmp_path, None, tmp_path / "index")


@pytest.mark.parametrize(
    ("name", "root", "complaint"),
    [("nothing", None, "is no run of vtscot build and no source"), ("demo", None, "needs --root and --split")],
)
def test_data_that_is_none(name: str, root: Path | None, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        open_tasks(name, root, None, tmp_path)


def test_a_video_without_frames_is_named(demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = open_tasks("demo", demo_root, "train", tmp_path)
    first = tasks.queries[0]
    honest = tasks.frames
    monkeypatch.setattr(tasks, "frames", lambda video: () if video == first.video else honest(video))
    with pytest.raises(DataError, match=rf"{first.id}: its video has no frames"):
        tasks.check_frames()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [("group.size=1", "group.size"), ("nonsense=1", "nonsense"), ("rewards.preset=best", "rewards.preset")],
)
def test_the_command_refuses_a_wrong_recipe_at_once(setting: str, complaint: str, tmp_path: Path) -> None:
    ended = vtscot("train", "rl", "--data", "demo", "--out", tmp_path / "out", "--set", setting)
    assert ended.code == 2
    assert complaint in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()
