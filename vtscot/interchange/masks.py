"""`mask_dict.json` beside an export: `{anno_id: [RLE or null per frame]}`, each object once, as MeViS has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vtscot.files import whole_file
from vtscot.interchange.items import Item
from vtscot.tracks import MaskTrack


class Masks:
    """Collects the objects of items into a file; without one it does nothing."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file
        self._there: set[str] = set()

    def add(self, item: Item) -> None:
        """Write the objects of an item that are not there yet."""
        for anno_id in item.query.anno_ids if self._file is not None else ():
            if self._file is not None and anno_id not in self._there:
                before = ",\n" if self._there else ""
                self._file.write(f"{before}{json.dumps(anno_id)}: {_entry(item.track(anno_id))}".encode())
                self._there.add(anno_id)


@contextmanager
def open_masks(path: Path | None) -> Iterator[Masks]:
    """The masks of an export, written to `path` when the block ends well."""
    if path is None:
        yield Masks()
        return
    with whole_file(path) as file:
        file.write(b"{")
        yield Masks(file)
        file.write(b"}\n")


def _entry(track: MaskTrack) -> str:
    masks: list[dict[str, Any] | None] = [
        None if counts is None else {"size": [track.height, track.width], "counts": counts.decode("ascii")}
        for counts in track.masks
    ]
    return json.dumps(masks)
