"""What is exported, one episode at a time, and the copy of a source that it is about.

What an item cannot give raises `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vtscot.frames import Frames, encode_jpeg
from vtscot.index import Index, ensure_index
from vtscot.records import Episode, Query, ShownFrame
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack


@dataclass(frozen=True)
class Item:
    """An episode, and what there is beside it. `jpeg(n)` is the n-th image of its dialogue."""

    query: Query
    episode: Episode
    free: bool  # whether its licence allows to pass on its frames
    names: Callable[[], tuple[str, ...]]  # of all frames of the video
    target: Callable[[], MaskTrack | None]  # all objects together
    track: Callable[[str], MaskTrack]  # one object, by its anno_id
    jpeg: Callable[[int], bytes]


@dataclass(frozen=True)
class Lost:
    """What should be an episode and is none, and why."""

    id: str
    detail: str
    rule: str


Found = Item | Lost


@dataclass(frozen=True)
class Copy:
    """One split of a source on disk, with its index."""

    source: Source
    index: Index
    frames: Callable[[str], Frames]  # by name of the video
    jpeg: Callable[[str, int, int], bytes]  # video, frame, most pixels

    def item(self, query: Query, episode: Episode) -> Item:
        """The item of an episode about a video of this copy."""
        frames = shown(episode)
        return Item(
            query=query,
            episode=episode,
            free=self.source.licence.redistributable,
            names=lambda: self.index.videos[query.video].frames,
            target=lambda: self.index.target(query),
            track=self.index.track,
            jpeg=lambda n: self.jpeg(query.video, frames[n].index, frames[n].max_pixels),
        )


def shown(episode: Episode) -> list[ShownFrame]:
    """The frames of all observations, in order: one per image of the dialogue."""
    return [frame for observation in episode.observations for frame in observation.frames]


def open_copy(name: str, root: Path, split: str, index: Path) -> Copy:
    """A split of a source under `root`; its index is in the folder `index`, and made where it is not there yet."""
    source = open_source(name, root, split)
    found = ensure_index(source, index)
    frames = lru_cache(maxsize=16)(lambda video: source.frames(found.videos[video]))

    @lru_cache(maxsize=256)
    def jpeg(video: str, frame: int, max_pixels: int) -> bytes:
        return encode_jpeg(frames(video).image(frame, max_pixels))

    return Copy(source, found, frames, jpeg)
