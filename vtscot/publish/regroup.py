"""Rows of datasets put together anew: `merge` of several datasets, `split` of one by video.

Rows are moved as they are, images included; names of splits, card, licences and figures are made anew. The result is
`OUT/dataset/` with `OUT/report.html`, which push, stats, hydrate, export and train take as they take a run.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.errors import DataError, UsageError
from vtscot.files import write_bytes
from vtscot.progress import Progress, Silent
from vtscot.publish.card import About, card_files
from vtscot.publish.columns import FEATURES, check_columns
from vtscot.publish.figures import Figures, row_figures
from vtscot.publish.metadata import REJECTED, Shards
from vtscot.publish.opened import Dataset, Entry, RowReader, differing_column
from vtscot.publish.restored import context_of, example_of, outcome_of
from vtscot.sources.base import Licence

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS: Final = ("train", "validation", "test")
NEEDED: Final = tuple(name for name in FEATURES if name != "masks_digest")
"""Columns without which rows cannot be shown; the others are moved where they are there."""
Licences = Mapping[str, Licence]


@dataclass(frozen=True)
class Duplicate:
    """A row that was left out, since an earlier dataset has it."""

    id: str
    left_out: str  # the dataset it was left out of
    kept_id: str
    kept: str  # the dataset that has it


@dataclass(frozen=True)
class Regrouped:
    """What was written."""

    out: Path
    shards: tuple[Shards, ...]
    figures: Figures
    duplicates: tuple[Duplicate, ...] = ()
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """What `vtscot merge --json` and `vtscot split --json` print."""
        rows = [{"config": part.config, "split": part.split, "rows": part.rows} for part in self.shards]
        return {
            "out": str(self.out),
            "dataset": str(self.out / "dataset"),
            "report": str(self.out / "report.html"),
            "parts": rows,
            "rows": sum(part.rows for part in self.shards),
            "duplicates": [
                {"id": one.id, "left_out": one.left_out, "kept_id": one.kept_id, "kept": one.kept}
                for one in self.duplicates
            ],
            "notes": list(self.notes),
        }


def merge(datasets: Sequence[Dataset], out: Path, known: Licences, progress: Progress | None = None) -> Regrouped:
    """Write the rows of all `datasets` into `out`; of a row that several have, the first one's stays.

    Rows are the same where source, split, video, expression (but for case, white space and outer punctuation) and
    annotations are, or where they have the same id. `known` are licences by source. UsageError where `out` is in use;
    DataError where the datasets have different columns, or one source under two licences.
    """
    _check_out(out, datasets)
    _check_columns(datasets)
    chosen, duplicates = _distinct(datasets)
    return _write(datasets, chosen, out, known, tuple(duplicates), tuple(_torn(chosen)), progress or Silent())


def split(
    dataset: Dataset,
    out: Path,
    known: Licences,
    *,
    valid: float,
    test: float = 0.0,
    progress: Progress | None = None,
) -> Regrouped:
    """Write the rows of `dataset` into `out` with the splits train, validation and test, by video.

    Which one a video falls into depends on its name and the shares alone. UsageError for shares that leave nothing to
    train on, DataError where no row is left for it.
    """
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise UsageError(f"--valid {valid:g} and --test {test:g}: shares from 0 that leave something to train on")
    _check_out(out, [dataset])
    _check_columns([dataset])
    chosen = [(entry, part_of(entry.video, valid, test)) for entry in dataset.entries]
    there = {name for entry, name in chosen if entry.counted.kept}
    videos = len({entry.counted.video for entry in dataset.entries})
    if "train" not in there:
        raise DataError(f"{dataset.name}: no kept row is left to train on (videos: {videos}); choose smaller shares")
    shares = {"validation": valid, "test": test}
    notes = tuple(
        f"{name} holds no kept row: of {videos} videos none with one falls into the share of {share:g}"
        for name, share in shares.items()
        if share and name not in there
    )
    return _write([dataset], chosen, out, known, (), notes, progress or Silent())


def part_of(video: str, valid: float, test: float) -> str:
    """The split of a video, by the last part of its name: so copies of a video in two sources stay together.

    test takes the videos of the lowest numbers and validation those of the highest: a larger share adds videos to a
    split and takes none away.

    >>> part_of("blackswan", 0, 0), part_of("DAVIS/blackswan", 0.999, 0) == part_of("blackswan", 0.999, 0)
    ('train', True)
    """
    name = video.rstrip("/").rsplit("/", 1)[-1]
    place = int.from_bytes(hashlib.sha256(f"vtscot split\0{name}".encode()).digest()[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place >= 1 - valid else "train"


def _check_out(out: Path, datasets: Sequence[Dataset]) -> None:
    for dataset in datasets:
        here, place = out.resolve(), dataset.directory.resolve()
        if here == place or here / "dataset" == place or here in place.parents or place in here.parents:
            raise UsageError(f"--out {out} is, holds or lies in {dataset.name}, which is read: choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} holds something already: choose a new or empty folder")


def _check_columns(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    for dataset in datasets:
        check_columns(dataset.schema, NEEDED, dataset.directory)
        difference = differing_column(first.schema, dataset.schema)
        if difference is not None:
            raise DataError(
                f"{dataset.name}: {difference}, unlike {first.name}: they were written by different versions of vtscot;"
                f" write both with this one (vtscot rebuild RUN)"
            )


def _distinct(datasets: Sequence[Dataset]) -> tuple[list[tuple[Entry, str]], list[Duplicate]]:
    """Rows to write with their splits, and those left out. Rows of one dataset are not compared with each other."""
    chosen: list[tuple[Entry, str]] = []
    duplicates: list[Duplicate] = []
    known: dict[object, tuple[Entry, str]] = {}
    for dataset in datasets:
        fresh: dict[object, tuple[Entry, str]] = {}
        for entry in dataset.entries:
            earlier = known.get(entry.key) or known.get(entry.id)
            if earlier is not None:
                duplicates.append(Duplicate(entry.id, dataset.name, earlier[0].id, earlier[1]))
                continue
            chosen.append((entry, entry.split))
            fresh[entry.key] = fresh[entry.id] = (entry, dataset.name)
        known |= fresh
    return chosen, duplicates


def _torn(chosen: Sequence[tuple[Entry, str]]) -> Iterator[str]:
    """Says where the parts of one video ended up in several splits: what is trained on would be tested on."""
    splits: dict[str, set[str]] = {}
    for entry, name in chosen:
        splits.setdefault(entry.counted.video, set()).add(name)
    torn = sorted(video for video, names in splits.items() if len(names) > 1)
    if torn:
        more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
        yield f"{torn[0]}{more} stand in several splits; vtscot split puts each video into one"


def _write(
    datasets: Sequence[Dataset],
    chosen: Sequence[tuple[Entry, str]],
    out: Path,
    known: Licences,
    duplicates: tuple[Duplicate, ...],
    notes: tuple[str, ...],
    say: Progress,
) -> Regrouped:
    if not chosen:
        raise DataError("no row is left to write")
    licences = _licences([entry for entry, _ in chosen], known)
    numbers = row_figures(entry.counted for entry, _ in chosen)
    recipes = {digest: settings for dataset in datasets for digest, settings in dataset.recipes.items()}
    about = About(
        licences=licences,
        recipes=recipes,
        versions=tuple(sorted({entry.vtscot for entry, _ in chosen})),
        prompts=numbers.prompts,
        teacher=", ".join(numbers.teachers),
    )
    reader = RowReader()
    example = example_of([entry for entry, _ in chosen], licences, reader)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        fresh = Path(name) / "new" / "dataset"
        say.stage("write", len(chosen))
        shards = [
            _write_part(fresh, part, entries, reader, datasets[0].schema, say) for part, entries in _parts(chosen)
        ]
        for path, content in card_files(shards, numbers, about, example).items():
            write_bytes(fresh / path, content)
        _write_report([entry for entry, _ in chosen], numbers, about, reader, fresh.parent)
        if out.exists():
            out.rmdir()
        fresh.parent.rename(out)
    return Regrouped(out, tuple(shards), numbers, duplicates, notes)


def _parts(chosen: Sequence[tuple[Entry, str]]) -> Iterator[tuple[tuple[str, str], list[Entry]]]:
    """(config, split) and its rows in the order of their ids; `rejected` comes last."""
    parts: dict[tuple[str, str], list[Entry]] = {}
    for entry, name in chosen:
        parts.setdefault((entry.config, name), []).append(entry)

    def order(part: tuple[str, str]) -> tuple[bool, str, int, str]:
        config, name = part
        return config == REJECTED, config, SPLITS.index(name) if name in SPLITS else len(SPLITS), name

    for part in sorted(parts, key=order):
        yield part, sorted(parts[part], key=lambda entry: entry.id)


def _write_part(
    directory: Path,
    part: tuple[str, str],
    entries: Sequence[Entry],
    reader: RowReader,
    schema: pa.Schema,
    say: Progress,
) -> Shards:
    from vtscot.publish.shards import write_split

    def rows() -> Iterator[dict[str, Any]]:
        for row in reader.rows(entries):
            yield row
            say.advance()

    config, name = part
    paths = write_split(rows(), directory / config, name, schema)
    return Shards.of(directory, config, name, paths, len(entries))


def _write_report(entries: Sequence[Entry], numbers: Figures, about: About, reader: RowReader, directory: Path) -> None:
    from vtscot.publish.report import write_report

    ordered = sorted(entries, key=lambda entry: entry.id)
    settings = {key: value for recipe in about.recipes.values() for key, value in recipe.items()}
    context = context_of(ordered, about.licences, settings, reader)
    write_report([outcome_of(entry, reader) for entry in ordered], numbers, context, directory)


def _licences(entries: Sequence[Entry], known: Licences) -> dict[str, Licence]:
    """The licence of each source as its rows state it; DataError where they state two."""
    stated: dict[str, Entry] = {}
    for entry in entries:
        first = stated.setdefault(entry.source, entry)
        if (first.licence, first.free) != (entry.licence, entry.free):
            raise DataError(
                f"source {entry.source!r} is under {first.licence!r} in {first.id} and under {entry.licence!r} in"
                f" {entry.id}: rows of different terms cannot be one config; write both with this vtscot"
            )
    return {source: _licence(entry, known.get(source)) for source, entry in sorted(stated.items())}


def _licence(entry: Entry, known: Licence | None) -> Licence:
    if known is not None and (known.id, known.redistributable) == (entry.licence, entry.free):
        return known
    return Licence(entry.licence, entry.licence, None, entry.free and known is None)
