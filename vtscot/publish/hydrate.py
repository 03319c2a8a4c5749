"""`hydrate`: a dataset whose frames stayed at home, joined with somebody's own copy of them, as a new folder.

The new folder has the same configs, splits and columns. Rows of the source that fit the copy are complete in it: the
masks are filled in, and `images` names the frame files (`path`, at full size) or, embedded, holds JPEGs as the demo
source embeds them (`bytes`). Rows that do not fit are left out and named in `differences.jsonl`; rows of other
sources are as they were. `hydrated.json` marks the folder: what it holds must not be passed on.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot import __version__
from vtscot.errors import DataError, UsageError
from vtscot.files import write_text
from vtscot.progress import Progress, Silent
from vtscot.publish.athome import DIFFERENCES, Home, Joined, read_home, write_home
from vtscot.publish.card import REJECTED
from vtscot.publish.columns import AT_HOME, check_columns
from vtscot.publish.joining import KINDS, DiffersError, Joiner
from vtscot.publish.reading import COLUMNS, read_columns, read_schema
from vtscot.publish.rows import Row
from vtscot.publish.shards import write_split
from vtscot.sources.registry import SOURCES

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED: Final = tuple(dict.fromkeys((*COLUMNS, *AT_HOME, "redistributable")))
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class Difference:
    """A row that does not fit the copy, and why."""

    id: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Hydration:
    """What became of every row: hydrated + differences + complete + others = rows of the dataset."""

    out: Path
    source: str
    embedded: bool
    hydrated: int
    complete: int  # of the source, but with images already, by its licence
    others: int  # of other sources
    differences: tuple[Difference, ...]

    @property
    def rows(self) -> int:
        """Rows of the dataset."""
        return self.hydrated + self.complete + self.others + len(self.differences)

    @property
    def kinds(self) -> dict[str, list[Difference]]:
        """Differences by kind, in the order in which a row is looked at."""
        return {kind: found for kind in KINDS if (found := [one for one in self.differences if one.kind == kind])}

    def json(self) -> dict[str, Any]:
        """What `vtscot hydrate --json` prints."""
        return {
            "out": str(self.out),
            "source": self.source,
            "embedded": self.embedded,
            "rows": self.rows,
            "hydrated": self.hydrated,
            "complete": self.complete,
            "others": self.others,
            "differences": {kind: len(found) for kind, found in self.kinds.items()},
            "first": {kind: {"id": found[0].id, "detail": found[0].detail} for kind, found in self.kinds.items()},
        }


@dataclass(frozen=True)
class _Part:
    """The shards of one split of one config, and the schema of the first."""

    config: str
    split: str
    shards: list[Path]
    schema: pa.Schema


def hydrate(
    dataset: Path, source: str, root: Path, out: Path, *, embed: bool, name: str = "", progress: Progress | None = None
) -> Hydration:
    """Write `out` from the dataset in folder `dataset` and the copy of `source` in `root`.

    `name` is what the user calls the dataset. UsageError for an unknown source, one that no row is of, or an `out`
    that holds anything but an earlier hydration of it; DataError for a column that is missing, a root without the
    source, or where no row fits. Nothing is written then.
    """
    say = progress or Silent()
    if source not in SOURCES:
        raise UsageError(f"no source is called {source!r}; there are: {', '.join(SOURCES)}")
    _check_out(dataset, out, source)
    parts = _parts(dataset)
    splits, total = _wanted(parts, source, name or str(dataset))
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as scratch:
        fresh = Path(scratch) / "new"
        joiner = Joiner(source, root.absolute(), splits, Path(scratch) / "index", embed=embed)
        work = _Work(source, joiner, say)
        say.stage("hydrate", total)
        for part in parts:
            work.write(part, fresh)
        done = work.done(out, embed)
        if not done.hydrated:
            raise DataError(f"{root}: {_summary(done)}; is it another copy or version of {source}? Nothing was written")
        _finish(fresh, dataset, done, Path(root).absolute(), name or str(dataset))
        if out.exists():
            out.rename(Path(scratch) / "old")
        fresh.rename(out)
    return done


class _Work:
    """Rows of a dataset as rows of the new folder, and what became of each."""

    def __init__(self, source: str, joiner: Joiner, say: Progress) -> None:
        self._source, self._joiner, self._say = source, joiner, say
        self._counts: Counter[str] = Counter()
        self._differences: list[Difference] = []

    def write(self, part: _Part, fresh: Path) -> None:
        """Write the rows of one split; a split that none is left of has no shard."""
        directory = fresh / part.config
        if not write_split(self._rows(part), directory, part.split, part.schema) and not any(directory.iterdir()):
            directory.rmdir()

    def done(self, out: Path, embedded: bool) -> Hydration:
        """The figures."""
        counts = self._counts
        made = (counts["hydrated"], counts["complete"], counts["others"])
        return Hydration(out, self._source, embedded, *made, tuple(self._differences))

    def _rows(self, part: _Part) -> Iterator[Row]:
        for shard in part.shards:
            for row in _read(shard):
                self._say.advance()
                made = self._row(row)
                if made is not None:
                    yield made

    def _row(self, row: Row) -> Row | None:
        if row["source"] != self._source:
            self._counts["others"] += 1
            return row
        if row["redistributable"] and row["images"] is not None:
            self._counts["complete"] += 1
            return row
        try:
            made = self._joiner.join(row)
        except DiffersError as error:
            self._differences.append(Difference(str(row["id"]), error.kind, str(error)))
            return None
        self._counts["hydrated"] += 1
        return made


def _check_out(dataset: Path, out: Path, source: str) -> None:
    """UsageError where writing `out` would replace anything but what an earlier hydration wrote, or lose a source.

    A dataset that was hydrated may be its own `out`: that is how a second source is joined.
    """
    if not out.exists():
        return
    there = read_home(out) if out.is_dir() else None
    if there is None:
        raise UsageError(f"--out {out} is there already, and not from vtscot hydrate; choose a new folder")
    given = read_home(dataset)
    lost = [name for name in there.sources if name != source and (given is None or name not in given.sources)]
    if lost:
        raise UsageError(
            f"--out {out} has rows joined with {lost[0]}, which would be lost; to join {source} as well, hydrate that"
            f" folder: vtscot hydrate {out} --source {source} --out {out}"
        )


def _parts(dataset: Path) -> list[_Part]:
    """Every split of every config of a dataset; DataError where there is none or a column is missing."""
    found: dict[tuple[str, str], _Part] = {}
    for path in sorted(dataset.rglob("*.parquet")):
        schema = read_schema(path)
        check_columns(schema, NEEDED, path)
        config = path.parent.relative_to(dataset).as_posix()
        key = ("default" if config == "." else config.replace("/", "_"), _SHARD.sub("", path.stem))
        part = found.setdefault(key, _Part(*key, [], schema))
        if not part.schema.equals(schema):
            raise DataError(f"{path} has other columns than {part.shards[0].name}: build the dataset again")
        part.shards.append(path)
    if not found:
        raise DataError(f"{dataset} holds no parquet files: is it a dataset of `vtscot build`, and whole?")
    return list(found.values())


def _wanted(parts: Sequence[_Part], source: str, name: str) -> tuple[list[str], int]:
    """The splits of the source that rows are joined with, and the number of all rows."""
    sources: Counter[str] = Counter()
    splits: set[str] = set()
    for shard in (shard for part in parts for shard in part.shards):
        for table in read_columns(shard, ["source", "split"]):
            pairs = Counter(zip(*(table.column(key).to_pylist() for key in ("source", "split")), strict=True))
            for (of, split), count in pairs.items():
                sources[str(of)] += count
                splits |= {str(split)} if of == source else set()
    if source not in sources:
        there = ", ".join(f"{key} ({count} rows)" for key, count in sorted(sources.items())) or "none, it has no rows"
        raise UsageError(f"{name} has no rows of source {source!r}; its sources: {there}")
    return sorted(splits), sum(sources.values())


def _read(shard: Path) -> Iterator[Row]:
    for table in read_columns(shard, None):
        yield from table.to_pylist()


def _summary(done: Hydration) -> str:
    if done.complete and not done.differences:
        return f"nothing to join: all {done.complete} rows of {done.source} hold their frames"
    told = "; ".join(
        f"{kind} {len(found)} (first: {found[0].id}: {found[0].detail})" for kind, found in done.kinds.items()
    )
    return f"none of {len(done.differences)} rows of {done.source} fits: {told}"


def _finish(fresh: Path, dataset: Path, done: Hydration, root: Path, name: str) -> None:
    """The card, the marker, the licence and the list of rows that were left out."""
    before = read_home(dataset)
    joined = Joined(
        root=str(root),
        embedded=done.embedded,
        rows=done.hydrated + len(done.differences),
        hydrated=done.hydrated,
        differences={kind: len(found) for kind, found in done.kinds.items()},
    )
    sources = {**(before.sources if before else {}), done.source: joined}
    home = Home(vtscot=__version__, dataset=before.dataset if before else name, sources=sources)
    write_home(fresh, home)
    write_text(fresh / "README.md", _card(fresh, home))
    if (dataset / "LICENSE.md").is_file():
        shutil.copyfile(dataset / "LICENSE.md", fresh / "LICENSE.md")
    lines = [json.dumps(vars(one), ensure_ascii=False) for one in done.differences]
    if before and (dataset / DIFFERENCES).is_file():
        lines = [*(dataset / DIFFERENCES).read_text(encoding="utf-8").splitlines(), *lines]
    if lines:
        write_text(fresh / DIFFERENCES, "".join(f"{line}\n" for line in lines))


def _card(fresh: Path, home: Home) -> str:
    """What `datasets` needs to find the configs, and what a reader must know."""
    import yaml

    splits: dict[str, list[dict[str, str]]] = {}
    for config, split in sorted({(p.parent.name, _SHARD.sub("", p.stem)) for p in fresh.rglob("*.parquet")}):
        splits.setdefault(config, []).append({"split": split, "path": f"{config}/{split}-*.parquet"})
    names = sorted(splits, key=lambda config: config == REJECTED)
    configs = [
        {"config_name": config, **({"default": True} if config == names[0] else {}), "data_files": splits[config]}
        for config in names
    ]
    sources = ", ".join(f"{source} ({'embedded' if one.embedded else 'files'})" for source, one in home.sources.items())
    return (
        f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False)}---\n\n# For training at home\n\n"
        f"Joined by `vtscot hydrate` with frames and masks of: {sources}. The terms of these sources do not allow to\n"
        "pass them on: do not publish this folder. `hydrated.json` tells where it comes from.\n"
    )
