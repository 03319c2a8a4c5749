"""Whether a dataset may leave the machine: schema, counts, licences, and nothing in it that belongs to this machine.

Everything is read from the files as they are, so a dataset that was edited by hand is judged by what it holds now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.publish.athome import HYDRATED
from vtscot.publish.columns import AT_HOME, FEATURES, arrow_schema
from vtscot.publish.digests import DIGESTS, digest_files
from vtscot.publish.leaks import leaks, leaves_root
from vtscot.publish.pictures import ASSET, image_kind, is_raster, picture_problems

if TYPE_CHECKING:
    from vtscot.sources.base import Licence

ALLOWED: Final = frozenset({"README.md", "LICENSE.md"})
SHARD: Final = re.compile(r"[\w.-]+/\w+-\d{5}-of-\d{5}\.parquet")
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
    if not any(metadata.get(key) for key in ("license", "licence")):
        problems.append("README.md states no licence")
    free = False
    for path in sorted(directory.rglob("*.parquet")):
        found = _Shard(licences)
        problems += [f"{path.relative_to(directory)}: {problem}" for problem in found.problems(path)]
        free = free or found.free
    return [*problems, *_pictures(directory, free)]


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
        elif name == HYDRATED:
            yield f"{name}: these rows were joined with frames at home (vtscot hydrate); push the original"
        elif path.is_file() and name not in ALLOWED and not SHARD.fullmatch(name) and not ASSET.fullmatch(name):
            yield f"{name} is no part of a dataset; move it away"


def _texts(directory: Path) -> Iterator[str]:
    for name in sorted(ALLOWED):
        if (directory / name).is_file():
            text = (directory / name).read_text(encoding="utf-8", errors="replace")
            yield from (f"{name}: {problem}" for problem in leaks(text))


def _pictures(directory: Path, free: bool) -> Iterator[str]:
    """Pictures of the card; `free` is whether any row is of a source whose frames may be passed on."""
    card = (directory / "README.md").read_text(encoding="utf-8", errors="replace")
    for path in sorted((directory / "assets").glob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not path.is_file() or not ASSET.fullmatch(name):
            continue  # `_stray_files` names it
        if name not in card:
            yield f"{name}: README.md does not show it; move it away"
        if is_raster(name) and not free:
            yield f"{name}: no source of this dataset allows to pass on its frames; only drawings (.svg) may go"
        yield from (f"{name}: {problem}" for problem in picture_problems(path))


def _counts(directory: Path, metadata: dict[str, Any]) -> Iterator[str]:
    """Rows, bytes and digest of every split against the card, and shards that no split of the card names."""
    digests: dict[str, Any] = found if isinstance(found := metadata.get(DIGESTS), dict) else {}
    stated = _stated(metadata)
    named: set[Path] = set()
    for (config, split), part in stated.items():
        paths = sorted(directory.glob(part.pattern)) if part.pattern else []
        named.update(paths)
        where = f"config {config!r}, split {split!r}"
        if not paths:
            yield f"{where}: no file matches {part.pattern!r}"
            continue
        rows, size = sum(map(_rows_of, paths)), sum(path.stat().st_size for path in paths)
        digest = digests.get(f"{config}/{split}")
        if rows != part.rows:
            yield f"{where}: README.md states {part.rows} rows, the files hold {rows}"
        elif size != part.bytes:
            yield f"{where}: README.md states {part.bytes} bytes, the files hold {size}: they were changed after it"
        elif digest is not None and digest != digest_files(paths):
            yield f"{where}: the files are not those that README.md was written for: they were changed after it"
    if not stated:
        yield "README.md lists no config: there is nothing to publish"
    for path in sorted(set(directory.rglob("*.parquet")) - named):
        yield f"{path.relative_to(directory)}: no config of README.md names it"


@dataclass(frozen=True)
class _Stated:
    """What a card says of one split: the pattern of its files ("" for none that may be), rows and bytes."""

    pattern: str
    rows: int | None
    bytes: int | None


def _stated(metadata: dict[str, Any]) -> dict[tuple[str, str], _Stated]:
    """What the card says by (config, split); whatever has another form counts as not stated."""
    infos = {
        (info.get("config_name"), split.get("name")): split
        for info in _dicts(metadata.get("dataset_info"))
        for split in _dicts(info.get("splits"))
    }
    return {
        (str(config.get("config_name")), str(part.get("split"))): _Stated(
            _safe_pattern(part.get("path")), info.get("num_examples"), info.get("num_bytes")
        )
        for config in _dicts(metadata.get("configs"))
        for part in _dicts(config.get("data_files"))
        for info in [infos.get((config.get("config_name"), part.get("split")), {})]
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


@dataclass
class _Shard:
    """One shard as it is judged; `free` tells afterwards whether a row's source allows to pass on its frames."""

    licences: Mapping[str, Licence] | None
    free: bool = False

    def problems(self, path: Path) -> list[str]:
        """Problems of the shard; a file with many of one kind would drown the rest, so the first ones stand for all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                problems = [*_schema(file.schema_arrow), *_footer(file.metadata.metadata or {})]
                if not problems:
                    for group in range(file.num_row_groups):
                        problems += self._rows(file, group)
        except (pa.ArrowException, OSError) as error:
            return [f"not a parquet file that can be read: {' '.join(str(error).split())}"]
        more = len(problems) - SHOWN
        return problems if more <= 0 else [*problems[:SHOWN], f"and {more} more problems"]

    def _rows(self, file: Any, group: int) -> Iterator[str]:
        """Rows of one group; of the images only their first bytes and names are looked at."""
        columns = [name for name in FEATURES if name != "images"]
        pictures = file.read_row_group(group, columns=["images"]).column("images")
        for row, images in zip(file.read_row_group(group, columns=columns).to_pylist(), pictures, strict=True):
            count = len(images) if images.is_valid else None
            checks = (_row_licence(row, count, self.licences), _row_images(row, count), _row_text(row))
            for problem in (*chain.from_iterable(checks), *_row_pictures(images)):
                yield f"row {row['id']}: {problem}"
            self.free = self.free or _free(row, self.licences)


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


def _footer(metadata: Mapping[bytes, bytes]) -> Iterator[str]:
    """What a writer put beside the rows, such as the machine it ran on; the schema is there twice anyway."""
    for key, value in metadata.items():
        if key != b"ARROW:schema":
            yield from leaks(value.decode("utf-8", errors="replace"))


def _row_pictures(images: Any) -> Iterator[str]:
    """Embedded frames: pictures by their first bytes, without names of this machine."""
    for image in images if images.is_valid else ():
        data, name = image["bytes"].as_buffer(), image["path"].as_py()
        if data is None or image_kind(data[:8].to_pybytes()) is None:
            yield "an image that is neither JPEG nor PNG"
            return
        if name and (leaves_root(name) or any(leaks(name))):
            yield f"a path of this machine: {name[:60]}"
            return


def _free(row: dict[str, Any], licences: Mapping[str, Licence] | None) -> bool:
    if licences is None:
        return bool(row["redistributable"])
    licence = licences.get(row["source"])
    return licence is not None and licence.redistributable


def _row_licence(row: dict[str, Any], images: int | None, licences: Mapping[str, Licence] | None) -> Iterator[str]:
    if licences is not None:
        licence = licences.get(row["source"])
        if licence is None:
            yield f"source {row['source']!r} is not known"
            return
        if (licence.id, licence.redistributable) != (row["licence"], bool(row["redistributable"])):
            yield f"it states licence {row['licence']!r}, its source has {licence.id!r}"
    kept = [name for name in AT_HOME if (images if name == "images" else row[name]) is not None]
    if kept and not _free(row, licences):
        yield f"{', '.join(kept)} of a source whose licence does not allow to pass them on"


def _row_images(row: dict[str, Any], images: int | None) -> Iterator[str]:
    places = sum(part["type"] == "image" for message in row["messages"] for part in message["content"])
    if places != len(row["frames"]):
        yield f"{places} image placeholders, but {len(row['frames'])} frames"
    if images is not None and images != places:
        yield f"{places} image placeholders, but {images} images"


def _row_text(row: dict[str, Any]) -> Iterator[str]:
    for name in [*(frame["name"] for frame in row["frames"]), row["video"]]:
        if leaves_root(name):
            yield f"a path of this machine: {name[:60]}"
    texts = _strings({key: value for key, value in row.items() if key not in AT_HOME})
    yield from leaks("\n".join(texts))  # one search: a row holds hundreds of strings


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
