"""The tree on disk: whole files, a record of what was written, and care for what is not the demo's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_text
from .seeds import VERSION

SPLITS = ("train", "valid_u")
RECORD = "demo.json"


def write_frame(path: Path, data: bytes) -> None:
    """Writes a frame and renames it into place. Not synced: a tree without its record is written anew anyway."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """JSON with a newline at the end; without indent as compact as can be."""
    text = json.dumps(value, indent=indent, separators=(",", ": ") if indent else (",", ":"))
    write_text(path, text + "\n")


def read_record(root: Path, videos: int, seed: int) -> dict[str, Any] | None:
    """What an earlier run wrote, if it is all there and was made with the same settings."""
    try:
        record: dict[str, Any] = json.loads((root / RECORD).read_bytes())
        same = (record["videos"], record["seed"], record["version"]) == (videos, seed, VERSION)
        return record if same and _complete(root, record) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _complete(root: Path, record: dict[str, Any]) -> bool:
    for split in SPLITS:
        folder = root / split
        if not all((folder / name).is_file() for name in ("meta_expressions.json", "mask_dict.json")):
            return False
        for name, frames in record["frames"][split].items():
            if len(list((folder / "JPEGImages" / name).glob("*.jpg"))) != frames:
                return False
    return True


def prepare(root: Path) -> None:
    """Makes the folders and clears away an earlier demo. Raises DataError where somebody else's videos lie."""
    for split in SPLITS:
        _refuse_foreign(root / split)
    (root / RECORD).unlink(missing_ok=True)
    for split in SPLITS:
        frames = root / split / "JPEGImages"
        frames.mkdir(parents=True, exist_ok=True)
        for name in ("meta_expressions.json", "mask_dict.json"):
            (root / split / name).unlink(missing_ok=True)
        for video in frames.glob("demo-*"):
            shutil.rmtree(video)


def _refuse_foreign(folder: Path) -> None:
    """The folder must be empty, absent, or hold nothing but a demo."""
    meta = folder / "meta_expressions.json"
    names = [video.name for video in (folder / "JPEGImages").glob("*")]
    if meta.exists():
        try:
            names += list(json.loads(meta.read_bytes())["videos"])
        except (ValueError, KeyError, TypeError):
            names.append(meta.name)
    foreign = sorted(name for name in names if not name.startswith("demo-"))
    if foreign:
        raise DataError(f"{folder} holds what is not of the demo ({foreign[0]}); choose another directory")
