"""`vtscot check` at the command line: exit codes, the JSON object, the table, and that nothing is changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli import vtscot
from tests.trees import good_masks, good_meta, write_tree

case = pytest.param


@pytest.fixture(scope="module")
def broken(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo tree with a fault in each of three videos."""
    root = tmp_path_factory.mktemp("broken") / "tree"
    shutil.copytree(demo_root, root)
    meta = json.loads((root / "train" / "meta_expressions.json").read_bytes())
    first, second, third, *_ = meta["videos"]
    next(iter(meta["videos"][first]["expressions"].values()))["exp"] = ""
    (root / "train" / "meta_expressions.json").write_text(json.dumps(meta))
    (root / "train" / "JPEGImages" / second / "00003.jpg").unlink()
    path = root / "train" / "JPEGImages" / third / "00003.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_command_finds_changes_nothing_and_counts(broken: Path) -> None:
    before = digests(broken)
    arguments = ("check", "--source", "demo", "--root", broken, "--split", "train", "--limit-videos", "3", "--json")
    ended = vtscot(*arguments, "--workers", "2")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    report = ended.json()
    assert list(report) == ["source", "split", "videos", "queries", "usable", "lost", "findings", "kinds"]
    assert report["kinds"].keys() == {"empty-expression", "frame-missing", "frame-broken"}
    assert report["usable"] + report["lost"] == report["queries"]
    assert report["videos"] == 3
    for finding in report["findings"]:
        assert list(finding) == ["kind", "detail", "video", "exp_id", "anno_id", "frame", "fatal"]
        assert "\n" not in finding["detail"]
    assert digests(broken) == before
    assert vtscot(*arguments, "--workers", "1").out == ended.out


def test_the_table_is_grouped_by_video(broken: Path) -> None:
    ended = vtscot(
        "check", "--source", "demo", "--root", broken, "--split", "train", "--limit-videos", "2", "--workers", "1"
    )
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0] == "demo-0-0000"
    assert re.match(r"  empty-expression +1  expression 0: ", lines[1])
    assert "demo-0-0001" in lines
    assert "demo-0-0002" not in ended.out
    assert re.search(r"^2 videos, \d+ queries: \d+ usable, \d+ lost$", ended.out, re.MULTILINE)


def test_exit_code_zero_where_there_are_only_notes(tmp_path: Path) -> None:
    meta = good_meta()
    meta["videos"]["cat"]["expressions"]["0"]["exp"] = "the  square that moves"
    root = write_tree(tmp_path / "tree", meta, good_masks())
    ended = vtscot("check", "--source", "mevis", "--root", root, "--split", "train")
    assert ended.code == 0
    assert "odd-white-space" in ended.out
    assert "2 usable, 0 lost" in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        case(["--source", "mevis"], 2, "needs --root", id="no root"),
        case(["--source", "nothing", "--root", "."], 2, "nothing", id="unknown source"),
        case(["--source", "mevis", "--root", "nowhere"], 1, "no such folder", id="no folder"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], code: int, complaint: str, tmp_path: Path) -> None:
    ended = vtscot("check", *arguments, cwd=tmp_path)
    assert ended.code == code
    assert complaint in ended.complaint
