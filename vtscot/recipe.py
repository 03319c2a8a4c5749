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
from pathlib import Path
from typing import Final

from pydantic import Field, model_validator

from vtscot.budget import PRESETS, NamedBudget
from vtscot.errors import UsageError
from vtscot.mining import MiningSettings
from vtscot.records import Frozen
from vtscot.settings import (
    Tree,
    changes,
    file_text,
    flatten,
    parse_tree,
    put,
    shipped_names,
    shipped_text,
    validated,
)
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
    "mining.on_shown": False,
    "teacher.style": "full",
    "teacher.mode": "passes",
    "teacher.n_best": 1,
    "verify.checkpoint": None,
    "verify.dtype": "auto",
    "verify.judge": "none",
    "verify.window_frames": 12,
    "verify.min_window_ratio": 0.6,
    "verify.max_part_repetition": 1.0,
    **{f"teacher.pass_tokens.{name}": None for name in ("temporal", "spatial", "linguistic", "single")},
}
"""Settings that earlier runs do not know, with the value that means what those runs did: with it they are no part of an
identity, so that such a run can be opened and gone on with."""

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
    budget: NamedBudget = PRESETS["cold_start"]
    mining: MiningSettings = MiningSettings()
    teacher: TeacherSettings = TeacherSettings()
    verify: VerifySettings = VerifySettings()

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
        return deciding(self.flat())

    def digest(self) -> str:
        """Short digest of `identity()`; part of every record's provenance."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]


def deciding(flat: Mapping[str, object]) -> dict[str, object]:
    """Of dotted settings those that decide what comes out, whatever version wrote them."""
    return {key: flat[key] for key in flat if key not in RUNTIME and not (key in LATER and flat[key] == LATER[key])}


def made_recipe(path: Path) -> Recipe:
    """The recipe that a run was made with; settings that it does not know have the value that means what it did.

    Raises UsageError as `load_recipe` does.
    """
    text, where = file_text(path)
    tree = parse_tree(text, where)
    known = flatten(tree)
    for key, value in LATER.items():
        if key not in known:
            put(tree, key, value)
    return validated(Recipe, tree, where)


def shipped_recipes() -> tuple[str, ...]:
    """The sources that a recipe of their own comes with: the file `demo.yaml` is about the source `demo`."""
    return tuple(name for name in shipped_names() if _about(name))


def _about(source: str) -> bool:
    """Whether `source.yaml` is shipped and builds from that source; training has recipes beside those of sources."""
    named = parse_tree(*shipped_text(source)).get("source") if source in shipped_names() else None
    return isinstance(named, dict) and named.get("name") == source


def recipe_text(source: str, path: Path | None) -> tuple[str, str]:
    """Text of the recipe and its name in messages: the file `path`, else the shipped one that `path` names, for
    example `speedrun`; without `path` the one shipped for `source`.
    """
    if path is None:
        if not _about(source):
            raise UsageError(f"no recipe is shipped for source {source!r}; there are {', '.join(shipped_recipes())}")
        return shipped_text(source)
    if _NAME.fullmatch(str(path)) and not path.exists() and str(path) in shipped_names():
        return shipped_text(str(path))
    return file_text(path)


def _choose_grounder(tree: Tree) -> None:
    """Where the recipe names none: thoughts written by a model are grounded by a model, others by their words."""
    teacher, verify = tree.get("teacher"), tree.setdefault("verify", {})
    if isinstance(teacher, dict) and isinstance(verify, dict):
        verify.setdefault("grounder", "openai" if teacher.get("name") == "openai" else "words")


def load_recipe(
    source: str | None = None,
    path: Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, object] | None = None,
) -> Recipe:
    """Resolve a recipe; raises UsageError that names the file and the key for anything it does not know.

    `flags` are dotted keys from the command line; those that are None were not given.
    """
    text, where = recipe_text(source or "demo", path)
    tree = parse_tree(text, where)
    for key, value in changes(assignments, {"source.name": source, **(flags or {})}):
        put(tree, key, value)
    _choose_grounder(tree)
    return validated(Recipe, tree, where)


def changed_recipe(recipe: Recipe, assignments: Iterable[str], path: Path) -> Recipe:
    """The recipe of a run, read from `path`, with some keys set; raises UsageError as `load_recipe` does."""
    tree = recipe.model_dump(mode="json")
    for key, value in changes(assignments):
        put(tree, key, value)
    return validated(Recipe, tree, str(path))
