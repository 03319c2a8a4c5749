"""The images of an export beside its file: each distinct (video, frame, size) once, under a name that says which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from vtscot.files import write_bytes
from vtscot.records import Query, ShownFrame


class Pictures:
    """Writes into `<file's name>_images/` beside the file; paths are relative to the file's folder."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent / f"{file.stem}_images"
        self._there: set[str] = set()

    def put(self, query: Query, frame: ShownFrame, jpeg: Callable[[], bytes]) -> str:
        """The path of an image, which is written where it is not there yet."""
        name = f"{self.folder.name}/{_folder(query)}/{frame.index:06d}-{frame.max_pixels}.jpg"
        if name not in self._there:
            write_bytes(self.folder.parent / name, jpeg())
            self._there.add(name)
        return name


def _folder(query: Query) -> str:
    """A folder's name for a video, whatever its own name holds; the digest tells those apart that look the same."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", query.video)[:60]
    return f"{plain}-{hashlib.sha256(query.video_id.encode()).hexdigest()[:8]}"
