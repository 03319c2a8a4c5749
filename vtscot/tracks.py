"""A target over time: `MaskTrack`, its mask in every frame as COCO RLE or nothing, and `TrackTable`, its measures.

A frame counts as visible where the mask has at least one pixel. Boxes are (x, y, width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from vtscot import masks
from vtscot.counts import check_size
from vtscot.errors import MaskError
from vtscot.masks import Bools, CropBox, Floats, Ints, Measured, Order, Rle

Spans = tuple[tuple[int, int], ...]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """What mining sees of a track: area (T,) int64 and box (T, 4) float64 per frame, zeros where it is not visible."""

    height: int
    width: int
    area: Ints
    box: Floats

    def __post_init__(self) -> None:
        if self.area.ndim != 1 or self.box.shape != (len(self.area), 4):
            raise MaskError(f"a table of areas {self.area.shape} and boxes {self.box.shape} is not one row per frame")

    def __len__(self) -> int:
        return len(self.area)

    @property
    def visible(self) -> Bools:
        """(T,) True where the track has pixels."""
        return self.area > 0

    def spans(self) -> Spans:
        """Runs of visible frames as (first, last), both inclusive."""
        return spans(self.visible)

    @classmethod
    def merge(cls, tables: Sequence[TrackTable]) -> TrackTable:
        """The table of several objects taken as one: the box around all, and at most that box's area.

        Overlap between the objects is not known to tables, so the area is an upper bound: min(sum, box area).
        """
        _same_shape([(table.height, table.width, len(table)) for table in tables])
        if len(tables) == 1:
            return tables[0]
        seen = np.stack([table.visible for table in tables])[..., None]
        boxes = np.stack([table.box for table in tables])
        low = np.where(seen, boxes[..., :2], np.inf).min(axis=0)
        high = np.where(seen, boxes[..., :2] + boxes[..., 2:], -np.inf).max(axis=0)
        visible = seen.any(axis=0)
        low, high = np.where(visible, low, 0.0), np.where(visible, high, 0.0)
        box = np.concatenate([low, high - low], axis=1)
        total = np.sum([table.area for table in tables], axis=0, dtype=np.int64)
        area = np.minimum(total, (box[:, 2] * box[:, 3]).astype(np.int64))
        return cls(tables[0].height, tables[0].width, area, box)


@dataclass(frozen=True)
class MaskTrack:
    """One object's mask in every frame: compressed COCO counts, or None where there is none."""

    height: int
    width: int
    masks: tuple[bytes | None, ...]

    @classmethod
    def from_coco(
        cls, entries: Sequence[object], *, frames: int | None = None, size: tuple[int, int] | None = None
    ) -> MaskTrack:
        """Reads one entry per frame: null, an RLE, or a list of RLEs that are OR-ed.

        `frames` is the number of entries there must be, `size` the (height, width) every mask must have; without it
        the first mask tells. Raises MaskError naming the frame; also for a track that tells no size.
        """
        if frames is not None and len(entries) != frames:
            raise MaskError(f"{len(entries)} masks for {frames} frames")
        rles = [_in_frame(i, _read_entry, entry) for i, entry in enumerate(entries)]
        size = size or next((rle.size for rle in rles if rle is not None), None)
        if size is None:
            raise MaskError("a track without any mask needs the size of its frames")
        check_size(*size)
        for i, rle in enumerate(rles):
            if rle is not None and rle.size != size:
                raise MaskError(f"frame {i}: a mask of {rle.size} in a frame of {size} (height, width)")
        return cls(*size, _counts(rles))

    @classmethod
    def merge(cls, tracks: Sequence[MaskTrack]) -> MaskTrack:
        """The per-frame union of several objects; MaskError for none, or where sizes or lengths differ."""
        _same_shape([(track.height, track.width, len(track)) for track in tracks])
        if len(tracks) == 1:
            return tracks[0]
        merged = (_union([track.rle(i) for track in tracks]) for i in range(len(tracks[0])))
        return cls(tracks[0].height, tracks[0].width, _counts(merged))

    def __len__(self) -> int:
        return len(self.masks)

    def rle(self, i: int) -> Rle | None:
        """The mask of frame i, or None where there is none."""
        counts = self.masks[i]
        return None if counts is None else Rle(self.height, self.width, counts)

    @property
    def areas(self) -> Ints:
        """(T,) foreground pixels per frame."""
        return self._measured.areas

    @property
    def boxes(self) -> Floats:
        """(T, 4) boxes per frame, zeros where nothing is visible."""
        return self._measured.boxes

    @property
    def visible(self) -> Bools:
        """(T,) True where the mask has pixels."""
        return self.areas > 0

    def spans(self) -> Spans:
        """Runs of visible frames as (first, last), both inclusive."""
        return spans(self.visible)

    def table(self) -> TrackTable:
        """Area and box per frame, without the masks."""
        return TrackTable(self.height, self.width, self.areas, self.boxes)

    def decode(self, i: int, box: CropBox | None = None, *, order: Order = "F") -> Bools:
        """The mask of frame i, or its part inside `box`, as booleans; see `masks.decode`."""
        return masks.decode(self.rle(i) or masks.empty(self.height, self.width), box, order=order)

    def iou(self, i: int, other: Rle | None) -> float:
        """IoU of frame i with `other`, where None is an empty mask; 1.0 where both are empty."""
        own = self.rle(i)
        if own is not None and other is not None:
            return masks.iou(own, other)
        return float(all(rle is None or masks.is_empty(rle) for rle in (own, other)))

    def resize(self, height: int, width: int) -> MaskTrack:
        """The track at another frame size; see `masks.resize`."""
        check_size(height, width)
        rles = map(self.rle, range(len(self)))
        resized = (None if rle is None else masks.resize(rle, height, width) for rle in rles)
        return MaskTrack(height, width, _counts(resized))

    @cached_property
    def _measured(self) -> Measured:
        measured = masks.measure(self.masks, self.height, self.width)
        if not measured.valid.all():
            frame = int(np.argmin(measured.valid))
            raise MaskError(f"frame {frame}: not a valid mask of {self.height} x {self.width} pixels")
        for array in measured:
            array.setflags(write=False)  # shared by every caller
        return measured


def spans(visible: Bools) -> Spans:
    """Runs of true values as (first, last), both inclusive."""
    edges = np.flatnonzero(np.diff(visible.astype(np.int8), prepend=0, append=0))
    return tuple((int(first), int(after) - 1) for first, after in edges.reshape(-1, 2))


def _read_entry(entry: object) -> Rle | None:
    if entry is None:
        return None
    if isinstance(entry, list | tuple):
        return _union([None if part is None else Rle.from_coco(part) for part in entry])
    return Rle.from_coco(entry)


def _counts(rles: Iterable[Rle | None]) -> tuple[bytes | None, ...]:
    return tuple(None if rle is None else rle.counts for rle in rles)


def _union(rles: Sequence[Rle | None]) -> Rle | None:
    given = [rle for rle in rles if rle is not None]
    return masks.union(given) if given else None


def _in_frame(i: int, read: Callable[[object], _T], entry: object) -> _T:
    try:
        return read(entry)
    except MaskError as error:
        raise MaskError(f"frame {i}: {error}") from error


def _same_shape(shapes: Sequence[tuple[int, int, int]]) -> None:
    if not shapes:
        raise MaskError("nothing to merge")
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise MaskError(f"tracks of different shapes (height, width, frames): {shapes[0]} and {shape}")
