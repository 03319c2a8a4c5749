"""A run is a directory. Only its ledger remembers; the rest is made again at any time.

RUN/recipe.yaml      every setting of the build, resolved
RUN/ledger.sqlite    paid answers and the outcome of every query
RUN/index/           queries and mask tables of the source
RUN/source/          the demo world, where that is the source
RUN/dataset/         parquet shards and the card
RUN/report.html      every episode, to look at
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from vtscot import __version__
from vtscot.errors import RunError
from vtscot.files import write_text
from vtscot.ledger import Ledger
from vtscot.recipe import Recipe

OWN: Final = frozenset({"recipe.yaml", "index", "source", "dataset", "report.html"})
FORMAT: Final = 1  # of the run directory; raised when an older one can no longer be read


@dataclass(frozen=True)
class Run:
    """An open run. Paths are made by whoever writes to them."""

    directory: Path
    recipe: Recipe
    ledger: Ledger

    @property
    def index(self) -> Path:
        return self.directory / "index"

    @property
    def source_root(self) -> Path:
        """Where the source is read: the user's folder, or the demo world inside the run."""
        root = self.recipe.source.root
        return Path(root) if root is not None else self.directory / "source"

    @property
    def dataset(self) -> Path:
        return self.directory / "dataset"

    @property
    def report(self) -> Path:
        return self.directory / "report.html"


@contextmanager
def open_run(directory: Path, recipe: Recipe) -> Iterator[Run]:
    """Make the run or go on with it.

    Raises RunError where it was made with settings that would give another dataset (and says which), by another
    format of run, or is in use by another process.
    """
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory} is a file; choose another --run")
    ledger_path = directory / "ledger.sqlite"
    if directory.is_dir() and not ledger_path.exists() and _foreign(directory):
        raise RunError(f"{directory} holds other files and is no run; choose an empty or new folder for --run")
    directory.mkdir(parents=True, exist_ok=True)
    with Ledger(ledger_path) as ledger:
        _agree(directory, recipe, ledger)
        write_text(directory / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
        yield Run(directory, recipe, ledger)


@contextmanager
def reopen_run(directory: Path) -> Iterator[Run]:
    """Open a run as it was made; raises RunError where there is none or this vtscot cannot read it."""
    path = directory / "recipe.yaml"
    if not (directory / "ledger.sqlite").is_file() or not path.is_file():
        raise RunError(f"{directory} is no run: make one with vtscot build --run {directory}")
    try:
        recipe = Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    with open_run(directory, recipe) as run:
        yield run


def _foreign(directory: Path) -> bool:
    """Whether a folder without a ledger holds what no command of ours writes there."""
    return any(entry.name not in OWN and not entry.name.startswith(("ledger.", ".")) for entry in directory.iterdir())


def _agree(directory: Path, recipe: Recipe, ledger: Ledger) -> None:
    made_with = ledger.setting("identity")
    if made_with is None:
        ledger.set_setting("format", str(FORMAT))
        ledger.set_setting("vtscot", __version__)
        ledger.set_setting("identity", json.dumps(recipe.identity(), sort_keys=True))
        return
    made_format = ledger.setting("format")
    if made_format != str(FORMAT):
        raise RunError(f"{directory} was made by another vtscot (run format {made_format}, this one reads {FORMAT})")
    changes = differences(json.loads(made_with), recipe.identity())
    if changes:
        raise RunError(
            f"{directory} was made with other settings: {'; '.join(changes)}."
            " Give the settings it was made with, or another --run"
        )


def differences(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What changed between two sets of dotted settings, one line each: `key: old -> new`."""
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {json.dumps(before.get(key))} -> {json.dumps(after.get(key))}"
        for key in keys
        if before.get(key) != after.get(key)
    ]
