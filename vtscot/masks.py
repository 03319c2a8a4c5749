"""Masks as COCO RLE: areas, boxes, set operations, IoU and resizing without ever decoding a frame.

A mask is (height, width) pixels in column-major runs, kept as COCO's compressed counts (pycocotools reads them).
Boxes are (x, y, width, height) in pixels, all zero for an empty mask.

Counts that come from a file are untrusted. `Rle.from_coco` and `measure` let them through to C code only if every
character is one of COCO's 64, every run is spelled in at most six of them (so that no shift leaves the word) and none
is cut off; the parser of rlemasklib then bounds each run and refuses runs that do not add up to height x width. A
negative run reads there as more than 2**31 pixels, so it cannot add up to a frame of at most `runs.MAX_PIXELS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import rlemasklib
from rlemasklib import RLEMask

from vtscot.counts import MAX_PIXELS, as_counts, brief, check_size, well_formed
from vtscot.errors import MaskError

# A first run and a second one whose lowest digit is not 0: some pixel is foreground.
_HAS_FOREGROUND: Final = re.compile(rb"[P-o]*[0-O][1-OQ-o]")

SMALL: Final = 600  # bytes of counts up to which calls cost more than parsing twice

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CropBox = tuple[float, float, float, float]
Order = Literal["F", "C"]


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask: `counts` are COCO's compressed counts. Build it with `from_coco` where the counts are untrusted."""

    height: int
    width: int
    counts: bytes

    @classmethod
    def from_coco(cls, obj: object) -> Rle:
        """Reads {"size": [h, w], "counts": bytes | str | list of runs}; the counts come out in canonical form.

        Raises MaskError for anything else: wrong types, a size that is not positive or is absurd, counts that do not
        parse or whose runs are negative or do not add up to h x w.
        """
        if not isinstance(obj, dict) or "size" not in obj or "counts" not in obj:
            raise MaskError(f"a mask must be an object with size and counts, not {brief(obj)}")
        height, width = _read_size(obj["size"])
        counts = obj["counts"]
        if isinstance(counts, list):
            return _pack(_from_runs(counts, height, width))
        raw = as_counts(counts)
        if not well_formed([raw]):
            raise MaskError(f"the counts {brief(raw)} are not COCO's compressed runs")
        return _pack(_parse(height, width, raw))

    @classmethod
    def from_array(cls, mask: npt.ArrayLike) -> Rle:
        """The RLE of a (H, W) array; what is not zero is foreground."""
        array = np.asarray(mask)
        if array.ndim != 2:
            raise MaskError(f"a mask array has two dimensions, not {array.ndim}")
        check_size(*array.shape)
        return _pack(RLEMask.from_array(array if array.dtype == np.bool_ else array != 0))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def coco(self) -> dict[str, Any]:
        """The JSON form: {"size": [h, w], "counts": str}."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}


class Measured(NamedTuple):
    """Areas (N,), boxes (N, 4) and whether each mask is a valid RLE of the size; zeros where it is not."""

    areas: Ints
    boxes: Floats
    valid: Bools


def measure(counts: Sequence[bytes | None], height: int, width: int) -> Measured:
    """Checks the raw counts of many masks of one size, and measures them: the way in for whole annotation files.

    None is a frame without a mask: valid, of area zero. Never raises for bad counts; raises MaskError for a bad size.
    """
    check_size(height, width)
    given = [i for i, raw in enumerate(counts) if raw is not None]
    cocos: list[dict[str, Any]] = [{"size": (height, width), "counts": counts[i]} for i in given]
    if given and well_formed([coco["counts"] for coco in cocos]):
        with suppress(ValueError):  # some mask does not add up: find out which
            measured = _nothing_measured(len(counts))
            measured.areas[given], measured.boxes[given] = _areas_and_boxes(cocos)
            return measured
    return _measure_one_by_one(counts, height, width)


def _areas_and_boxes(cocos: list[dict[str, Any]]) -> tuple[Any, Any]:
    """Of small masks by the batch calls, which parse for each measure; large ones are parsed once instead."""
    if sum(len(coco["counts"]) for coco in cocos) < SMALL * len(cocos):
        return rlemasklib.area(cocos), rlemasklib.to_bbox(cocos)
    parsed = [RLEMask.from_dict(coco) for coco in cocos]
    return [mask.area() for mask in parsed], [mask.bbox() for mask in parsed]


def _measure_one_by_one(counts: Sequence[bytes | None], height: int, width: int) -> Measured:
    measured = _nothing_measured(len(counts))
    for i, raw in enumerate(counts):
        if raw is None:
            continue
        try:
            rle = Rle.from_coco({"size": (height, width), "counts": raw})
        except MaskError:
            measured.valid[i] = False
        else:
            measured.areas[i], measured.boxes[i] = area(rle), box(rle)
    return measured


def _nothing_measured(n: int) -> Measured:
    return Measured(np.zeros(n, np.int64), np.zeros((n, 4), np.float64), np.ones(n, np.bool_))


def area(rle: Rle) -> int:
    """Number of foreground pixels."""
    return int(_load(rle).area())


def areas(rles: Sequence[Rle]) -> Ints:
    """Foreground pixels of each mask (N,); the masks may differ in size."""
    return np.asarray(_call(rlemasklib.area, rles), np.int64)


def box(rle: Rle) -> Floats:
    """The smallest (x, y, width, height) that holds the foreground; zeros for an empty mask."""
    return np.asarray(_load(rle).bbox(), np.float64)


def boxes(rles: Sequence[Rle]) -> Floats:
    """Boxes of each mask (N, 4); the masks may differ in size."""
    return np.asarray(_call(rlemasklib.to_bbox, rles), np.float64).reshape(-1, 4)


def union(rles: Sequence[Rle]) -> Rle:
    """What is foreground in any of the masks; MaskError for no mask or masks of different sizes."""
    if not rles:
        raise MaskError("a union needs at least one mask")
    if len(rles) == 1:
        return rles[0]
    return Rle(*_same_size(rles), _call(rlemasklib.union, rles)["counts"])


def intersection(a: Rle, b: Rle) -> Rle:
    """What is foreground in both masks; MaskError for masks of different sizes."""
    return Rle(*_same_size((a, b)), _call(rlemasklib.intersection, (a, b))["counts"])


def iou(a: Rle, b: Rle) -> float:
    """Intersection over union; 1.0 where both masks are empty. MaskError for masks of different sizes."""
    size = a.height, a.width
    if b.height != a.height or b.width != a.width:
        raise MaskError(f"masks of different sizes (height, width): {size} and {b.size}")
    try:  # spelled out, because two small masks take rlemasklib no longer than a few lines of Python take
        value: float = rlemasklib.iou([{"size": size, "counts": a.counts}, {"size": size, "counts": b.counts}])
    except ValueError as error:
        raise _unsound(error) from error
    return value or float(is_empty(a) and is_empty(b))


def resize(rle: Rle, height: int, width: int) -> Rle:
    """The mask at another size, by nearest neighbour on the runs.

    Pixel centres are aligned: output column j shows the input column that holds (j + 0.5) * width_in / width_out, and
    the lower one where that lies on an edge between two (halving keeps columns 0, 2, 4, ...). Rows alike.
    """
    check_size(height, width)
    if (height, width) == rle.size:
        return rle
    # Edges go to round(edge * scale). The scale is a hair too large, so that an edge that belongs on a half never
    # falls short of it by rounding; no other edge comes nearer to a half than 1 / (2 * runs.MAX_SIDE).
    fx, fy = width / rle.width * (1 + 2**-50), height / rle.height * (1 + 2**-50)
    return _pack(_load(rle).resize((height, width), fx=fx, fy=fy))


def decode(rle: Rle, box: CropBox | None = None, *, order: Order = "F") -> Bools:
    """The mask as a boolean array: (H, W), or the part inside `box` (x, y, width, height).

    A box is widened to whole pixels (its low corner floored, its high corner raised) and clipped to the frame, so the
    result is array[floor(y):ceil(y + h), floor(x):ceil(x + w)]; it may be empty. Only that part is decoded.
    The array is column-major, as the runs are, and cheapest so; "C" makes it row-major, as images are.
    """
    mask = _load(rle)
    if box is not None:
        mask = mask.crop(whole_box(box, rle.height, rle.width))
    array: npt.NDArray[np.uint8] = mask.to_array(order=order)
    return array.view(np.bool_)


def whole_box(box: CropBox, height: int, width: int) -> tuple[int, int, int, int]:
    """`box` widened to whole pixels and clipped to the frame, as (x, y, width, height); MaskError for NaN."""
    x, y, w, h = box
    if not all(map(math.isfinite, box)):
        raise MaskError(f"the box {box} is not made of numbers")
    left, top = min(max(math.floor(x), 0), width), min(max(math.floor(y), 0), height)
    right, bottom = min(max(math.ceil(x + w), left), width), min(max(math.ceil(y + h), top), height)
    return left, top, right - left, bottom - top


def empty(height: int, width: int) -> Rle:
    """A mask without foreground."""
    check_size(height, width)
    return _pack(RLEMask.zeros((height, width)))


def is_empty(rle: Rle) -> bool:
    """True where no pixel is foreground."""
    return not _HAS_FOREGROUND.match(rle.counts) and area(rle) == 0


def _read_size(size: object) -> tuple[int, int]:
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int for side in size):
        raise MaskError(f"the size of a mask must be [height, width], not {brief(size)}")
    height, width = size
    check_size(height, width)
    return height, width


def _from_runs(runs: list[object], height: int, width: int) -> RLEMask:
    lengths = [run for run in runs if type(run) is int and 0 <= run <= MAX_PIXELS]
    if len(lengths) != len(runs) or sum(lengths) != height * width:
        raise MaskError(f"the {len(runs)} runs of a mask do not add up to {height} x {width} pixels")
    return RLEMask.from_counts(np.array(lengths, np.uint32), (height, width))


def _load(rle: Rle) -> RLEMask:
    return _parse(rle.height, rle.width, rle.counts)


def _same_size(rles: Sequence[Rle]) -> tuple[int, int]:
    height, width = rles[0].height, rles[0].width
    for rle in rles:
        if rle.height != height or rle.width != width:
            raise MaskError(f"masks of different sizes (height, width): {(height, width)} and {rle.size}")
    return height, width


def _call(function: Callable[[list[dict[str, Any]]], Any], rles: Sequence[Rle]) -> Any:
    try:
        return function([{"size": (rle.height, rle.width), "counts": rle.counts} for rle in rles])
    except ValueError as error:
        raise _unsound(error) from error


def _unsound(error: ValueError) -> MaskError:
    """For a mask that was built from counts that nobody checked."""
    return MaskError(f"a mask whose runs do not add up to its size: {error}")


def _parse(height: int, width: int, counts: bytes) -> RLEMask:
    try:
        return RLEMask.from_dict({"size": (height, width), "counts": counts})
    except ValueError as error:
        message = f"the runs of the counts {brief(counts)} do not add up to {height} x {width} pixels"
        raise MaskError(message) from error


def _pack(mask: RLEMask) -> Rle:
    height, width = mask.shape
    return Rle(height, width, mask.to_dict()["counts"])
