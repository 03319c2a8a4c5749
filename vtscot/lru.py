"""Values kept by key in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A dict of at most `limit` bytes: what has not been asked for the longest goes first. `size` tells bytes."""

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit, self.size = limit, size
        self.bytes = 0
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the youngest."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, which is not kept already, and drop what has no place any more."""
        self._items[key] = value
        self.bytes += self.size(value)
        while self.bytes > self.limit:
            _, old = self._items.popitem(last=False)
            self.bytes -= self.size(old)

    def made(self, key: K, make: Callable[[], V]) -> V:
        """The value, which is made and kept where it is not there."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        return value
