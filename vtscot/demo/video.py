"""One video of the demo: its world is drawn until it is worth showing, its frames are written, its rows returned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from .expressions import Expression, express
from .files import write_frame
from .raster import Film, rasterise
from .render import frames
from .seeds import rng_for
from .stage import sample_world
from .story import presentable

ATTEMPTS = 200
"""Worlds drawn before giving up; two on average are enough."""

_IDS = 10
"""Annotation ids reserved per video."""

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True)
class Video:
    """The rows of one video: its entry in `meta_expressions.json`, its tracks in `mask_dict.json`."""

    number: int
    name: str
    meta: dict[str, Any]
    masks: dict[str, list[dict[str, Any] | None]]


def write_video(images: Path, seed: int, number: int) -> Video:
    """Writes the frames to `<images>/<name>/` and returns the rows."""
    film, expressions = direct(seed, number)
    name = film.world.name
    folder = images / name
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{t:05d}" for t in range(film.world.frames)]
    for frame, image in zip(names, frames(film), strict=True):
        written, data = cv2.imencode(".jpg", image, _JPEG)
        if not written:
            raise OSError(f"cannot encode frame {frame} of {name}")
        write_frame(folder / f"{frame}.jpg", data.tobytes())
    first = number * _IDS
    rows = {str(k): _row(expression, first) for k, expression in enumerate(expressions)}
    masks = {str(first + actor): _track(film, actor) for actor in range(len(film.world.actors))}
    return Video(number, name, {"vid_id": number, "frames": names, "expressions": rows}, masks)


def direct(seed: int, number: int) -> tuple[Film, list[Expression]]:
    """The first world that shows all its actors and carries enough expressions."""
    for attempt in range(ATTEMPTS):
        film = rasterise(sample_world(seed, number, attempt))
        if not presentable(film):
            continue
        expressions = express(film, rng_for(seed, number, f"expressions/{attempt}"))
        if expressions is not None:
            return film, expressions
    raise RuntimeError(f"no presentable world for video {number} of seed {seed} in {ATTEMPTS} attempts")


def _row(expression: Expression, first: int) -> dict[str, Any]:
    targets = list(expression.targets)
    ids = [first + target for target in targets]
    return {"exp": expression.text, "obj_id": targets, "anno_id": ids, "kind": expression.kind}


def _track(film: Film, actor: int) -> list[dict[str, Any] | None]:
    """One COCO RLE per frame, None where the actor is not visible."""
    return [_rle(film, actor, t) if film.seen[actor, t] else None for t in range(film.world.frames)]


def _rle(film: Film, actor: int, frame: int) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(film.mask(actor, frame), dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
