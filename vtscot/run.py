"""A run is a directory. Only its ledger remembers; the rest is made again at any time.

RUN/recipe.yaml      every setting of the build, resolved
RUN/ledger.sqlite    paid answers and the outcome of every query
RUN/index/           queries and mask tables of the source
RUN/source/          the demo world, where that is the source
RUN/dataset/         parquet shards and the card
RUN/report.html      every episode, to look at; of a large run its data are in RUN/report/
RUN/failures.jsonl   every query that failed, why, and whether another build may mend it
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from vtscot import __version__
from vtscot.endpoint.faults import shown_url
from vtscot.errors import RunError, UsageError
from vtscot.files import write_text
from vtscot.ledger import Ledger
from vtscot.recipe import LATER, Recipe, deciding, made_recipe
from vtscot.records import Outcome

OWN: Final = frozenset({"recipe.yaml", "index", "source", "dataset", "report.html", "report", "failures.jsonl"})
FORMAT: Final = 1  # of the run directory; raised when an older vtscot can no longer read it


@dataclass(frozen=True)
class Run:
    """An open run. Paths are made by whoever writes to them; `changes` are settings it was not made with."""

    directory: Path
    recipe: Recipe
    ledger: Ledger
    changes: tuple[str, ...] = ()

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
def open_run(directory: Path, recipe: Recipe, *, update: bool = False) -> Iterator[Run]:
    """Make the run or go on with it.

    Raises RunError where it was made with settings that would give another dataset (and says which), by another
    format of run, or is in use by another process. `update` takes the new settings, but for those of its source.
    """
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory} is a file; choose another --run")
    ledger_path = directory / "ledger.sqlite"
    if directory.is_dir() and not ledger_path.exists() and _foreign(directory):
        raise RunError(f"{directory} holds other files and is no run; choose an empty or new folder for --run")
    directory.mkdir(parents=True, exist_ok=True)
    with Ledger(ledger_path) as ledger:
        changes = _agree(directory, recipe, ledger, update=update)
        write_text(directory / "recipe.yaml", recipe_text(recipe))
        yield Run(directory, recipe, ledger, changes)


@contextmanager
def reopen_run(directory: Path) -> Iterator[Run]:
    """Open a run as it was made; raises RunError where there is none or this vtscot cannot read it."""
    with open_run(directory, run_recipe(directory)) as run:
        yield run


def run_recipe(directory: Path) -> Recipe:
    """The settings a run was made with, by this vtscot or an older one.

    RunError where there is no run, where this vtscot cannot read them, or where they were changed since.
    """
    path = directory / "recipe.yaml"
    if not (directory / "ledger.sqlite").is_file() or not path.is_file():
        raise RunError(f"{directory} is no run: make one with vtscot build --run {directory}")
    with Ledger(directory / "ledger.sqlite", read_only=True) as ledger:
        _check_format(directory, ledger)
        made_with, made_by = ledger.setting("identity"), ledger.setting("vtscot")
    try:
        recipe = made_recipe(path)
    except UsageError as error:
        other = f"the run was made by vtscot {made_by}: pip install vtscot=={made_by} to read it"
        raise RunError(f"{error}; {'was it changed by hand?' if made_by == __version__ else other}") from error
    changes = [] if made_with is None else differences(deciding(json.loads(made_with)), recipe.identity())
    if changes:
        raise RunError(
            f"{path} was changed by hand since the run was made: {'; '.join(changes)}. Put it back, or take it with"
            f" vtscot build --run {directory} --recipe {path} --update"
        )
    return recipe


def write_failures(directory: Path, outcomes: Sequence[Outcome]) -> None:
    """Write `failures.jsonl`: one line per failed query, ordered by its id; an empty file where none failed."""
    failed = sorted((one for one in outcomes if one.state == "failed"), key=lambda one: one.query.id)
    lines = (
        {
            "id": one.query.id,
            "expression": one.query.expression,
            "reason": one.reason,
            "detail": one.detail,
            "retryable": one.retryable,
        }
        for one in failed
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(directory / "failures.jsonl", text)


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as YAML; user, password and query of the endpoint's address are not written down."""
    tree = recipe.model_dump(mode="json")
    if (url := recipe.teacher.base_url) is not None:
        tree["teacher"]["base_url"] = shown_url(url)
    return yaml.safe_dump(tree, sort_keys=False)


def _foreign(directory: Path) -> bool:
    """Whether a folder without a ledger holds what no command of ours writes there."""
    return any(entry.name not in OWN and not entry.name.startswith(("ledger.", ".")) for entry in directory.iterdir())


def _agree(directory: Path, recipe: Recipe, ledger: Ledger, *, update: bool) -> tuple[str, ...]:
    """Compare with what the run was made with, and remember the new settings where that may be."""
    made_with, identity = ledger.setting("identity"), recipe.identity()
    changes: tuple[str, ...] = ()
    if made_with is not None:
        _check_format(directory, ledger)
        changes = _changes(directory, json.loads(made_with), identity, update=update)
    if made_with is None or changes:
        ledger.set_setting("format", str(FORMAT))
        ledger.set_setting("vtscot", __version__)
        ledger.set_setting("identity", json.dumps(identity, sort_keys=True))
    return changes


def _check_format(directory: Path, ledger: Ledger) -> None:
    """RunError where a newer vtscot made the run."""
    made_format = ledger.setting("format")
    if made_format is not None and int(made_format) > FORMAT:
        raise RunError(
            f"{directory} was made by a newer vtscot ({ledger.setting('vtscot')}, run format {made_format}, this one"
            f" reads up to {FORMAT}): pip install -U vtscot, or choose another --run"
        )


def _changes(directory: Path, before: dict[str, object], after: dict[str, object], *, update: bool) -> tuple[str, ...]:
    unknown = {key: LATER[key] for key in after if key in LATER}  # to the version that made the run
    changes = differences(unknown | deciding(before), after)
    foreign = [line for line in changes if line.startswith("source.")]
    if "demo" in (before.get("source.name"), after.get("source.name")):
        foreign += [line for line in changes if line.startswith("seed:")]  # it makes the demo world
    if update and foreign:
        raise RunError(f"{directory} is of another source ({'; '.join(foreign)}): choose another --run")
    if changes and not update:
        raise RunError(
            f"{directory} was made with other settings: {'; '.join(changes)}."
            " Give those, or another --run, or take the new ones with --update, which pays for what they change"
        )
    return tuple(changes)


def differences(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What changed between two sets of dotted settings, one line each: `key: old -> new`."""
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {json.dumps(before.get(key))} -> {json.dumps(after.get(key))}"
        for key in keys
        if before.get(key) != after.get(key)
    ]
