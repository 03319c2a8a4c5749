"""What readers share whose masks are PNG files: expressions name objects, and a folder of files holds their masks.

Such sets give tracks no ids of their own: the track of an object is called `<video>/<object id>`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vtscot.files import inside
from vtscot.records import Video
from vtscot.sources.base import Fault, RawTrack
from vtscot.sources.expressions import AnnoId
from vtscot.sources.names import bad_name, printable
from vtscot.sources.png_masks import PngTrack, read_png_tracks
from vtscot.sources.tree import TreeSource
from vtscot.sources.videos import bodies, entry_objects

_NUMBER = re.compile(r"0*[1-9][0-9]{0,4}", re.ASCII)  # what a pixel of a label image can be; 0 is the background


class PngSource(TreeSource):
    """A tree whose masks, if it has any, are below `annotations`."""

    annotations: Path
    labels: ClassVar[bool] = True  # files hold all objects of a frame, told apart by their number; else one object each
    absent_ok: ClassVar[bool] = False  # a file that is not there says that the object is not there

    def _mask_folder(self, video: Video, object_id: str) -> str:
        """Where the masks of an object are, below `annotations`."""
        return video.name

    def _mask_frames(self, video: Video, anno_id: str) -> range:
        """The frames in which a track may have masks."""
        return range(len(video.frames))

    def _notes(self, video: Video, track: PngTrack) -> list[Fault]:
        """What is to be said of a track that can be used."""
        return []

    def _anno_ids(self) -> AnnoId | None:
        return self._anno_id

    def _anno_id(self, video: Video, object_id: str, entry: dict[str, Any]) -> str:
        return f"{video.name}/{object_id}"

    @property
    def has_masks(self) -> bool:
        """Masks without expressions that say which they mean (first frames of a held-out split) are none."""
        return self.annotations.is_dir() and any(
            "obj_id" in entry for _, body in bodies(self._loaded) for entry in entry_objects(body.get("expressions"))
        )

    def files(self) -> list[Path]:
        return [self.meta, *self._pngs()] if self.has_masks else [self.meta]

    def _pngs(self) -> Iterator[Path]:
        """Every mask that may be read, in the order of the videos; those that are not there are left out."""
        for video in self._annotations.videos:
            frames = {f"{frame}.png" for frame in video.frames}
            folders = [self._mask_folder(video, object_id) for object_id in self._objects.get(video.name, {}).values()]
            for folder in dict.fromkeys(folders):
                try:
                    path = inside(self.annotations, folder)
                    names = sorted(entry.name for entry in path.iterdir())
                except (OSError, ValueError):
                    continue
                yield from (path / name for name in names if name in frames)

    @property
    def _objects(self) -> dict[str, dict[str, str]]:
        """video -> anno_id -> object id, in the order in which expressions, usable or not, name them."""
        found: dict[str, dict[str, str]] = {}
        for query in self._annotations.expressions:
            found.setdefault(query.video, {}).update(zip(query.anno_ids, query.object_ids, strict=False))
        return found

    def _read_tracks(self, wanted: Container[str] | None) -> Iterator[tuple[str, RawTrack]]:
        objects = self._objects
        for video in self._annotations.videos:
            named = objects.get(video.name, {})
            asked = {anno: name for anno, name in named.items() if wanted is None or anno in wanted}
            for track in self._video_tracks(video, asked):
                if track.fault is None:
                    self._track_faults += self._notes(video, track)
                    yield track.anno_id, track.entries
                else:
                    self._track_faults.append(replace(track.fault, video=video.name))

    def _video_tracks(self, video: Video, objects: dict[str, str]) -> list[PngTrack]:
        """The tracks of some objects of a video, read, each with its masks or its fault."""
        tracks = []
        folders: dict[str, list[PngTrack]] = {}
        for anno_id, object_id in objects.items():
            frames = self._mask_frames(video, anno_id)
            track = PngTrack(anno_id, None, frames, [None] * len(video.frames))
            tracks.append(track)
            if self.labels and not _NUMBER.fullmatch(object_id):
                track.refuse("bad-target", f"object {printable(object_id)!r} is no number that a pixel can have")
            elif not self.labels and bad_name(object_id):
                track.refuse("bad-name", f"object {printable(object_id)!r} {bad_name(object_id)}")
            else:
                track.label = int(object_id) if self.labels else None
                folders.setdefault(self._mask_folder(video, object_id), []).append(track)
        for folder, members in folders.items():
            self._read_folder(folder, video, members)
        return tracks

    def _read_folder(self, folder: str, video: Video, tracks: list[PngTrack]) -> None:
        try:
            path = inside(self.annotations, folder)
        except ValueError as error:
            for track in tracks:
                track.refuse("bad-name", str(error))
        else:
            read_png_tracks(path, video.frames, tracks, absent_ok=self.absent_ok)
