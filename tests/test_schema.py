"""The schemas in `schemas/` are those of the models."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vtscot import schema


def test_shipped_schemas_have_not_drifted() -> None:
    assert schema.stale(Path(str(files("vtscot.schemas")))) == []


def test_drift_is_found_and_named(tmp_path: Path) -> None:
    schema.write(tmp_path)
    assert schema.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "left-over.json").write_text("{}")
    assert schema.stale(tmp_path) == ["left-over.json", "record.json"]
    assert schema.main(["--check", str(tmp_path)]) == 1
    schema.write(tmp_path)
    assert schema.stale(tmp_path) == []
