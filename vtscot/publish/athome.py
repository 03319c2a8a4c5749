"""`hydrated.json`: what marks a dataset whose rows were joined with frames at home, and says where these are.

A folder with it is never published (`vtscot push` refuses it). Rows name frame files only below the roots it states.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from vtscot.errors import DataError
from vtscot.files import write_text
from vtscot.records import Frozen

HYDRATED: Final = "hydrated.json"
DIFFERENCES: Final = "differences.jsonl"


class Joined(Frozen):
    """What became of the rows of one source."""

    root: str  # absolute: the folder that holds the source
    embedded: bool
    rows: int = Field(ge=0)
    hydrated: int = Field(ge=0)
    differences: Mapping[str, int] = {}  # rows left out, by kind


class Home(Frozen):
    """The content of `hydrated.json`."""

    vtscot: str
    dataset: str  # what was given to `vtscot hydrate`
    sources: Mapping[str, Joined] = {}

    def root(self, source: str) -> Path | None:
        """Where the frames of a source's rows are; None where it was not joined."""
        joined = self.sources.get(source)
        return None if joined is None else Path(joined.root)


def read_home(directory: Path) -> Home | None:
    """The marker of a dataset's folder; None for one that was not hydrated, DataError for one that cannot be read."""
    path = directory / HYDRATED
    if not path.is_file():
        return None
    try:
        return Home.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read ({reason}); hydrate the dataset again") from error


def write_home(directory: Path, home: Home) -> None:
    """Mark a folder."""
    text = json.dumps(home.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_text(directory / HYDRATED, text + "\n")
