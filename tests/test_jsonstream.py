"""The streaming splitter says what json.loads says, whatever the file looks like and wherever its chunks end."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtscot import jsonstream
from vtscot.errors import DataError
from vtscot.jsonstream import members

# what RLEs and their escapes are made of, and all that could be taken for structure
text = st.text(st.sampled_from('ab\\"[]{},: \té€😀0'), max_size=12) | st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)
space = st.text(st.sampled_from(" \t\r\n"), max_size=3)
Write = Callable[[bytes], Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes the one file that tests driven by hypothesis use again and again."""
    path = tmp_path_factory.mktemp("jsonstream") / "x.json"

    def to_file(raw: bytes) -> Path:
        path.write_bytes(raw)
        return path

    return to_file


@st.composite
def documents(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, Any]]]:
    """An object as text with odd white space and escapes, and its members in order, repeated keys included."""
    pairs = draw(st.lists(st.tuples(text, values), max_size=6))
    ascii_only = draw(st.booleans())
    parts = []
    for key, value in pairs:
        indent = draw(st.sampled_from([None, 1]))
        written = [json.dumps(key, ensure_ascii=ascii_only), json.dumps(value, ensure_ascii=ascii_only, indent=indent)]
        parts.append(draw(space) + f"{draw(space)}:{draw(space)}".join(written) + draw(space))
    body = ",".join(parts) or draw(space)
    return f"{draw(space)}{{{body}}}{draw(space)}".encode(), pairs


@settings(max_examples=300, deadline=None)
@given(document=documents(), chunk=st.integers(1, 80))
def test_members_are_those_of_json_loads(
    write: Write, document: tuple[bytes, list[tuple[str, Any]]], chunk: int
) -> None:
    raw, pairs = document
    found = list(members(write(raw), chunk))
    assert [(member.key, json.loads(member.value)) for member in found] == pairs
    assert all(raw[m.offset : m.offset + len(m.value)] == m.value for m in found)


@settings(max_examples=150, deadline=None)
@given(document=documents(), chunk=st.integers(1, 80), cut=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_never_taken_for_a_whole_one(
    write: Write, document: tuple[bytes, list[tuple[str, Any]]], chunk: int, cut: float
) -> None:
    raw = document[0].rstrip()
    with pytest.raises(DataError, match="at byte"):
        list(members(write(raw[: int(cut * len(raw))]), chunk))


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\ 1a'), max_size=40).map(str.encode))
def test_any_bytes_are_members_or_a_data_error(write: Write, raw: bytes) -> None:
    try:
        found = list(members(write(raw), 7))
        decoded = [(member.key, json.loads(member.value)) for member in found]
    except (DataError, ValueError):  # ValueError: values are raw, whoever decodes them refuses
        return
    assert dict(decoded) == json.loads(raw.decode("utf-8-sig"))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b"", "the file is empty: it ends at byte 0", id="empty"),
        pytest.param(b" \n ", "the file is empty: it ends at byte 3", id="white space only"),
        pytest.param(b"[1]", "none starts at byte 0", id="a list"),
        pytest.param(b"  null", "none starts at byte 2", id="null"),
        pytest.param(b"\x1f\x8b\x08\x00", "none starts at byte 0", id="gzip"),
        pytest.param(b'{"a": [1', "entry that starts at byte 1", id="truncated"),
        pytest.param(b'{"a": [1], "b": "x', "entry that starts at byte 10", id="truncated in a string"),
        pytest.param(b'{"a": [1]', "entry that starts at byte 1", id="no closing brace"),
        pytest.param(b'{"a": [1],}', "an entry without a key starts at byte 10", id="trailing comma"),
        pytest.param(b'{"a": [1],, "b": 2}', "an entry without a key starts at byte 10", id="two commas"),
        pytest.param(b"{a: 1}", "an entry without a key starts at byte 1", id="bare key"),
        pytest.param(b'{"a" 1}', "an entry without a key starts at byte 1", id="no colon"),
        pytest.param(b'{"\\ud800": 1}', "an entry without a key starts at byte 1", id="lone surrogate"),
        pytest.param(b'{"\xff": 1}', "an entry without a key starts at byte 1", id="key not UTF-8"),
        pytest.param(b'{"a": 1} {"b": 2}', "more text after the end", id="two objects"),
        pytest.param(b'{"a": 1]', "brackets do not match at byte 7", id="wrong bracket"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "the file ends early", id="100,000 brackets"),
        pytest.param(b'{"a": "' + b"\\" * 5001, "the file ends early", id="5,001 backslashes"),
    ],
)
def test_broken_files_are_named_with_the_byte(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mask_dict.json"
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        list(members(path, 16))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}')
    assert [(m.key, m.value.strip(), m.offset) for m in members(path)] == [("a", b"1", 8)]


def test_memory_is_that_of_the_largest_member_not_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    entry = json.dumps([{"size": [480, 854], "counts": "ab\\]}," * 100}] * 80)
    path.write_text("{" + ",".join(f'"{i}": {entry}' for i in range(400)) + "}")
    assert path.stat().st_size > 20_000_000
    tracemalloc.start()
    assert sum(1 for _ in members(path)) == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


def test_an_entry_that_memory_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "MAX_MEMBER", 1000)
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": "x" * 4000}))
    with pytest.raises(DataError, match="single entry"):
        list(members(path, 100))
