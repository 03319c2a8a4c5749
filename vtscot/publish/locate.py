"""Where a dataset is: the folder of what a command was given as RUN or DATASET. Needs no torch and no `datasets`.

A run (or what `vtscot merge` and `vtscot split` write) -> its `dataset/`; a dataset's folder -> itself; an id of the
Hub (`user/name`) -> its files in the Hub's cache, downloaded where they are not there yet.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from vtscot.errors import DataError

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
CARD: Final = "README.md"
WANTED: Final = ["*.parquet", CARD, "LICENSE.md"]
"""What is downloaded of a dataset of the Hub: no pictures of its card."""


def is_run(path: Path) -> bool:
    """Whether `path` is the directory of a run: only that has a ledger."""
    return (path / "ledger.sqlite").is_file()


def find_dataset(name: str) -> Path:
    """The folder with the card and the shards of a run, a dataset's folder or an id of the Hub.

    DataError where there is none of these, where a run has no dataset yet, or where the Hub does not give it.
    """
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if path.exists() or not HUB_ID.fullmatch(name):
        raise DataError(f"{name} is no run, no dataset's folder and no id of the Hub (user/name)")
    return _download(name)


def _in_folder(path: Path) -> Path:
    inner = path / "dataset"
    if (inner / CARD).is_file():
        return inner
    if is_run(path):
        raise DataError(f"{path} holds no dataset yet: make it with vtscot build --run {path}")
    if not (path / CARD).is_file() and next(path.rglob("*.parquet"), None) is None:
        raise DataError(f"{path} holds no parquet files and no {CARD}: it is no run and no dataset of vtscot")
    return path


def _download(repo: str) -> Path:
    """The dataset's files in the Hub's cache; without network what is there already."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, repo_type="dataset", allow_patterns=WANTED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{repo}: no folder here, and the Hub does not give such a dataset ({reason})") from error
