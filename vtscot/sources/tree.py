"""What all readers share: one file of expressions per split, a folder of frames per video, faults as they are found.

A reader says where its files are (`_open`), what its file says in words of its own (`_document`), and how its masks
are read (`_read_tracks`). It names itself `SOURCE` in its module, and that is all the registry needs.
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
from vtscot.sources.documents import JsonObject, load_object
from vtscot.sources.expressions import AnnoId
from vtscot.sources.folders import inspect_folder
from vtscot.sources.videos import Annotations, read_videos

if TYPE_CHECKING:
    from vtscot.frames import Frames


class TreeSource:
    """One split of a dataset. `meta` is its file of expressions, `images` the folder that holds a folder per video."""

    name: ClassVar[str]
    licence: ClassVar[Licence]
    slashes: ClassVar[bool] = False  # video keys may hold them
    meta: Path
    images: Path

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self._document_faults: list[Fault] = []
        self._track_faults: list[Fault] = []
        self._open()

    def _open(self) -> None:
        """Set `meta` and `images` (and where the masks are); DataError where the tree has no such split."""
        raise NotImplementedError

    def _document(self) -> JsonObject:
        """The file of expressions, in the terms of `read_videos`; notes on it go to `_document_faults`."""
        return load_object(self.meta)

    def _read_tracks(self, wanted: Container[str] | None) -> Iterator[tuple[str, RawTrack]]:
        """Stream the tracks; what is broken goes to `_track_faults`. Only asked where there are masks."""
        raise NotImplementedError

    def _anno_ids(self) -> AnnoId | None:
        """How the tracks are named where the file names objects only."""
        return None

    def _frame_folder(self, video: Video) -> str:
        """Where the frames of a video are, below `images`."""
        return video.name

    @property
    def has_masks(self) -> bool:
        raise NotImplementedError

    @property
    def faults(self) -> list[Fault]:
        found = self._annotations.faults  # reading the document comes first
        return [*self._document_faults, *found, *self._track_faults]

    def files(self) -> list[Path]:
        raise NotImplementedError

    def videos(self) -> Iterator[Video]:
        yield from self._annotations.videos

    def expressions(self) -> Iterator[Query]:
        yield from self._annotations.expressions

    def queries(self) -> Iterator[Query]:
        yield from self._annotations.queries

    def tracks(self, wanted: Container[str] | None = None) -> Iterator[tuple[str, RawTrack]]:
        self._track_faults.clear()
        if self.has_masks:
            yield from self._read_tracks(wanted)

    def inspect(self, video: Video) -> tuple[Video, list[Fault]]:
        return inspect_folder(self.images, video, self._frame_folder(video))

    def frames(self, video: Video) -> Frames:
        from vtscot.frames import open_frames

        try:
            folder = inside(self.images, self._frame_folder(video))
        except ValueError as error:
            raise DataError(f"{self.meta}: video {error}") from None
        return open_frames(folder, video.frames)

    @cached_property
    def _loaded(self) -> JsonObject:
        return self._document()

    @cached_property
    def _annotations(self) -> Annotations:
        return read_videos(
            self.meta,
            self._loaded,
            self.name,
            self.split,
            self.has_masks,
            slashes=self.slashes,
            anno_id=self._anno_ids(),
        )
