"""Demo videos at the sizes that a tiny policy sees, with everything that is known of them, in one file per shard.

A video keeps all its frames as strip images, and `SHARP` of them sharp and at SAM 2's size with the owner of every
pixel. Pixels are those that `PolicyProcessor` and `pixels.sam_frame` would show: the same two resizes, no JPEG between.
Numbers of videos belong to `SEED`, which `make speedrun` and the tests of the demo never use: no video of nano's is
ever evaluated on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vtscot.budget import Budget, fit
from vtscot.demo.claims import Claim, object_claims
from vtscot.demo.raster import Film
from vtscot.demo.relations import relation_claims
from vtscot.demo.render import frames
from vtscot.demo.seeds import rng_for
from vtscot.demo.story import tell
from vtscot.demo.video import direct
from vtscot.episode import first_observation

SEED: Final = 1_851_878_767  # "nano" as four bytes
SHARP: Final = 16
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Query:
    """An expression of a video: all its wordings and the actors it means. `chosen`: one the demo would have asked."""

    kind: str
    template: str
    texts: tuple[str, ...]
    targets: tuple[int, ...]
    words: int
    rivals: int
    chosen: str | None


class Clip:
    """One video. Arrays: strip (T, h, w, 3), sharp (K, H, W, 3), sam (K, S, S, 3), owners (K, S, S), all uint8;

    seen (A, T) visible pixels, centre (A, T, 2) their mean x, y as shares of the frame, cells (A, T, gh, gw) the share
    of each strip token that the actor covers, 0..255; `sharp_at` (K,) the frames that are kept sharp.
    """

    def __init__(self, head: dict[str, Any], data: Bytes) -> None:
        self.number: int = head["number"]
        self.num_frames: int = head["frames"]
        self.size: tuple[int, int] = tuple(head["size"])
        self.looks: list[dict[str, Any]] = head["looks"]
        self.sharp_at: list[int] = head["sharp_at"]
        self.shares: dict[tuple[int, ...], float] = {}  # of the frames that show any of these actors, once asked for
        self._head, self._data = head, data

    def array(self, name: str) -> Any:
        """One of the arrays, a view into the file."""
        start, shape, dtype = self._head["arrays"][name]
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._data[start : start + count].view(dtype).reshape(shape)

    @cached_property
    def queries(self) -> list[Query]:
        """All that can be asked of the video."""
        return [
            Query(kind, template, tuple(texts), tuple(targets), words, rivals, chosen)
            for kind, template, texts, targets, words, rivals, chosen in self._head["queries"]
        ]


def _resized(image: Any, size: tuple[int, int], side: int) -> Bytes:
    """As Frames.image and then Qwen's processor: shrunk to `size`, then to whole tokens (bicubic)."""
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    height, width = smart_resize(size[1], size[0], side, side * side, 1 << 30)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def film_clip(number: int, budget: Budget, token: int, sam: int) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Head and arrays of video `number`; `token` pixels a side, SAM 2's frames of `sam` pixels a side."""
    from PIL import Image

    film, expressions = direct(SEED, number)
    world = film.world
    size = (world.width, world.height)
    small, large = fit(*size, budget.temporal_pixels), fit(*size, budget.spatial_pixels)
    sharp_at = _sharp_at(world.frames, number, budget)
    strip, sharp, square, owners = [], [], [], []
    for t, pixels in enumerate(frames(film)):
        image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
        strip.append(_resized(image, small, token))
        if t in sharp_at:
            sharp.append(_resized(image, large, token))
            square.append(np.asarray(image.resize((sam, sam), Image.Resampling.BILINEAR)))
            owner = Image.fromarray(film.owners[t]).resize((sam, sam), Image.Resampling.NEAREST)
            owners.append(np.asarray(owner))
    cells = _cells(film, strip[0].shape[0] // token, strip[0].shape[1] // token)
    arrays = {
        "strip": np.stack(strip),
        "sharp": np.stack(sharp),
        "sam": np.stack(square),
        "owners": np.stack(owners),
        "seen": film.seen.astype(np.int32),
        "centre": _centres(film),
        "cells": cells,
    }
    head = {
        "number": number,
        "frames": world.frames,
        "size": size,
        "sharp_at": sharp_at,
        "looks": [_look(actor, world.frames) for actor in world.actors],
        "queries": _queries(film, {e.text for e in expressions}),
    }
    return {**head, "names": list(arrays)}, list(arrays.values())


def _look(actor: Any, num_frames: int) -> dict[str, Any]:
    change = actor.change
    colours = [actor.look.colour] * num_frames
    if change and change.colour:
        colours = [change.colour if p > 0.5 else actor.look.colour for p in change.progress(num_frames)]
    return {"shape": actor.look.shape, "texture": actor.look.texture, "size": actor.look.size, "colours": colours}


def _sharp_at(num_frames: int, number: int, budget: Budget) -> list[int]:
    """The middle frame that the first observation shows sharp, and others at random."""
    middle = first_observation(num_frames, budget).decoded
    rng = rng_for(SEED, number, "nano/sharp")
    rest = [int(t) for t in rng.permutation(num_frames) if t != middle][: SHARP - 1]
    return sorted([middle, *rest])


def _centres(film: Film) -> npt.NDArray[np.float32]:
    count, length = film.seen.shape
    height, width = film.owners.shape[1:]
    centre = np.zeros((count, length, 2), np.float32)
    for t in range(length):
        y, x = np.nonzero(film.owners[t])
        owner = film.owners[t][y, x]
        for actor in range(count):
            if film.seen[actor, t]:
                mine = owner == actor + 1
                centre[actor, t] = ((x[mine].mean() + 0.5) / width, (y[mine].mean() + 0.5) / height)
    return centre


def _cells(film: Film, rows: int, columns: int) -> Bytes:
    """(A, T, rows, columns) share of each cell that is the actor's, 0..255."""
    import cv2

    count, length = film.seen.shape
    cells = np.zeros((count, length, rows, columns), np.uint8)
    for t in range(length):
        for actor in range(count):
            if film.seen[actor, t]:
                mask = (film.owners[t] == actor + 1).astype(np.float32) * 255
                cells[actor, t] = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA).round()
    return cells


def _queries(film: Film, chosen: set[str]) -> list[Any]:
    stories = tell(film)
    claims: list[Claim] = [*object_claims(stories), *relation_claims(film, stories)]
    rows = []
    for claim in claims:
        asked = next((text for text in claim.texts if text in chosen), None)
        targets = sorted(claim.targets)
        rows.append([claim.kind, claim.template, claim.texts, targets, claim.words, claim.rivals, asked])
    return rows


def write_shard(path: Path, numbers: range, budget: Budget, token: int, sam: int) -> None:
    """Write the videos `numbers` to `path` (pixels) and `path`.json (heads); complete when the second is there."""
    heads, offset = [], 0
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for number in numbers:
            head, arrays = film_clip(number, budget, token, sam)
            head["arrays"] = {}
            for name, array in zip(head.pop("names"), arrays, strict=True):
                head["arrays"][name] = [offset, array.shape, str(array.dtype)]
                data = np.ascontiguousarray(array).tobytes()
                data += b"\0" * (-len(data) % 8)
                file.write(data)
                offset += len(data)
            heads.append(head)
    part.replace(path)
    text = json.dumps(heads)
    half = path.with_suffix(".json.part")
    half.write_text(text)
    half.replace(path.with_suffix(".json"))


def read_shards(folder: Path) -> Iterator[Clip]:
    """The videos of all complete shards in a folder, by number; their pixels stay on disk until they are used."""
    for index in sorted(folder.glob("*.json")):
        data = np.memmap(index.with_suffix(".bin"), dtype=np.uint8, mode="r")
        for head in json.loads(index.read_text()):
            yield Clip(head, data)
