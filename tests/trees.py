"""Small MeViS trees for tests: one video of four 32x24 frames with two objects, to be broken in any way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vtscot.index import Index, build_index
from vtscot.masks import Rle
from vtscot.sources.registry import open_source

HEIGHT, WIDTH, FRAMES = 24, 32, 4


def rle(x: int, y: int, side: int = 5, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    """A square as a COCO RLE."""
    mask = np.zeros((height, width), bool)
    mask[y : y + side, x : x + side] = True
    return Rle.from_array(mask).coco()


def good_meta() -> dict[str, Any]:
    """Two expressions, one per object."""
    expressions = {
        "0": {"exp": "the square that moves", "obj_id": [0], "anno_id": [1]},
        "1": {"exp": "the square that rests", "obj_id": [1], "anno_id": [2]},
    }
    frames = [f"{i:05d}" for i in range(FRAMES)]
    return {"videos": {"cat": {"vid_id": 0, "frames": frames, "expressions": expressions}}}


def good_masks() -> dict[str, Any]:
    """Object 1 moves right and is hidden in frame 2, object 2 rests."""
    moving = [rle(2 * i, 3) if i != 2 else None for i in range(FRAMES)]
    return {"1": moving, "2": [rle(20, 12)] * FRAMES}


def write_tree(root: Path, meta: Any, masks: Any, *, split: str = "train", images: bool = True) -> Path:
    """Write meta and masks (None: no mask_dict.json); str and bytes are written as they are, all else as JSON."""
    folder = root / split
    folder.mkdir(parents=True)
    _write(folder / "meta_expressions.json", meta)
    if masks is not None:
        _write(folder / "mask_dict.json", masks)
    if images:
        write_frames(folder / "JPEGImages" / "cat")
    return root


def write_frames(folder: Path, width: int = WIDTH, height: int = HEIGHT, frames: int = FRAMES) -> None:
    """Grey frames."""
    folder.mkdir(parents=True)
    for i in range(frames):
        Image.new("RGB", (width, height), (90, 90, 90)).save(folder / f"{i:05d}.jpg")


def index_tree(root: Path, *, split: str = "train", check_frames: bool = True) -> Index:
    """The index of a tree, beside it."""
    return build_index(open_source("mevis", root, split), root / "index", check_frames=check_frames)


def _write(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
