"""Recipes: everything that decides what a build makes, as one validated model read from YAML.

Order of precedence: the shipped recipe of the source, or the file given; then `--set key=value`; then the flags of
the command line. What only changes *how* a build runs (`RUNTIME`) is not part of a run's identity: it may differ
between two builds of one run, and is kept out of digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from vtscot.budget import PRESETS, Budget
from vtscot.errors import UsageError
from vtscot.mining import MiningSettings
from vtscot.records import Frozen
from vtscot.teacher.base import TeacherSettings
from vtscot.verify.base import VerifySettings

RUNTIME: Final = frozenset(
    {
        "source.root",
        "limit",
        "workers",
        "teacher.base_url",
        "teacher.concurrency",
        "teacher.timeout_s",
        "teacher.max_attempts",
        "teacher.max_answers",
        "teacher.backoff_s",
        "teacher.max_wait_s",
        "verify.device",
        "teacher.input_price",
        "teacher.output_price",
        "teacher.batch_price_factor",
        "teacher.pixels_per_token",
        "teacher.expected_output_tokens",
        "teacher.expected_latency_s",
        "teacher.max_cost",
        "teacher.batch",
        "teacher.batch_quiet_s",
        "teacher.batch_poll_s",
        "teacher.batch_requests",
        "teacher.batch_bytes",
    }
)


LATER: Final[dict[str, object]] = {
    "teacher.style": "full",
    "teacher.mode": "passes",
    "teacher.n_best": 1,
    "verify.checkpoint": None,
    "verify.dtype": "auto",
    "verify.judge": "none",
    "verify.window_frames": 12,
    "verify.min_window_ratio": 0.6,
    **{f"teacher.pass_tokens.{name}": None for name in ("temporal", "spatial", "linguistic", "single")},
}
"""Settings that earlier runs do not know, with the value that means what those runs did: no part of an identity, so
that such a run can be gone on with."""

_SHIPPED: Final = files("vtscot.pipelines")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


class SourceSettings(Frozen):
    """Which dataset is read. `videos` is how many the demo source makes; other sources ignore it."""

    name: str = "demo"
    split: str = "train"
    root: str | None = None
    videos: int = Field(default=24, gt=0)


class Recipe(Frozen):
    """A resolved recipe: one build, said completely."""

    source: SourceSettings = SourceSettings()
    seed: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, gt=0)
    workers: int | None = Field(default=None, gt=0)  # None: one per core
    budget: Budget = PRESETS["cold_start"]
    mining: MiningSettings = MiningSettings()
    teacher: TeacherSettings = TeacherSettings()
    verify: VerifySettings = VerifySettings()

    @field_validator("budget", mode="before")
    @classmethod
    def _preset_by_name(cls, value: object) -> object:
        if isinstance(value, str):
            if value not in PRESETS:
                raise ValueError(f"no budget preset {value!r}; there are {', '.join(PRESETS)}")
            return PRESETS[value]
        return value

    @model_validator(mode="after")
    def _a_model_is_named(self) -> Recipe:
        if self.asks_a_model and self.teacher.model is None:
            raise ValueError("the endpoint needs a model: name one with --model")
        if self.teacher.n_best > 1 and self.teacher.name != "openai":
            raise ValueError("teacher.n_best needs a model: the oracle writes the same each time")
        return self

    @property
    def asks_a_model(self) -> bool:
        """False where everything is offline: then the work is arithmetic, and goes to processes."""
        return "openai" in (self.teacher.name, self.verify.grounder, self.verify.judge)

    def flat(self) -> dict[str, object]:
        """All settings as dotted keys."""
        return flatten(self.model_dump(mode="json"))

    def identity(self) -> dict[str, object]:
        """The settings that decide what comes out, as dotted keys."""
        flat = self.flat()
        return {key: flat[key] for key in flat if key not in RUNTIME and not (key in LATER and flat[key] == LATER[key])}

    def digest(self) -> str:
        """Short digest of `identity()`; part of every record's provenance."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """A tree of settings as dotted keys."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def shipped_recipes() -> tuple[str, ...]:
    """The sources that a recipe of their own comes with: the file `demo.yaml` is about the source `demo`."""
    return tuple(sorted(p.name[:-5] for p in _SHIPPED.iterdir() if p.name.endswith(".yaml") and _about(p.name[:-5])))


def _about(source: str) -> bool:
    """Whether `source.yaml` is shipped and builds from that source; training has recipes beside those of sources."""
    path = _SHIPPED.joinpath(f"{source}.yaml")
    tree = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    named = tree.get("source") if isinstance(tree, dict) else None
    return isinstance(named, dict) and named.get("name") == source


def recipe_text(source: str, path: Path | None) -> tuple[str, str]:
    """Text of the recipe and its name in messages: the file `path`, else the shipped one that `path` names, for
    example `speedrun`; without `path` the one shipped for `source`.
    """
    if path is None:
        if not _about(source):
            raise UsageError(f"no recipe is shipped for source {source!r}; there are {', '.join(shipped_recipes())}")
        return _shipped_text(f"{source}.yaml")
    if _NAME.fullmatch(str(path)) and not path.exists() and _SHIPPED.joinpath(f"{path}.yaml").is_file():
        return _shipped_text(f"{path}.yaml")
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error


def _shipped_text(name: str) -> tuple[str, str]:
    return _SHIPPED.joinpath(name).read_text(encoding="utf-8"), f"pipelines/{name}"


def _put(tree: dict[str, Any], dotted: str, value: object) -> None:
    *folders, leaf = dotted.split(".")
    for folder in folders:
        if not isinstance(tree.get(folder), dict):
            tree[folder] = {"preset": tree[folder]} if folder == "budget" and folder in tree else {}
        tree = tree[folder]
    tree[leaf] = value


def parse_set(assignment: str) -> tuple[str, object]:
    """Key and value of one `--set key=value`."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {assignment!r} is not key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {assignment!r}: the value is not YAML") from error


def _choose_grounder(tree: dict[str, Any]) -> None:
    """Where the recipe names none: thoughts written by a model are grounded by a model, others by their words."""
    teacher, verify = tree.get("teacher"), tree.setdefault("verify", {})
    if isinstance(teacher, dict) and isinstance(verify, dict):
        verify.setdefault("grounder", "openai" if teacher.get("name") == "openai" else "words")


def _expand_budget(tree: dict[str, Any]) -> None:
    """`budget: {preset: NAME, key: value}` is the preset with some figures changed."""
    budget = tree.get("budget")
    if isinstance(budget, dict) and "preset" in budget:
        name = budget.pop("preset")
        if name not in PRESETS:
            raise UsageError(f"no budget preset {name!r}; there are {', '.join(PRESETS)}")
        tree["budget"] = PRESETS[name].model_dump() | budget


def load_recipe(
    source: str | None = None,
    path: Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, object] | None = None,
) -> Recipe:
    """Resolve a recipe; raises UsageError that names the file and the key for anything it does not know.

    `flags` are dotted keys from the command line; those that are None were not given.
    """
    text, name = recipe_text(source or "demo", path)
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{name} is not a mapping of settings")
    for key, value in map(parse_set, assignments):
        _put(tree, key, value)
    given = {"source.name": source, **(flags or {})}
    for key, value in given.items():
        if value is not None:
            _put(tree, key, value)
    _choose_grounder(tree)
    _expand_budget(tree)
    return _validated(tree, name)


def changed_recipe(recipe: Recipe, assignments: Iterable[str], path: Path) -> Recipe:
    """The recipe of a run, read from `path`, with some keys set; raises UsageError as `load_recipe` does."""
    tree = recipe.model_dump(mode="json")
    for key, value in map(parse_set, assignments):
        _put(tree, key, value)
    _expand_budget(tree)
    return _validated(tree, str(path))


def _validated(tree: dict[str, Any], name: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {where + ': ' if where else ''}{first['msg']}") from error
