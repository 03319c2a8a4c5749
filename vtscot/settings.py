"""Settings of any kind: a tree read from YAML, changed by `key=value` and by flags, then validated by a model.

Order of precedence: the text, then `--set key=value`, then the flags of the command line. Every mistake is a
UsageError of one line that names the file and the key. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from vtscot.errors import UsageError
from vtscot.records import Frozen

Tree = dict[str, Any]
M = TypeVar("M", bound=Frozen)
_SHIPPED: Final = files("vtscot.pipelines")
_PYDANTIC: Final = "Value error, "  # stands before what a validator of ours says


def shipped_names(prefix: str = "") -> tuple[str, ...]:
    """Names of the recipes that come with vtscot and begin with `prefix`, without `.yaml`."""
    names = (path.name for path in _SHIPPED.iterdir())
    return tuple(sorted(name[:-5] for name in names if name.startswith(prefix) and name.endswith(".yaml")))


def shipped_text(name: str) -> tuple[str, str]:
    """Text of a shipped recipe, and what messages call it."""
    return _SHIPPED.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"pipelines/{name}.yaml"


def file_text(path: Path) -> tuple[str, str]:
    """Text of a file of settings, and what messages call it."""
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error


def recipe_text(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Text of one of the `known` shipped recipes or of the file `name`, and what messages call it."""
    if name in known:
        return shipped_text(name)
    if not Path(name).is_file():
        raise UsageError(f"there is no recipe {name}: give a file, or one of {', '.join(known)}")
    return file_text(Path(name))


def parse_tree(text: str, where: str) -> Tree:
    """The settings in a text that messages call `where`; nothing in it is no setting."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if tree is not None and not isinstance(tree, dict):
        raise UsageError(f"{where} is not a mapping of settings")
    return tree or {}


def parse_set(assignment: str) -> tuple[str, object]:
    """Key and value of one `--set key=value`."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {assignment!r} is not key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {assignment!r}: the value is not YAML") from error


def changes(assignments: Iterable[str], flags: Mapping[str, object] | None = None) -> Iterator[tuple[str, object]]:
    """Dotted keys and their new values in order of precedence; flags that are None were not given."""
    yield from map(parse_set, assignments)
    yield from ((key, value) for key, value in (flags or {}).items() if value is not None)


def put(tree: Tree, dotted: str, value: object) -> None:
    """Set one dotted key. A text on the way is the name of a preset, of which one figure changes: `budget: tiny`."""
    *folders, leaf = dotted.split(".")
    for folder in folders:
        inside = tree.get(folder)
        if not isinstance(inside, dict):
            tree[folder] = {"preset": inside} if isinstance(inside, str) else {}
        tree = tree[folder]
    tree[leaf] = value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """A tree of settings as dotted keys."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def validated(kind: type[M], tree: Tree, where: str) -> M:
    """The settings as a model; UsageError names the first key that is unknown or wrong."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {key + ': ' if key else ''}{first['msg'].removeprefix(_PYDANTIC)}") from error
