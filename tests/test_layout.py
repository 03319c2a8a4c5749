"""The house: packages are all installed, imports point one way, heavy libraries stay out of the way."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {"pipelines", "prompts", "rl", "schemas", "sft"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules() -> dict[str, Path]:
    """Module name -> file, as installed."""
    folders = {"vtscot": ROOT / "vtscot", **{f"vtscot.{name}": ROOT / name for name in MAPPED}}
    named = {}
    for package, folder in folders.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            named[".".join([package, *parts]).removesuffix(".__init__")] = path
    return named


NAMES = frozenset(modules())


def imports(path: Path, *, lazy: bool) -> set[str]:
    """Modules of vtscot that a file imports; without `lazy`, only those loaded together with it."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vtscot"):
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES
            found |= parts or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("vtscot")}
    return found


def test_every_package_is_installed() -> None:
    listed = set(PYPROJECT["tool"]["setuptools"]["packages"])
    there = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert listed == there


# Who may not import whom: sources, mining, teachers, verification and publishing do not know each other.
FORBIDDEN = [
    ("vtscot.records", ("vtscot.",)),
    ("vtscot.masks", ("vtscot.records", "vtscot.sources", "vtscot.build")),
    ("vtscot.sources", ("vtscot.mining", "vtscot.teacher", "vtscot.verify", "vtscot.publish", "vtscot.build")),
    ("vtscot.mining", ("vtscot.sources", "vtscot.teacher", "vtscot.verify", "vtscot.publish", "vtscot.build")),
    ("vtscot.teacher", ("vtscot.mining", "vtscot.verify", "vtscot.publish", "vtscot.build", "vtscot.index")),
    ("vtscot.verify", ("vtscot.mining", "vtscot.sources", "vtscot.publish", "vtscot.build", "vtscot.index")),
    ("vtscot.publish", ("vtscot.mining", "vtscot.teacher", "vtscot.verify", "vtscot.build")),
    ("vtscot.segmenter", ("vtscot.verify", "vtscot.teacher", "vtscot.build")),
    ("vtscot.training", ("vtscot.sources", "vtscot.mining", "vtscot.teacher", "vtscot.verify", "vtscot.build")),
    ("vtscot.sft", ("vtscot.rl", "vtscot.cli")),
    ("vtscot.rl", ("vtscot.sft", "vtscot.cli")),
    ("vtscot", ("vtscot.cli", "vtscot.sft", "vtscot.rl")),
]


@pytest.mark.parametrize(("package", "forbidden"), FORBIDDEN, ids=[package for package, _ in FORBIDDEN])
def test_dependencies_point_one_way(package: str, forbidden: tuple[str, ...]) -> None:
    inside = {
        name: path
        for name, path in modules().items()
        if (name == package or name.startswith(f"{package}."))
        and (package != "vtscot" or not name.startswith(("vtscot.cli", "vtscot.__main__", "vtscot.sft", "vtscot.rl")))
    }
    assert inside
    wrong = [
        f"{name} imports {other}"
        for name, path in inside.items()
        for other in imports(path, lazy=True)
        if any(other == bad or other.startswith(f"{bad.rstrip('.')}.") for bad in forbidden) and other != package
    ]
    assert not wrong


def test_no_two_modules_import_each_other() -> None:
    graph = {name: imports(path, lazy=False) for name, path in modules().items()}
    order: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in order:
            return
        for other in sorted(graph.get(name, ())):
            if other != name:
                visit(other, (*trail, name))
        order.append(name)

    for name in graph:
        visit(name, ())
    assert len(order) >= len(graph)


HEAVY = ("torch", "transformers", "trl", "datasets", "cv2", "decord", "openai", "huggingface_hub", "pyarrow", "ray")


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["build", "--help"], ["push", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    program = (
        "import sys\nfrom vtscot.cli.main import run\n"
        f"code = run({command!r})\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'loaded: {loaded}' if loaded or code else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_import_vtscot_loads_nothing_heavy() -> None:
    program = f"import sys, vtscot\nsys.exit(str(sorted(set({HEAVY!r}) & set(sys.modules))).strip('[]'))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr.strip() == ""


def test_nothing_but_vtscot_is_installed() -> None:
    names = set(PYPROJECT["tool"]["setuptools"]["packages"])
    assert {name.split(".")[0] for name in names} == {"vtscot"}
