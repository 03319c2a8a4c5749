"""What may pass for a mask: the size a frame can have, and the spelling of COCO's compressed counts.

COCO writes a run, or its difference to the run before the last, as base-32 digits, lowest first: chr(48) .. chr(111),
where bit 0x20 says that more digits follow and bit 0x10 of the last one is the sign.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vtscot.errors import MaskError

MAX_PIXELS: Final = 2**28
MAX_SIDE: Final = 2**16  # rlemasklib gives boxes in single precision, which is exact up to here
_FIRST: Final = 48
_MORE: Final = 0x20
_LONGEST: Final = 6  # digits of the longest run: 30 bits hold any difference of two runs of up to 2**28


def check_size(height: int, width: int) -> None:
    """Raises MaskError for a size that no frame has."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise MaskError(
            f"a mask of {brief(height)} x {brief(width)} pixels (height x width) is not one of a video frame"
        )


def as_counts(counts: object) -> bytes:
    """Compressed counts given as bytes or str, as bytes; MaskError for another type or text that is not ASCII."""
    if isinstance(counts, bytes):
        return counts
    if isinstance(counts, str) and counts.isascii():
        return counts.encode("ascii")
    raise MaskError(f"the counts {brief(counts)} are not COCO's compressed runs")


def well_formed(counts: Sequence[bytes]) -> bool:
    """True if all of `counts` are spelled in COCO's characters, without over-long or cut-off runs."""
    if not counts:
        return True
    if not all(raw and raw[-1] < _FIRST + _MORE for raw in counts):  # empty, or cut off inside a run
        return False
    code = np.frombuffer(b"".join(counts), np.uint8) - np.uint8(_FIRST)  # what lies below 48 wraps to above 63
    return bool(code.max() < 2 * _MORE) and not _repeats(code >= _MORE, _LONGEST)


def _repeats(flags: npt.NDArray[np.bool_], times: int) -> bool:
    """True if `flags` hold `times` (>= 2) true values in a row."""
    row = flags[:-1] & flags[1:]
    for _ in range(times - 2):
        row = row[:-1] & flags[len(flags) - len(row) + 1 :]
    return bool(row.any())


def brief(obj: object) -> str:
    """The beginning of an object, however large, on one line of an error message."""
    text = reprlib.repr(obj)
    return text if len(text) <= 60 else f"{text[:57]}..."
