"""Digests of a dataset's shards, which the card states, so that shards changed after it are told from its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DIGESTS: Final = "vtscot_digests"
"""Key of the card's metadata: `config/split` -> `digest_files` of its shards."""


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the SHA-256 of every file, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(file_digest(path))
    return total.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def git_digest(path: Path) -> str:
    """The id (hex) under which git, and with it the Hub, knows a small file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
