"""Items from the rows of a dataset. A row knows what it was published with: the names of all frames, and what its
licence keeps at home, come from the user's own copy of the source: the one given, or the one it was hydrated from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from vtscot.errors import DataError
from vtscot.interchange.items import Copy, Found, Item, Lost, open_copy, shown
from vtscot.interchange.losses import Refused
from vtscot.publish.athome import read_home
from vtscot.publish.card import REJECTED
from vtscot.publish.columns import check_columns
from vtscot.publish.reading import find_shards, read_columns, read_episode, read_schema
from vtscot.records import Episode, Query
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
    """Copies of sources, opened when a row asks for what it does not hold."""

    def __init__(self, directory: Path, root: Path | None, source: str | None, scratch: Path) -> None:
        self._home = read_home(directory)
        self._root, self._source, self._scratch = root, source, scratch
        self._open: dict[tuple[str, str], Copy] = {}

    def match(self, row: Row, query: Query) -> Copy | None:
        """The copy that holds the row's video; None where there is none. Refused where its frames are other ones."""
        root = self._root_of(query.source)
        if root is None:
            return None
        key = query.source, query.split
        if key not in self._open:
            self._open[key] = open_copy(query.source, root, query.split, self._scratch / str(len(self._open)))
        copy = self._open[key]
        _check_same(row, query, copy)
        return copy

    def _root_of(self, source: str) -> Path | None:
        if self._root is None:
            return self._home.root(source) if self._home else None
        self._source = self._source or source  # without --source, the first row says whose copy it is
        if source != self._source:
            raise Refused("other-source", f"the row is of {source}; --root is read as {self._source}")
        return self._root


def _check_same(row: Row, query: Query, copy: Copy) -> None:
    video = copy.index.videos.get(query.video)
    if video is None or len(video.frames) != row["num_frames"]:
        raise Refused("changed-source")
    for frame in row["frames"]:
        if video.frames[frame["index"]] != frame["name"]:
            raise Refused("changed-source", f"frame {frame['index']} is not {frame['name']} there")
    if not set(query.anno_ids) <= set(copy.index.objects(query.video)):
        raise Refused("changed-source", "the objects of the row are not in that video")


def row_items(directory: Path, copies: Copies, *, rejected: bool, images: bool) -> Iterator[Found]:
    """The rows of a dataset's folder in its order; `images` says whether these are wanted.

    DataError for a folder without rows, and for a shard that cannot be read.
    """
    names = (*COLUMNS, "images") if images else COLUMNS
    shards = find_shards(directory)
    if rejected:
        shards += sorted(directory.glob(f"{REJECTED}/*.parquet"))
    for shard in shards:
        check_columns(read_schema(shard), names, shard)
        for table in read_columns(shard, list(names)):
            yield from (_found(row, copies) for row in _rows(table) if row["kept"] or rejected)


def _rows(table: pa.Table) -> Iterator[Row]:
    """Rows one at a time: their images are large as Python values."""
    for i in range(len(table)):
        yield table.slice(i, 1).to_pylist()[0]


def _found(row: Row, copies: Copies) -> Found:
    try:
        query = Query(**{key: row[key] for key in _QUERY})
        held = _Held(row, query, read_episode(row), copies)
    except (DataError, ValidationError) as error:
        return Lost(str(row["id"]), " ".join(str(error).split())[:200], "broken-row")
    return Item(query, held.episode, bool(row["redistributable"]), held.names, held.target, held.track, held.jpeg)


class _Held:
    """What a row holds; for the rest it asks the copy, which must have the same frames."""

    def __init__(self, row: Row, query: Query, episode: Episode, copies: Copies) -> None:
        self.episode = episode
        self._row, self._query, self._copies = row, query, copies
        self._item: Item | None = None

    def names(self) -> tuple[str, ...]:
        return self._other("no-frame-names").names()

    def target(self) -> MaskTrack | None:
        row = self._row
        if not row["anno_ids"]:
            return None
        if row["track"] is None or row["mask_height"] is None or row["mask_width"] is None:
            return self._other("no-masks").target()
        masks = tuple(None if counts is None else counts.encode() for counts in row["track"])
        return MaskTrack(row["mask_height"], row["mask_width"], masks)

    def track(self, anno_id: str) -> MaskTrack:
        return self._other("no-masks").track(anno_id)  # a row holds its targets together

    def jpeg(self, n: int) -> bytes:
        images = self._row.get("images")
        if images is None or len(images) != len(shown(self.episode)) or not images[n] or not images[n]["bytes"]:
            return self._other("no-images").jpeg(n)
        return bytes(images[n]["bytes"])

    def _other(self, rule: str) -> Item:
        """The same episode as the copy has it; Refused as `rule` where there is no copy."""
        if self._item is None:
            copy = self._copies.match(self._row, self._query)
            if copy is None:
                raise Refused(rule)
            self._item = copy.item(self._query, self.episode)
        return self._item
