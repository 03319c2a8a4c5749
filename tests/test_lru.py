"""Memory for values by key is bounded, and what is asked for again is not made again."""

from __future__ import annotations

from vtscot.lru import Lru


def test_what_was_not_asked_for_the_longest_is_dropped_first() -> None:
    kept: Lru[str, int] = Lru(10, lambda value: value)
    for name, size in (("a", 4), ("b", 3), ("c", 2)):
        kept.put(name, size)
    assert kept.get("a") == 4
    kept.put("d", 5)
    assert [kept.get(name) for name in "abcd"] == [4, None, None, 5]
    assert kept.bytes == 9
    kept.put("e", 11)  # larger than all room: nothing is kept, nothing breaks
    assert (kept.get("e"), kept.bytes) == (None, 0)


def test_a_value_is_made_where_it_is_not_kept() -> None:
    kept: Lru[str, str] = Lru(100, lambda _: 40)
    made: list[str] = []

    def get(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return kept.made(key, make)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert get(key) == key.upper()
    assert made == ["a", "b", "c", "b"]
    assert kept.bytes <= 100
