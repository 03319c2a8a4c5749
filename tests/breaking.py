"""Small trees of every format, and ways to break them."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.formats import FORMATS, Clip, Entry, Said, World
from tests.trees import FRAMES, HEIGHT, WIDTH, rle, write_frames
from vtscot.index import Index, build_index
from vtscot.sources.registry import open_source

Change = Callable[[Path], None]
FORM = {form.source: form for form in FORMATS}


def tiny_world(folder: Path) -> World:
    """Two videos, cat and dog, of four small frames with two objects: 1 moves and is hidden in frame 2, 2 rests."""
    clips = []
    for name in ("cat", "dog"):
        write_frames(folder / "frames" / name)
        images = [folder / "frames" / name / f"{i:05d}.jpg" for i in range(FRAMES)]
        tracks: dict[int, list[Entry]] = {
            1: [rle(2 * i, 3) if i != 2 else None for i in range(FRAMES)],
            2: [rle(20, 12)] * FRAMES,
        }
        said = [Said("the square that moves", (1,)), Said("the square that rests", (2,))]
        clips.append(Clip(name, images, tracks, said, (HEIGHT, WIDTH)))
    return World(clips)


def skipped(source: str, tiny: World, root: Path, *changes: Change) -> tuple[Index, dict[str, str]]:
    """Reasons by video (its first three letters) and expression, after `changes` to the tree in `root`."""
    form = FORM[source]
    form.write(tiny, root / "tree")
    for change in changes:
        change(root / "tree")
    index = build_index(open_source(source, root / "tree", form.split), root / "index")
    ids = [query.id for query in index.expressions]
    assert len(ids) == len(set(ids))
    assert len(index.queries) + len(index.skipped) == len(ids)
    assert all(detail and "\n" not in detail for _, _, detail in index.skipped)
    reasons = {f"{query.video.split('/')[-1][:3]} {query.exp_id}": reason for query, reason, _ in index.skipped}
    return index, reasons


def said(file: str, exp_id: str, **changes: Any) -> Change:
    """Changes fields of one expression of the first video; None removes one."""

    def change(root: Path) -> None:
        document = json.loads((root / file).read_bytes())
        body = next(iter(document["videos"].values()))
        entry = body.get("expressions", body.get("questions"))[exp_id]
        for key, value in changes.items():
            entry[key] = value
            if value is None:
                del entry[key]
        (root / file).write_text(json.dumps(document))

    return change


def written(path: str, content: bytes | None) -> Change:
    """Puts other bytes into a file; None removes the file or folder."""

    def change(root: Path) -> None:
        if content is not None:
            (root / path).write_bytes(content)
        elif (root / path).is_dir():
            shutil.rmtree(root / path)
        else:
            (root / path).unlink()

    return change


def drawn(path: str, mode: str, width: int = WIDTH, height: int = HEIGHT) -> Change:
    """Puts an image of the labels of `path` in another mode, or of another size, in its place."""

    def change(root: Path) -> None:
        labels = np.asarray(Image.open(root / path))
        image = Image.fromarray(np.ascontiguousarray(np.resize(labels, (height, width))))
        (image if mode == "L" else image.convert(mode)).save(root / path)

    return change


def bomb() -> bytes:
    """A PNG header that claims 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def linked(root: Path) -> None:
    """A mask that is a link to a file outside of the tree."""
    path = root / "train/Annotations/cat/00005.png"
    outside = root.parent / "outside.png"
    path.rename(outside)
    path.symlink_to(outside)
