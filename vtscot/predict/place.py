"""The folder of a prediction. `prediction.json` marks it as ours: written first, and again, finished, at the end.

prediction.json                          what was asked, said and decided
masks.json                               all masks in the interchange format (RLE), for `vtscot eval`
Annotations/<video>/<query>/<frame>.png  the same as PNGs, for `vtscot eval`, `vtscot submit` and anything else
overlay-<query>.mp4 (or .gif)            the masks over the video
trace.html                               the turns, in one file
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vtscot import __version__
from vtscot.errors import UsageError
from vtscot.files import write_text

MARK: Final = "prediction.json"
MASKS: Final = "masks.json"
PNGS: Final = "Annotations"
TRACE: Final = "trace.html"
OVERLAY: Final = "overlay-{}.{}"
_MAKER: Final = "vtscot predict"


def claim(out: Path) -> None:
    """Make `out` ready: new, empty, or of an earlier prediction, which is removed. UsageError where it is another's."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out names a folder")
    if out.is_dir() and any(out.iterdir()):
        if not _is_ours(out):
            raise UsageError(f"{out} is not empty and holds no prediction of vtscot; choose another --out")
        _clear(out)
    write_record(out, {"finished": False})


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write the mark with what is known."""
    whole = {"made_by": _MAKER, "version": __version__, **record}
    write_text(out / MARK, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """A path beside `path`, with its ending, for writers that open files themselves; renamed when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends, and leaves no trace when it fails."""
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_ours(out: Path) -> bool:
    try:
        return bool(json.loads((out / MARK).read_bytes())["made_by"] == _MAKER)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear(out: Path) -> None:
    """Remove what an earlier prediction wrote, and nothing else."""
    if (out / PNGS).is_dir():
        shutil.rmtree(out / PNGS)
    patterns = (MASKS, TRACE, OVERLAY.format("*", "mp4"), OVERLAY.format("*", "gif"), ".overlay-*.part.*")
    for path in [path for pattern in patterns for path in out.glob(pattern)]:
        path.unlink(missing_ok=True)
