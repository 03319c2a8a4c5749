"""Rows joined with somebody's own copy of their source: frames and masks where everything is as the row states.

`Joiner.join` gives the row complete, or raises `DiffersError` with the kind of the first difference:

broken-row          the row itself holds no episode
missing-split       the copy has no such split
missing-video       the copy has no such video, or not its folder
missing-frame       a frame has no file, or another name or place in the list
broken-frame        a frame cannot be decoded
other-length        the video has another number of frames
other-size          a frame has another size (the copy was shrunk?)
other-digest        a frame of the right size with other bytes (the copy was encoded anew?)
missing-annotation  a target has no masks that can be used
other-annotation    the target's masks are not those that the row was made of
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from vtscot.errors import DataError, FrameError, MaskError, SplitError, UsageError
from vtscot.frames import FolderFrames, Frames
from vtscot.index import Index, build_index
from vtscot.publish.jpegs import Jpegs
from vtscot.publish.reading import read_episode
from vtscot.publish.rows import Row, mask_columns, masks_digest, remembered
from vtscot.records import Episode
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

KINDS: Final = (
    "broken-row",
    "missing-split",
    "missing-video",
    "missing-frame",
    "broken-frame",
    "other-length",
    "other-size",
    "other-digest",
    "missing-annotation",
    "other-annotation",
)


class DiffersError(DataError):
    """A row that does not fit the copy; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Joiner:
    """Joins the rows of one source. `scratch` is a folder for its index; rows of one video should follow each other."""

    def __init__(self, source: str, root: Path, splits: Iterable[str], scratch: Path, *, embed: bool) -> None:
        """Opens the splits that rows are of.

        UsageError for an unknown source; DataError (SplitError) where `root` holds none of the splits.
        """
        self._embed = embed
        self._missing: dict[str, SplitError] = {}
        self._splits: dict[str, _Split] = {}
        for number, split in enumerate(sorted(splits)):
            try:
                opened = open_source(source, root, split)
            except SplitError as error:
                self._missing[split] = error
            else:
                self._splits[split] = _Split(opened, scratch / str(number))
        if not self._splits:
            raise next(iter(self._missing.values()))
        self._video: _Video | None = None

    def join(self, row: Row) -> Row:
        """The row with its images and masks; DiffersError where the copy is not what the row was made of."""
        try:
            episode = read_episode(row)
        except DataError as error:
            raise DiffersError("broken-row", str(error)) from error
        name = str(row["split"])
        if name in self._missing:
            raise DiffersError("missing-split", str(self._missing[name]))
        split = self._splits[name]
        video = self._open(split, row)
        video.check(row)
        track = split.track(row)
        images = self._embedded(video, row) if self._embed else video.files(row)
        return {**row, "images": images, **mask_columns(episode, track), **_decoded(row, episode)}

    def _open(self, split: _Split, row: Row) -> _Video:
        key = (row["split"], row["video"])
        if self._video is None or self._video.key != key:
            self._video = _Video(key, split.frames(row["video"]))
        return self._video

    def _embedded(self, video: _Video, row: Row) -> list[Row]:
        """JPEGs as the demo source embeds them, several at a time."""
        keys = [(frame["index"], frame["max_pixels"]) for frame in row["frames"]]
        try:
            return [{"bytes": jpeg, "path": None} for jpeg in video.jpegs.made(keys)]
        except FrameError as error:
            raise DiffersError("broken-frame", str(error)) from error


def _decoded(row: Row, episode: Episode) -> Row:
    """The frames that masks are decoded on, which a row cannot state otherwise than its frames do."""
    decoded = [observation.decoded for observation in episode.observations]
    if decoded != row["decoded_frames"]:
        raise DiffersError("broken-row", f"row {row['id']}: decoded_frames are not those that its frames tell")
    return {"decoded_frames": decoded}


class _Split:
    """One split of the copy: its videos, and its tracks once they are asked for."""

    def __init__(self, source: Source, scratch: Path) -> None:
        self._source = source
        self._scratch = scratch
        self._videos = {video.name: video for video in source.videos()}
        self._index: Index | None = None
        self._track = lru_cache(maxsize=16)(self._merged)

    def frames(self, name: str) -> Frames:
        """The frames of a video."""
        video = self._videos.get(name)
        if video is None:
            raise DiffersError("missing-video", f"there is no video {name!r} in split {self._source.split!r}")
        try:
            return self._source.frames(video)
        except DataError as error:
            raise DiffersError("missing-video", str(error)) from error

    def track(self, row: Row) -> MaskTrack | None:
        """The masks of the row's target; None for a row without."""
        if not row["anno_ids"]:
            return None
        try:
            track = self._track(row["video"], tuple(row["anno_ids"]))
        except MaskError as error:
            raise DiffersError(
                "missing-annotation", f"the masks of {row['anno_ids']} do not go together: {error}"
            ) from error
        if len(track) != row["num_frames"]:
            detail = f"the masks of {row['anno_ids']} are of {len(track)} frames, not {row['num_frames']}"
            raise DiffersError("other-annotation", detail)
        if row.get("masks_digest") not in (None, masks_digest(track)):
            detail = f"the masks of {row['anno_ids']} in {row['video']} are not those that the row was made of"
            raise DiffersError("other-annotation", detail)
        return track

    def _merged(self, video: str, anno_ids: tuple[str, ...]) -> MaskTrack:
        if self._index is None:  # frames are checked one by one, by their digests
            self._index = build_index(self._source, self._scratch, check_frames=False)
        usable = self._index.objects(video)
        for anno_id in anno_ids:
            if anno_id not in usable:
                detail = f"there are no masks of {anno_id!r} in {video} that can be used"
                raise DiffersError("missing-annotation", detail)
        return MaskTrack.merge([self._index.track(anno_id) for anno_id in anno_ids])


class _Video:
    """One video of the copy; what was made of its frames is kept while its rows come."""

    def __init__(self, key: tuple[str, str], frames: Frames) -> None:
        self.key = key
        self.jpegs = Jpegs(frames)
        self._frames = frames
        self._digests: dict[int, str] = {}

    def check(self, row: Row) -> None:
        """DiffersError for the first frame that is not the row's."""
        if len(self._frames) != row["num_frames"]:
            detail = f"{row['video']} has {len(self._frames)} frames here, {row['num_frames']} in the rows"
            raise DiffersError("other-length", detail)
        for frame in row["frames"]:
            self._check_frame(row, frame["index"], frame["name"], frame["digest"])

    def _check_frame(self, row: Row, i: int, name: str, digest: str) -> None:
        where = f"frame {i} of {row['video']}"
        if self._frames.names[i] != name:
            raise DiffersError(
                "missing-frame", f"{where} is called {self._frames.names[i]!r} here, {name!r} in the rows"
            )
        try:
            found = remembered(self._digests, i, self._frames.digest)
        except FrameError as error:
            raise DiffersError("missing-frame", str(error)) from error
        if found != digest:
            raise DiffersError(*self._difference(row, i, where))

    def _difference(self, row: Row, i: int, where: str) -> tuple[str, str]:
        try:
            width, height = self._frames.size(i)
        except FrameError as error:
            return "broken-frame", str(error)
        if (width, height) == (row["width"], row["height"]):
            return "other-digest", f"{where} is another file than the rows were made of (SHA-256 differs)"
        return "other-size", f"{where} is {width} x {height} here, {row['width']} x {row['height']} in the rows"

    def files(self, row: Row) -> list[Row]:
        """The row's frames as files that are there. UsageError for a clip: its frames are no files."""
        if not isinstance(self._frames, FolderFrames):
            raise UsageError(f"the frames of {row['video']} are in a clip, so no row can name them: add --embed")
        paths = {frame["index"]: str(self._frames.path(frame["index"]).absolute()) for frame in row["frames"]}
        return [{"bytes": None, "path": paths[frame["index"]]} for frame in row["frames"]]
