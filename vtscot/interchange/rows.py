"""Items from the rows of a dataset. A row knows what it was published with: the names of all frames, and what its
licence keeps at home, come from the user's own copy of the source, where one is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from vtscot.errors import DataError
from vtscot.interchange.items import Copy, Found, Item, Lost, open_copy
from vtscot.interchange.losses import Refused
from vtscot.publish.card import REJECTED
from vtscot.publish.reading import read_episode
from vtscot.records import Query
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
COLUMNS: Final = (
    *("id", "source", "split", "video", "exp_id", "expression", "kind", "object_ids", "anno_ids", "num_frames"),
    *("turns", "messages", "frames", "kept", "redistributable", "track", "mask_height", "mask_width"),
)
_QUERY: Final = ("source", "split", "video", "exp_id", "expression", "object_ids", "anno_ids", "kind")


class Copies:
    """The user's copies of the splits of one source, opened when a row asks for them."""

    def __init__(self, root: Path | None, source: str | None, scratch: Path) -> None:
        self._root, self._source, self._scratch = root, source, scratch
        self._open: dict[tuple[str, str], Copy] = {}

    def match(self, row: Row, query: Query) -> Copy | None:
        """The copy that holds the row's video; None without a root. Refused where its frames are other ones."""
        copy = self._of(query)
        if copy is None:
            return None
        video = copy.index.videos.get(query.video)
        if video is None or len(video.frames) != row["num_frames"]:
            raise Refused("changed-source")
        for frame in row["frames"]:
            if video.frames[frame["index"]] != frame["name"]:
                raise Refused("changed-source", f"frame {frame['index']} is not {frame['name']} there")
        if not set(query.anno_ids) <= set(copy.index.objects(query.video)):
            raise Refused("changed-source", "the objects of the row are not in that video")
        return copy

    def _of(self, query: Query) -> Copy | None:
        if self._root is None:
            return None
        first = self._source or next((name for name, _ in self._open), query.source)
        if query.source != first:
            raise Refused("other-source", f"the row is of {query.source}; --root is read as {first}")
        key = query.source, query.split
        if key not in self._open:
            self._open[key] = open_copy(*key[:1], self._root, key[1], self._scratch / str(len(self._open)))
        return self._open[key]


def row_items(directory: Path, rejected: bool, copies: Copies) -> Iterator[Found]:
    """The rows of a dataset's folder in the order of their ids; DataError for a shard that cannot be read."""
    places = [place for shard in _shards(directory, rejected) for place in _places(shard, rejected)]
    group = lru_cache(maxsize=4)(partial(_columns, names=COLUMNS))
    images = lru_cache(maxsize=2)(partial(_columns, names=("images",)))
    for name, shard, number, offset in sorted(places, key=lambda place: place[0]):
        row: Row = group(shard, number).slice(offset, 1).to_pylist()[0]
        try:
            episode, query = read_episode(row), Query(**{key: row[key] for key in _QUERY})
        except (DataError, ValidationError) as error:
            yield Lost(name, " ".join(str(error).split())[:200])
            continue
        try:
            copy = copies.match(row, query)
        except Refused as refused:
            yield Lost(name, refused.detail, refused.rule)
            continue
        if copy is not None:
            yield copy.item(query, episode)
        else:
            yield Item(
                query=query,
                episode=episode,
                free=bool(row["redistributable"]),
                names=_no_names,
                track=partial(_track, row),
                jpeg=partial(_image, lambda s=shard, n=number, o=offset: _row_images(images(s, n), o)),
            )


def _no_names() -> tuple[str, ...]:
    raise Refused("no-frame-names")


def _track(row: Row) -> MaskTrack | None:
    if not row["anno_ids"]:
        return None
    if row["track"] is None or row["mask_height"] is None or row["mask_width"] is None:
        raise Refused("no-masks")
    masks = tuple(None if counts is None else counts.encode() for counts in row["track"])
    return MaskTrack(row["mask_height"], row["mask_width"], masks)


def _image(read: Any, n: int) -> bytes:
    images = read()
    if images is None or n >= len(images) or images[n] is None or not images[n]["bytes"]:
        raise Refused("no-images")
    return bytes(images[n]["bytes"])


def _row_images(table: pa.Table, offset: int) -> list[Row] | None:
    images: list[Row] | None = table.column("images").slice(offset, 1).to_pylist()[0]
    return images


def _shards(directory: Path, rejected: bool) -> list[Path]:
    found = sorted(directory.rglob("*.parquet"))
    if not rejected:
        found = [path for path in found if path.relative_to(directory).parts[0] != REJECTED]
    if not found:
        raise DataError(f"{directory} holds no parquet files: is it a dataset of `vtscot build`, and whole?")
    return found


def _places(shard: Path, rejected: bool) -> Iterator[tuple[str, Path, int, int]]:
    """(id, shard, row group, row in it) of the rows that are wanted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            missing = [name for name in (*COLUMNS, "images") if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{shard} has no column {missing[0]!r}: it is no dataset of this vtscot")
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["id", "kept"])
                rows = zip(table.column("id").to_pylist(), table.column("kept").to_pylist(), strict=True)
                yield from ((str(n), shard, group, i) for i, (n, kept) in enumerate(rows) if kept or rejected)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shard} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error


def _columns(shard: Path, group: int, names: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            return file.read_row_group(group, columns=list(names))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shard} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error
