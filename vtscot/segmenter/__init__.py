"""What turns a box on a frame into a mask; `open_segmenter` knows the back ends by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vtscot.errors import UsageError
from vtscot.segmenter.base import Segmenter

WEIGHTS: Final = frozenset({"sam2", "sam2-package"})
"""Back ends with weights: one copy in memory is enough for a machine."""


def _box(checkpoint: str | None, device: str, dtype: str) -> Segmenter:
    from vtscot.segmenter.filled import BoxSegmenter

    return BoxSegmenter()


def _grabcut(checkpoint: str | None, device: str, dtype: str) -> Segmenter:
    from vtscot.segmenter.grabcut import GrabCutSegmenter

    return GrabCutSegmenter()


def _sam2(checkpoint: str | None, device: str, dtype: str) -> Segmenter:
    need_torch("sam2")
    from vtscot.segmenter.sam2 import Sam2Segmenter

    return Sam2Segmenter(checkpoint, device, dtype)


def _sam2_package(checkpoint: str | None, device: str, dtype: str) -> Segmenter:
    need_torch("sam2-package")
    from vtscot.segmenter.sam2_package import Sam2PackageSegmenter

    return Sam2PackageSegmenter(checkpoint, device)


def need_torch(name: str) -> None:
    """UsageError where torch or transformers is not installed."""
    from importlib.util import find_spec

    missing = [module for module in ("torch", "transformers") if find_spec(module) is None]
    if missing:
        raise UsageError(f"the segmenter {name} needs {missing[0]}: pip install 'vtscot[train]'")


SEGMENTERS: Final[dict[str, Callable[[str | None, str, str], Segmenter]]] = {
    "box": _box,
    "grabcut": _grabcut,
    "sam2": _sam2,
    "sam2-package": _sam2_package,
}

WEIGHTLESS: Final = tuple(name for name in SEGMENTERS if name not in WEIGHTS)


def open_segmenter(name: str, checkpoint: str | None = None, device: str = "auto", dtype: str = "auto") -> Segmenter:
    """The segmenter of that name; raises UsageError for an unknown one, and where weights cannot be had.

    `checkpoint`, `device` and `dtype` are for those with weights.
    """
    if name not in SEGMENTERS:
        raise UsageError(f"no segmenter {name!r}; there are {', '.join(sorted(SEGMENTERS))}")
    return SEGMENTERS[name](checkpoint, device, dtype)
