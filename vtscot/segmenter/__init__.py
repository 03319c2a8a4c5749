"""What turns a box on a frame into a mask; `open_segmenter` knows the back ends by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vtscot.errors import UsageError
from vtscot.segmenter.base import Segmenter


def _box() -> Segmenter:
    from vtscot.segmenter.filled import BoxSegmenter

    return BoxSegmenter()


def _grabcut() -> Segmenter:
    from vtscot.segmenter.grabcut import GrabCutSegmenter

    return GrabCutSegmenter()


SEGMENTERS: Final[dict[str, Callable[[], Segmenter]]] = {"box": _box, "grabcut": _grabcut}


def open_segmenter(name: str) -> Segmenter:
    """The segmenter of that name; raises UsageError for an unknown one."""
    if name not in SEGMENTERS:
        raise UsageError(f"no segmenter {name!r}; there are {', '.join(sorted(SEGMENTERS))}")
    return SEGMENTERS[name]()
