"""`publish`: outcomes into `dataset/` and `report.html` of a run (of a large one with the folder `report/`).

Each appears whole or not at all.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtscot.errors import PublishError
from vtscot.files import write_bytes
from vtscot.publish.card import About, card_files
from vtscot.publish.context import PublishContext, Published
from vtscot.publish.example import Example, pick_example
from vtscot.publish.figures import Figures, figures
from vtscot.publish.metadata import REJECTED, Shards
from vtscot.publish.rows import Row, RowMaker
from vtscot.records import Outcome, Record


def publish(outcomes: Sequence[Outcome], context: PublishContext, directory: Path) -> Published:
    """Write `directory/dataset/` and `directory/report.html`, with its folder where it is large.

    Raises PublishError for a source without a licence, DataError for frames or masks that cannot be read any more.
    """
    from vtscot.publish.report import write_report

    ordered = sorted(outcomes, key=lambda outcome: outcome.query.id)
    _check_sources(ordered, context)
    numbers = figures(ordered)
    dataset = directory / "dataset"
    files = write_dataset(ordered, numbers, context, dataset)
    report = write_report(ordered, numbers, context, directory)
    return Published(dataset=dataset, report=report, files=files, figures=numbers)


def write_dataset(
    outcomes: Sequence[Outcome], numbers: Figures, context: PublishContext, directory: Path
) -> tuple[Path, ...]:
    """Write shards, card and licences beside `directory`, then put them in its place; returns relative paths."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as name:
        fresh = Path(name) / "new"
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        shards = [_write(fresh, part, chosen, context) for part, chosen in _parts(records)]
        for path, content in card_files(
            shards, numbers, About.of(context, numbers), _example(records, context)
        ).items():
            write_bytes(fresh / path, content)
        files = tuple(sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()))
        if directory.exists():
            directory.rename(Path(name) / "old")
        fresh.rename(directory)
    return files


def _example(records: Sequence[Record], context: PublishContext) -> Example | None:
    """The episode that the card shows; with frames and masks where its source allows to pass them on."""
    free = {name for name, licence in context.licences.items() if licence.redistributable}
    record = pick_example(records, free)
    if record is None:
        return None
    query = record.query
    shown = query.source in free
    return Example(
        source=query.source,
        video=query.video,
        expression=query.expression,
        episode=record.episode,
        plan=record.plan,
        keyframe_iou=record.verdict.keyframe_iou,
        frames=context.frames(query.video_id) if shown else None,
        track=context.tracks(query) if shown else None,
    )


def _check_sources(outcomes: Sequence[Outcome], context: PublishContext) -> None:
    for source in sorted({outcome.query.source for outcome in outcomes}):
        if source not in context.licences:
            raise PublishError(f"source {source!r} states no licence; without one its rows cannot be published")
        if source == REJECTED:
            raise PublishError(f"a source cannot be called {REJECTED!r}: that config holds the rejected rows")


def config_name(source: str) -> str:
    """The config of a source; the Hub allows letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^\w.-]", "_", source)


def split_name(split: str) -> str:
    """The split as `datasets` allows it: letters, digits and `_`."""
    return re.sub(r"\W", "_", split)


def _parts(records: Sequence[Record]) -> Iterator[tuple[tuple[str, str], list[Record]]]:
    """(config, split) and the records of each, sources before `rejected`; none is empty."""
    parts: dict[tuple[int, str, str], list[Record]] = {}
    for record in records:
        kept, split = record.verdict.kept, split_name(record.query.split)
        key = (0, config_name(record.query.source), split) if kept else (1, REJECTED, split)
        parts.setdefault(key, []).append(record)
    for (_, config, split), chosen in sorted(parts.items()):
        yield (config, split), chosen


def _write(directory: Path, part: tuple[str, str], records: Sequence[Record], context: PublishContext) -> Shards:
    from vtscot.publish.shards import write_split

    config, split = part
    paths = write_split(_rows(records, context), directory / config, split)
    return Shards.of(directory, config, split, paths, len(records))


def _rows(records: Sequence[Record], context: PublishContext) -> Iterator[Row]:
    maker = RowMaker(context)
    return (maker.row(record) for record in records)
