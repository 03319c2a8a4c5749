"""What is exported, one episode at a time, and where it comes from: the ledger of a run, or rows (`rows.py`).

A run knows everything. What an item cannot give raises `Refused`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vtscot.frames import Frames, encode_jpeg
from vtscot.index import Index, ensure_index
from vtscot.ledger import Ledger
from vtscot.publish.locate import find_dataset, is_run
from vtscot.records import Episode, Query, ShownFrame
from vtscot.run import Run, run_recipe
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


@contextmanager
def open_items(
    name: str, *, rejected: bool = False, images: bool = True, root: Path | None = None, source: str | None = None
) -> Iterator[Iterator[Found]]:
    """The kept episodes of a run, in the order of their ids, or of a dataset, in its order; then the `rejected`.

    `root` is the user's copy of `source`, from which rows are completed; without `images` those of rows are not read.
    DataError for no run and no dataset.
    """
    from vtscot.interchange.rows import Copies, row_items

    if is_run(Path(name)):
        yield _run_items(Path(name), rejected)
        return
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        directory = find_dataset(name)
        copies = Copies(directory, root, source, Path(scratch))
        yield row_items(directory, copies, rejected=rejected, images=images)


def _run_items(directory: Path, rejected: bool) -> Iterator[Found]:
    with Ledger(directory / "ledger.sqlite", read_only=True) as ledger:
        run = Run(directory, run_recipe(directory), ledger)
        outcomes = sorted(ledger.outcomes(), key=lambda outcome: (outcome.state != "kept", outcome.query.id))
    states = ("kept", "rejected") if rejected else ("kept",)
    settings = run.recipe.source
    copy = open_copy(settings.name, run.source_root, settings.split, run.index)
    for outcome in outcomes:
        if outcome.state not in states or outcome.record is None:
            continue
        if outcome.query.video in copy.index.videos:
            yield copy.item(outcome.query, outcome.record.episode)
        else:
            yield Lost(outcome.query.id, "its video is no longer in the source", "left-source")
