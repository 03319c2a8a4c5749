"""Finding predictions in an interchange JSON without holding it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trees import rle
from vtscot.errors import DataError
from vtscot.evaluation.spans import find_spans

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FILES = st.dictionaries(TEXT, st.dictionaries(TEXT, st.dictionaries(TEXT, VALUES, max_size=3), max_size=3), max_size=3)


@settings(deadline=None, max_examples=150)
@given(document=FILES, chunk=st.integers(1, 40), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_spans_are_what_json_says(
    tmp_path_factory: pytest.TempPathFactory, document: Any, chunk: int, indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "spans.json"
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    path.write_bytes(raw)
    found = [(span.video, span.exp_id, json.loads(raw[span.start : span.end])) for span in find_spans(path, chunk)]
    assert found == [(video, exp_id, value) for video, of in document.items() for exp_id, value in of.items()]


@settings(deadline=None, max_examples=150)
@given(document=FILES, data=st.data(), chunk=st.integers(1, 40))
def test_a_file_that_is_cut_off_is_told(
    tmp_path_factory: pytest.TempPathFactory, document: Any, data: st.DataObject, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.json"
    raw = json.dumps(document).encode()
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(DataError, match="no predictions as JSON"):
        list(find_spans(path, chunk))


def test_memory_does_not_grow_with_the_number_of_predictions(tmp_path: Path) -> None:
    """Peak of Python's own allocations while a file of 40 MB is looked through."""
    path = tmp_path / "large.json"
    mask = json.dumps({"prediction_masks": [rle(3, 3) | {"counts": "0" * 2000}] * 50})
    path.write_text('{"v": {' + ", ".join(f'"{i}": {mask}' for i in range(400)) + "}}")
    assert path.stat().st_size > 40_000_000
    tracemalloc.start()
    count = sum(1 for _ in find_spans(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < 6_000_000
