"""Which kind of predictions a path holds."""

from __future__ import annotations

from pathlib import Path

from vtscot.errors import DataError
from vtscot.evaluation.interchange import JsonPredictions
from vtscot.evaluation.pngs import FolderPredictions, ZipPredictions
from vtscot.evaluation.predictions import Predictions


def open_predictions(path: Path) -> Predictions:
    """Look through `path` once; DataError where it is neither a JSON file, a folder, nor a zip."""
    if path.is_dir():
        return FolderPredictions(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return ZipPredictions(path) if head in (b"PK\x03\x04", b"PK\x05\x06") else JsonPredictions(path)
