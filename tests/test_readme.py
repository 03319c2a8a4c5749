"""What README says is so: its commands run, its Python runs, its files are there, its output is of the real form."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import vtscot

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    """Code blocks of a language, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [body for name, body in fenced if name == language]


def commands(program: str) -> list[list[str]]:
    """The command lines of README's shell blocks that start with `program`."""
    lines = (line for block in blocks("bash") for line in block.splitlines())
    split = (shlex.split(line, comments=True) for line in lines)
    return [words for words in split if words and words[0] == program]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the reader of README has it: MEVIS is a dataset, runs/demo-train what `make demo` makes."""
    from vtscot.demo import write_demo

    place = tmp_path_factory.mktemp("reader")
    write_demo(place / "MEVIS", videos=1, seed=0, workers=1)
    ended = vtscot("build", "--run", "runs/demo-train", "--set", "source.videos=1", cwd=place)
    assert ended.code == 0, ended.err
    train = place / "MEVIS" / "train"
    masks = json.loads((train / "mask_dict.json").read_text())
    videos = json.loads((train / "meta_expressions.json").read_text())["videos"]
    first = {
        name: {"0": {"prediction_masks": masks[str(video["expressions"]["0"]["anno_id"][0])]}}
        for name, video in videos.items()
    }
    (place / "PREDICTIONS.json").write_text(json.dumps(first))
    return place


def test_every_vtscot_command_of_the_readme_runs(place: Path) -> None:
    lines = commands("vtscot")
    assert len(lines) >= 3
    for words in lines:
        ended = vtscot(*words[1:], cwd=place)
        assert ended.code == 0, f"{shlex.join(words)}: {ended.err}"


def test_the_python_of_the_readme_runs(place: Path) -> None:
    (program,) = blocks("python")
    program += "\nassert len(episodes) > 0\n"
    env = os.environ | {"HF_HOME": str(place / "hf"), "HF_DATASETS_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=place, env=env, check=True, timeout=120)


def test_the_python_of_the_docs_prints_what_its_comments_say() -> None:
    elsewhere = {"dataset.md"}  # tests/test_roundtrip.py runs its programs, against a stand-in for the Hub
    pages = [path for path in DOCS if path.parent.name == "docs" and path.name not in elsewhere]
    programs = [program for path in pages for program in blocks("python", path.read_text())]
    assert programs
    for program in programs:
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
        assert ended.stdout.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", program, re.MULTILINE)


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    ended = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_make_demo_and_make_test_are_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["demo", "test"]


def test_commands_of_the_table_are_those_there_are() -> None:
    table = set(re.findall(r"^\| `vtscot (\S+?)[ `]", README, re.MULTILINE))
    told = re.findall(r"^  (\S+)  ", vtscot("--help").out.split("Commands:")[1], re.MULTILINE)
    assert table == set(told)
    for name in told:
        assert vtscot(name, "--help").code == 0


def test_files_of_the_tree_are_there() -> None:
    (tree,) = [block for block in blocks("") if "records.py" in block]
    for line in tree.splitlines():
        folder = ROOT / "vtscot" if line.startswith("  ") else ROOT
        names = re.findall(r"(?<!\S)\w+(?:/|\.py)", line)
        assert names, line
        for name in names:
            assert (folder / name).exists(), name


def test_the_output_shown_has_the_lines_of_real_output(place: Path) -> None:
    (shown,) = [block for block in blocks("") if "mean keyframe IoU" in block]
    real = vtscot("build", "--run", "runs/demo-train", "--set", "source.videos=1", cwd=place).out

    def words(text: str) -> set[str]:
        return set(re.findall(r"^ {0,2}([a-z][a-z ]*[a-zA-Z]+)", text, re.MULTILINE))

    assert words(real) <= words(shown)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 300
