"""What the frame metrics take: a COCO RLE dict, an `Rle`, a boolean (H, W) array, or None for an empty mask."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rlemasklib import RLEMask

from vtscot.errors import MaskError
from vtscot.masks import Rle

Mask: TypeAlias = Rle | dict[str, Any] | npt.NDArray[np.bool_] | None


def load_same(**given: Mask) -> list[RLEMask]:
    """The masks in the order given, all of one size; the keywords are their names in messages.

    Raises MaskError for a mask of a wrong type, one that does not parse, different sizes, and where no mask tells the
    size. Nothing is ever resized.
    """
    rles = {name.replace("_", " "): mask for name, mask in given.items()}
    read = {name: None if mask is None else _read(name, mask) for name, mask in rles.items()}
    sizes = {name: rle.size for name, rle in read.items() if rle is not None}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise MaskError(f"masks of different sizes (height, width): {told}; resize one of them first")
    if not sizes:
        raise MaskError(f"the size of the frame is not known: {' and '.join(read)} are None")
    size = next(iter(sizes.values()))
    return [load(size, None if rle is None else rle.counts) for rle in read.values()]


def load(size: tuple[int, int], counts: bytes | None) -> RLEMask:
    """The mask of trusted compressed counts, None being an empty one; MaskError where they do not fit the size."""
    if counts is None:
        return RLEMask.zeros(size)
    try:
        return RLEMask.from_dict({"size": size, "counts": counts})
    except ValueError as error:
        raise MaskError(f"the runs of a mask do not add up to {size[0]} x {size[1]} pixels") from error


def _read(name: str, mask: object) -> Rle:
    try:
        if isinstance(mask, Rle):
            return mask
        if isinstance(mask, dict):
            return Rle.from_coco(mask)
        if isinstance(mask, np.ndarray):
            return _from_array(mask)
    except MaskError as error:
        raise MaskError(f"{name}: {error}") from error
    kind = type(mask).__name__
    raise MaskError(f"{name}: a mask is a COCO RLE dict, an Rle, a boolean (H, W) array or None, not {kind}")


def _from_array(array: npt.NDArray[Any]) -> Rle:
    if array.dtype != np.bool_:
        raise MaskError(f"a mask array is boolean, not {array.dtype}; compare it with 0 or with an object's id first")
    return Rle.from_array(array)
