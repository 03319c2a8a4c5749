"""Whether a dataset may leave the machine: schema, counts, licences, and nothing in it that belongs to this machine.

Everything is read from the files as they are, so a dataset that was edited by hand is judged by what it holds now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.publish.columns import AT_HOME, FEATURES, arrow_schema

if TYPE_CHECKING:
    from vtscot.sources.base import Licence

SECRET: Final = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)
LOCAL: Final = re.compile(
    r"(?:^|[\s\"'`(=:,])(?:file://)?(/(?:home|Users|root|tmp|mnt|media|srv|opt|var|private|work|data|scratch)/[^\s\"'`)]+"
    r"|[A-Za-z]:\\[^\s\"'`)]+)"
)
ALLOWED: Final = frozenset({"README.md", "LICENSE.md"})
SHOWN: Final = 20


def validate_dataset(directory: Path, licences: Mapping[str, Licence] | None = None) -> list[str]:
    """What is wrong with the dataset, one line each; [] if it may be published.

    `licences` (by source name) are compared with what the rows state about themselves.
    """
    if not (directory / "README.md").is_file():
        return [f"{directory} holds no README.md: it is not a dataset that vtscot wrote"]
    metadata = _metadata(directory / "README.md")
    if metadata is None:
        return [f"{directory / 'README.md'}: no YAML metadata between two lines of ---"]
    problems = [*_stray_files(directory), *_texts(directory), *_counts(directory, metadata)]
    for path in sorted(directory.rglob("*.parquet")):
        problems += [f"{path.relative_to(directory)}: {problem}" for problem in _shard(path, licences)]
    return problems


def _metadata(path: Path) -> dict[str, Any] | None:
    import yaml

    match = re.match(r"---\n(.*?)\n---\n", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        value = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return None
    return value if isinstance(value, dict) else None


def _stray_files(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            yield f"{name} is a link; only plain files are published"
        elif path.is_file() and name not in ALLOWED and not name.endswith(".parquet"):
            yield f"{name} is no part of a dataset; move it away"


def _texts(directory: Path) -> Iterator[str]:
    for name in sorted(ALLOWED):
        if (directory / name).is_file():
            yield from (
                f"{name}: {problem}"
                for problem in _leaks((directory / name).read_text(encoding="utf-8", errors="replace"))
            )


def _leaks(text: str) -> Iterator[str]:
    if match := SECRET.search(text):
        yield f"what looks like a secret: {match[1][:6]}..."
    if match := LOCAL.search(text):
        yield f"a path of this machine: {match[1][:60]}"


def _counts(directory: Path, metadata: dict[str, Any]) -> Iterator[str]:
    """Rows of every split against the card, and shards that no split of the card names."""
    stated = _stated(metadata)
    named: set[Path] = set()
    for (config, split), (pattern, rows) in stated.items():
        paths = sorted(directory.glob(pattern)) if pattern else []
        named.update(paths)
        found = sum(map(_rows_of, paths))
        if not paths:
            yield f"config {config!r}, split {split!r}: no file matches {pattern!r}"
        elif found != rows:
            yield f"config {config!r}, split {split!r}: README.md states {rows} rows, the files hold {found}"
    if not stated:
        yield "README.md lists no config: there is nothing to publish"
    for path in sorted(set(directory.rglob("*.parquet")) - named):
        yield f"{path.relative_to(directory)}: no config of README.md names it"


def _stated(metadata: dict[str, Any]) -> dict[tuple[str, str], tuple[str, int | None]]:
    """(config, split) -> (pattern of its files, stated rows); whatever has another form counts as not stated."""
    rows = {
        (info.get("config_name"), split.get("name")): split.get("num_examples")
        for info in _dicts(metadata.get("dataset_info"))
        for split in _dicts(info.get("splits"))
    }
    return {
        (str(config.get("config_name")), str(part.get("split"))): (
            _safe_pattern(part.get("path")),
            rows.get((config.get("config_name"), part.get("split"))),
        )
        for config in _dicts(metadata.get("configs"))
        for part in _dicts(config.get("data_files"))
    }


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _safe_pattern(path: object) -> str:
    """A pattern that stays inside the dataset, else nothing."""
    text = path if isinstance(path, str) else ""
    return "" if text.startswith("/") or ".." in text.split("/") else text


def _rows_of(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0  # `_shard` says what is wrong with the file


def _shard(path: Path, licences: Mapping[str, Licence] | None) -> list[str]:
    """Problems of one shard; a file with many of one kind would drown the rest, so the first ones stand for all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            problems = list(_schema(file.schema_arrow))
            if not problems:
                columns = [name for name in FEATURES if name != "images"]
                for group in range(file.num_row_groups):
                    problems += _rows(file, group, columns, licences)
    except (pa.ArrowException, OSError) as error:
        return [f"not a parquet file that can be read: {' '.join(str(error).split())}"]
    more = len(problems) - SHOWN
    return problems if more <= 0 else [*problems[:SHOWN], f"and {more} more problems"]


def _schema(schema: Any) -> Iterator[str]:
    expected = arrow_schema()
    for name in FEATURES:
        if name not in schema.names:
            yield f"column {name!r} is missing"
        elif not schema.field(name).type.equals(expected.field(name).type):
            yield f"column {name!r} is {schema.field(name).type}, not {expected.field(name).type}"
    for name in schema.names:
        if name not in FEATURES:
            yield f"column {name!r} is not part of the schema"


def _rows(file: Any, group: int, columns: list[str], licences: Mapping[str, Licence] | None) -> Iterator[str]:
    """Rows of one group. Images are not read: how many a row has is told by the lengths of the column."""
    import pyarrow.compute as pc

    counts = pc.list_value_length(file.read_row_group(group, columns=["images"]).column("images")).to_pylist()
    for row, images in zip(file.read_row_group(group, columns=columns).to_pylist(), counts, strict=True):
        for problem in (*_row_licence(row, images, licences), *_row_images(row, images), *_row_text(row)):
            yield f"row {row['id']}: {problem}"


def _row_licence(row: dict[str, Any], images: int | None, licences: Mapping[str, Licence] | None) -> Iterator[str]:
    free = bool(row["redistributable"])
    if licences is not None:
        licence = licences.get(row["source"])
        if licence is None:
            yield f"source {row['source']!r} is not known"
            return
        if (licence.id, licence.redistributable) != (row["licence"], free):
            yield f"it states licence {row['licence']!r}, its source has {licence.id!r}"
        free = licence.redistributable
    kept = [name for name in AT_HOME if (images if name == "images" else row[name]) is not None]
    if not free and kept:
        yield f"{', '.join(kept)} of a source whose licence does not allow to pass them on"


def _row_images(row: dict[str, Any], images: int | None) -> Iterator[str]:
    places = sum(part["type"] == "image" for message in row["messages"] for part in message["content"])
    if places != len(row["frames"]):
        yield f"{places} image placeholders, but {len(row['frames'])} frames"
    if images is not None and images != places:
        yield f"{places} image placeholders, but {images} images"


def _row_text(row: dict[str, Any]) -> Iterator[str]:
    for name in [*(frame["name"] for frame in row["frames"]), row["video"]]:
        if name.startswith(("/", "\\")) or ".." in name.split("/") or re.match(r"[A-Za-z]:\\", name):
            yield f"a path of this machine: {name[:60]}"
    for text in _strings({key: value for key, value in row.items() if key not in AT_HOME}):
        yield from _leaks(text)


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
