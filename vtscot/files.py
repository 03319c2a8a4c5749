"""Files appear whole: written beside their place, synced, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends, and leaves no trace when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as the whole content of `path`."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) as the whole content of `path`."""
    write_bytes(path, text.encode())


def inside(root: Path, *parts: str) -> Path:
    """`root` joined with `parts` that come from data; raises ValueError where the result would leave `root`.

    Parts may hold slashes (ReVOS video keys do). Absolute parts, `..` and NUL are refused by their text; where the
    path exists, links that lead out of the root are refused as well.
    """
    for part in parts:
        pieces = part.replace("\\", "/").split("/")
        if not part or part.startswith(("/", "\\")) or "\0" in part or ".." in pieces or ":" in pieces[0]:
            raise ValueError(f"{part!r} is not a name inside the dataset")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{'/'.join(parts)!r} leads out of {root}")
    return path
