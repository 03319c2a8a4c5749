"""Whether a run is ready to be published: what it has not finished, and whether its dataset is that of its ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtscot.errors import DataError, PublishError
from vtscot.index import Index, open_index
from vtscot.ledger import Ledger
from vtscot.records import Outcome
from vtscot.run import run_recipe


def check_run(run: Path, dataset: Path) -> list[str]:
    """What a run has left undone, one line each: queries not worked on, failures that another build may mend.

    Raises PublishError where its dataset lacks episodes that the ledger holds: a build was stopped before it wrote
    them, and what would be published is not what the run is.
    """
    recipe = run_recipe(run)
    with Ledger(run / "ledger.sqlite", read_only=True) as ledger:
        outcomes = list(ledger.outcomes())
    try:
        index = open_index(run / "index")
    except DataError as error:
        return [f"what is left to do cannot be told: {error}", *_failures(outcomes, run)]
    wanted = _selected(index, recipe.limit)
    done = [outcome for outcome in outcomes if outcome.query.id in wanted]
    _check_rows(run, dataset, done)
    return [*_pending(run, wanted, done), *_failures(done, run)]


def _selected(index: Index, limit: int | None) -> set[str]:
    return {query.id for query in index.expressions[:limit]}


def _check_rows(run: Path, dataset: Path, outcomes: Sequence[Outcome]) -> None:
    records = {(one.query.id, one.record.verdict.kept) for one in outcomes if one.record is not None}
    rows = set(_rows(dataset))
    if lacking := records - rows:
        raise PublishError(
            f"{dataset} is older than the run's ledger: {len(lacking)} of {len(records)} episodes are not in it as they"
            f" are now; finish the build, or write what is done with vtscot rebuild {run}"
        )


def _rows(dataset: Path) -> Iterator[tuple[str, bool]]:
    import pyarrow.parquet as pq

    for path in sorted(dataset.rglob("*.parquet")):
        table = pq.read_table(path, columns=["id", "kept"])
        yield from zip(table.column("id").to_pylist(), table.column("kept").to_pylist(), strict=True)


def _pending(run: Path, wanted: set[str], done: Sequence[Outcome]) -> Iterator[str]:
    if left := len(wanted - {outcome.query.id for outcome in done}):
        yield f"{left} of {len(wanted)} queries were not worked on yet; vtscot build --run {run} goes on with them"


def _failures(outcomes: Sequence[Outcome], run: Path) -> Iterator[str]:
    reasons = Counter(str(one.reason) for one in outcomes if one.state == "failed" and one.retryable)
    if reasons:
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        yield (
            f"{reasons.total()} of {len(outcomes)} queries failed and may pass in another build ({listed});"
            f" vtscot build --run {run} tries them again"
        )
