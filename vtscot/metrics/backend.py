"""What counts the boundary pixels: `numba` where it is installed (the `numba` extra), else `numpy`; the same numbers.

numba compiles for a second or two in the first process that uses it, and keeps the machine code for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Literal, TypeAlias

from rlemasklib import RLEMask

from vtscot.errors import UsageError
from vtscot.metrics import packed

Backend: TypeAlias = Literal["numba", "numpy"]
Matcher: TypeAlias = Callable[[RLEMask, RLEMask, int], tuple[int, int, int, int]]


@cache
def active_backend() -> Backend:
    """The backend that is used where none is asked for."""
    return "numba" if _compiled() is not None else "numpy"


def matcher(backend: Backend | None = None) -> Matcher:
    """The function that counts boundary pixels; UsageError for a backend that is not there."""
    chosen = active_backend() if backend is None else backend
    if chosen == "numpy":
        return packed.match
    if chosen != "numba":
        raise UsageError(f"there is no backend {chosen!r} for scores; there are numba and numpy")
    compiled = _compiled()
    if compiled is None:
        raise UsageError("the backend numba needs the package numba: pip install 'vtscot[numba]'")
    return compiled


@cache
def _compiled() -> Matcher | None:
    try:
        import_module("numba")
    except ImportError:
        return None
    from vtscot.metrics import compiled

    return compiled.match
