"""What a source is: a reader of one dataset on disk: its videos, queries and mask tracks, and what is wrong with them.

Nothing that a dataset holds is lost silently: whatever cannot be used becomes a `Fault`. Every expression of the
annotation files is either yielded by `queries()` or belongs to a fatal fault that carries its query, so counts add up.
A new source is one module in this package with a class that satisfies `Source`, named in the module as `SOURCE`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import msgspec

from vtscot.records import Query, Video

if TYPE_CHECKING:
    from vtscot.frames import Frames


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms of a dataset; `redistributable` tells whether its frames and masks may leave the machine."""

    id: str
    name: str
    url: str | None
    redistributable: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the data, and where. `kind` is the reason that a skipped query is given.

    A fatal fault rules out what it names most narrowly: its query, its track (`anno_id`) or its video;
    one that is not fatal is a note. `query` is set where the fault rules out one expression.
    """

    kind: str
    detail: str
    video: str | None = None
    exp_id: str | None = None
    anno_id: str | None = None
    frame: int | None = None
    fatal: bool = True
    query: Query | None = None


class RawMask(msgspec.Struct, frozen=True, gc=False):
    """One COCO RLE as annotation files hold it, nothing about it checked but its types: size is (height, width)."""

    size: tuple[int, int]
    counts: str | list[int]


RawEntry: TypeAlias = RawMask | list[RawMask] | None  # nothing, one RLE, or several whose union is meant
RawTrack: TypeAlias = list[RawEntry]  # one entry per frame of the video


class Source(Protocol):
    """A reader of one split of one dataset. Iterators may be started again and yield the same in the same order."""

    name: ClassVar[str]
    licence: ClassVar[Licence]
    split: str

    def __init__(self, root: Path, split: str) -> None:
        """Raises DataError where `root` holds no such split, naming the splits it holds."""

    @property
    def has_masks(self) -> bool:
        """False for splits whose ground truth is held out."""

    @property
    def faults(self) -> list[Fault]:
        """What has been found so far; complete when all iterators have been exhausted."""

    def files(self) -> list[Path]:
        """The annotation files: what an index is stale without."""

    def videos(self) -> Iterator[Video]:
        """Videos whose name and list of frames can be used; nothing is read from their frames."""

    def expressions(self) -> Iterator[Query]:
        """Every expression of the file in its order, usable or not; ids are unique."""

    def queries(self) -> Iterator[Query]:
        """Those expressions that no fatal fault rules out."""

    def tracks(self, wanted: Container[str] | None = None) -> Iterator[tuple[str, RawTrack]]:
        """Stream (anno_id, masks) of the tracks in `wanted` (default: all). Broken ones are fatal faults instead."""

    def inspect(self, video: Video) -> tuple[Video, list[Fault]]:
        """The video with the size of its first frame, and what is wrong with its frames on disk."""

    def frames(self, video: Video) -> Frames:
        """Random access to the frames of `video`."""
