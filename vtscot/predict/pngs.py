"""Masks on disk as `vtscot eval` reads them: PNGs as they come, in any order, and the interchange JSON at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vtscot.evaluation.submission import encode_png
from vtscot.files import whole_file
from vtscot.masks import Rle, decode
from vtscot.predict.place import whole_folder
from vtscot.tracks import MaskTrack


class PngWriter:
    """Writes one mask per frame; a frame without one gets an empty picture when the block ends."""

    def __init__(self, folder: Path, names: Sequence[str], width: int, height: int) -> None:
        self._folder = folder
        self._missing = dict(enumerate(names))
        self._blank = encode_png(np.zeros((height, width), np.bool_))

    def put(self, frame: int, mask: Rle | None) -> None:
        """The mask of a frame, at its size; None for an empty one."""
        png = self._blank if mask is None else encode_png(decode(mask, order="C"))
        # Not synced one by one: the folder takes its place only when all are there.
        (self._folder / f"{self._missing.pop(frame)}.png").write_bytes(png)

    def finish(self) -> None:
        """Write what is missing."""
        for frame in tuple(self._missing):
            self.put(frame, None)


@contextmanager
def png_writer(folder: Path, names: Sequence[str], width: int, height: int) -> Iterator[PngWriter]:
    """A writer of `<folder>/<name>.png`; the folder appears when the block ends, whole or not at all."""
    with whole_folder(folder) as part:
        writer = PngWriter(part, names, width, height)
        yield writer
        writer.finish()


def write_interchange(path: Path, video: str, tracks: Sequence[tuple[str, MaskTrack]]) -> None:
    """`{video: {query: {"prediction_masks": [RLE or null per frame]}}}`."""
    with whole_file(path) as file:
        file.write(b"{" + json.dumps(video).encode() + b":{")
        for place, (exp_id, track) in enumerate(tracks):
            entries = [_entry(track, mask) for mask in track.masks]
            text = json.dumps({"prediction_masks": entries}, separators=(",", ":"))
            file.write((", " * bool(place) + json.dumps(exp_id) + ":" + text).encode())
        file.write(b"}}\n")


def _entry(track: MaskTrack, mask: bytes | None) -> dict[str, object] | None:
    return None if mask is None else {"size": [track.height, track.width], "counts": mask.decode("ascii")}
