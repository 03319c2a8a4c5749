"""Where items come from: the ledger of a run, which knows everything, or the rows of a dataset (`rows.py`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtscot.interchange.items import Found, Lost, open_copy
from vtscot.interchange.rows import Copies, row_items
from vtscot.ledger import Ledger
from vtscot.publish.locate import find_dataset, is_run
from vtscot.run import Run, run_recipe


@contextmanager
def open_items(
    name: str, *, rejected: bool = False, images: bool = True, root: Path | None = None, source: str | None = None
) -> Iterator[Iterator[Found]]:
    """The kept episodes of a run, in the order of their ids, or of a dataset, in its order; then the `rejected`.

    `root` is the user's copy of `source`, from which rows are completed; without `images` those of rows are not read.
    DataError for no run and no dataset.
    """
    if is_run(Path(name)):
        yield _run_items(Path(name), rejected)
        return
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        directory = find_dataset(name)
        copies = Copies(directory, root, source, Path(scratch))
        yield row_items(directory, copies, rejected=rejected, images=images)


def _run_items(directory: Path, rejected: bool) -> Iterator[Found]:
    with Ledger(directory / "ledger.sqlite", read_only=True) as ledger:
        run = Run(directory, run_recipe(directory), ledger)
        outcomes = sorted(ledger.outcomes(), key=lambda outcome: (outcome.state != "kept", outcome.query.id))
    states = ("kept", "rejected") if rejected else ("kept",)
    settings = run.recipe.source
    copy = open_copy(settings.name, run.source_root, settings.split, run.index)
    for outcome in outcomes:
        if outcome.state not in states or outcome.record is None:
            continue
        if outcome.query.video in copy.index.videos:
            yield copy.item(outcome.query, outcome.record.episode)
        else:
            yield Lost(outcome.query.id, "its video is no longer in the source", "left-source")
