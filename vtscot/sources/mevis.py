"""MeViS v1 and v2: `<root>/<split>/{JPEGImages/<video>/<frame>.jpg, meta_expressions.json, mask_dict.json}`.

`valid` and `test` have no mask_dict.json; some releases call the expressions `meta_expressions_release.json`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vtscot.errors import DataError
from vtscot.files import inside
from vtscot.records import Query, Video
from vtscot.sources.base import Fault, Licence, RawTrack
from vtscot.sources.documents import load_object
from vtscot.sources.folders import find_split, inspect_folder
from vtscot.sources.mask_dict import read_mask_dict
from vtscot.sources.videos import Annotations, read_videos

if TYPE_CHECKING:
    from vtscot.frames import Frames

META_NAMES = ("meta_expressions.json", "meta_expressions_release.json")


class MevisSource:
    """One split of a MeViS tree."""

    name: ClassVar[str] = "mevis"
    licence: ClassVar[Licence] = Licence(
        "cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/", False
    )

    def __init__(self, root: Path, split: str) -> None:
        self.split = split
        self.folder, self.meta = find_split(root, split, META_NAMES)
        self.mask_file = self.folder / "mask_dict.json"
        self.images = self.folder / "JPEGImages"
        self._track_faults: list[Fault] = []

    @property
    def has_masks(self) -> bool:
        return self.mask_file.is_file()

    @property
    def faults(self) -> list[Fault]:
        return [*self._annotations.faults, *self._track_faults]

    def files(self) -> list[Path]:
        return [self.meta, self.mask_file] if self.has_masks else [self.meta]

    def videos(self) -> Iterator[Video]:
        yield from self._annotations.videos

    def expressions(self) -> Iterator[Query]:
        yield from self._annotations.expressions

    def queries(self) -> Iterator[Query]:
        yield from self._annotations.queries

    def tracks(self, wanted: Container[str] | None = None) -> Iterator[tuple[str, RawTrack]]:
        self._track_faults.clear()
        if self.has_masks:
            yield from read_mask_dict(self.mask_file, wanted, self._track_faults)

    def inspect(self, video: Video) -> tuple[Video, list[Fault]]:
        return inspect_folder(self.images, video)

    def frames(self, video: Video) -> Frames:
        from vtscot.frames import open_frames

        try:
            folder = inside(self.images, video.name)
        except ValueError as error:
            raise DataError(f"{self.meta}: video {error}") from None
        return open_frames(folder, video.frames)

    @cached_property
    def _annotations(self) -> Annotations:
        return read_videos(self.meta, load_object(self.meta), self.name, self.split, self.has_masks)


SOURCE = MevisSource
