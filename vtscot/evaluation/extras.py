"""What some benchmarks need to know beyond videos, expressions and tracks. A source that knows it has the method.

A source need not inherit from anything: having the method is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from vtscot.records import Query
from vtscot.sources.base import RawTrack


@runtime_checkable
class HasForegrounds(Protocol):
    """ReVOS: its R is measured against everything that is annotated in a video."""

    def foregrounds(self) -> Iterator[tuple[str, RawTrack]]:
        """Stream (video name, one entry per frame: the union of all annotated objects)."""


@runtime_checkable
class HasActions(Protocol):
    """GroundMoRe: a question is about an action, and outside of it there is no ground truth."""

    def action(self, query: Query) -> tuple[int, int] | None:
        """First and last frame of the action, both inclusive; None where it is the whole video."""
