"""A procedural world in the MeViS format: exact masks, expressions that are true by construction, no download.

`write_demo` is the whole public surface; it is imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .write import DemoSummary, write_demo

__all__ = ["DemoSummary", "write_demo"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import write

    return getattr(write, name)
