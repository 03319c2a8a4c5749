"""Samples for TRL as one parquet file with the images inside, the same bytes for the same samples."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.files import whole_file
from vtscot.publish.columns import FEATURES

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES: Final = 32 * 2**20
SHOWN: Final = {name: FEATURES[name] for name in ("id", "messages", "images")}


def schema() -> pa.Schema:
    """The columns, with what `datasets` wants to know about them."""
    import pyarrow as pa

    text = pa.string()
    part = pa.struct([("type", text), ("text", text)])
    message = pa.struct([("role", text), ("content", pa.list_(part))])
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    fields = [("id", text), ("messages", pa.list_(message)), ("images", pa.list_(image))]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": SHOWN}})})


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write `rows` in row groups of about 32 MB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole_file(path) as file, pq.ParquetWriter(file, schema(), version="2.6", compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        filled = 0
        for row in rows:
            group.append(row)
            filled += sum(len(image["bytes"]) for image in row["images"])
            if filled > GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=schema()))
                group, filled = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema()))
