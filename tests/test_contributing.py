"""CONTRIBUTING's worked example is true: its files, put where it says, make a source that is read and built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.DOTALL)


def example() -> dict[str, str]:
    """Path -> content of the files that CONTRIBUTING shows."""
    return dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The library as it is installed (recipes, prompts and schemas inside of the package), and the helpers of tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "vtscot", tmp_path / "vtscot", ignore=ignored)
    for name in ("pipelines", "prompts", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / "vtscot" / name, ignore=ignored)
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "cli.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


def test_the_example_is_complete_and_small() -> None:
    files = example()
    folders = [Path(path).parent.as_posix() for path in files]
    assert folders == ["vtscot/sources", "pipelines", "tests"]
    reader = next(iter(files.values()))
    assert len(reader.splitlines()) <= 60


def test_the_example_works(copy: Path) -> None:
    for path, content in example().items():
        place = copy / path if not path.startswith("pipelines/") else copy / "vtscot" / path
        place.write_text(content)
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    test = next(path for path in example() if path.startswith("tests/"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


def test_the_example_is_clean(copy: Path) -> None:
    """By the rules of the house: lint, format and types."""
    reader = next(iter(example()))
    (copy / reader).write_text(example()[reader])
    shutil.copy(ROOT / "pyproject.toml", copy)
    for command in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--strict", "--follow-imports=silent"]):
        tool = [sys.executable, "-m", *command, reader]
        ended = subprocess.run(tool, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
