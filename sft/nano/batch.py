"""Examples as tensors: rows of the three levels, images of one size together, and what the extra heads are to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor

from vtscot.demo.palette import COLOURS, TEXTURES
from vtscot.demo.raster import PILLAR
from vtscot.demo.shapes import SHAPES
from vtscot.sft.nano.tasks import Example, _marked

LOOKS: Final = (*COLOURS, *SHAPES, *TEXTURES)


@dataclass
class Batch:
    """V videos, R replies. Images lie in the order of `images`; image n's tokens are at row and columns `places[n]`."""

    system: Tensor  # (1, S) ids; S may be 0
    heads: Tensor  # (V, Lh) ids
    head_keep: Tensor
    head_positions: Tensor  # (3, V, Lh)
    tails: Tensor  # (R, Lt) ids
    tail_keep: Tensor
    tail_positions: Tensor
    parent: Tensor  # (R,) row of heads
    weights: Tensor  # (R, Lt) of each token as a label
    read: Tensor  # (R, Lt) ids as they are read: `tails`, but for decisions that were replaced
    pixels: Tensor  # (P, C)
    grids: Tensor  # (I, 3)
    order: Tensor  # (T,) for every image token of the heads, row by row, its feature's number
    cells: Tensor  # (T, len(LOOKS)) what each image token shows, in that order
    looks: Tensor  # (N, 2) row and position in tails of the decisions that look somewhere
    look_at: Tensor  # (N, Lh) tokens of the head that they should look at
    asks: Tensor  # (N, len(LOOKS)) what those decisions should be looking for
    seg: Tensor  # (R,) position of [SEG] in tails
    seg_facts: Tensor  # (R, 5 + len(LOOKS)): present, x, y, width, height, looks
    names: list[list[str]]
    examples: list[Example]


def patches(images: Sequence[np.ndarray[Any, Any]], patch: int, merge: int = 2) -> Tensor:
    """(P, C) as Qwen's image processor makes them of images (H, W, 3) uint8 of whole tokens, all of one size."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    count, channels, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    split = pixels.reshape(count, channels, rows // merge, merge, patch, columns // merge, merge, patch)
    split = split.permute(0, 2, 5, 3, 6, 1, 4, 7)
    split = split.reshape(count * rows * columns, channels, 1, patch, patch).expand(-1, -1, 2, -1, -1)
    return split.reshape(count * rows * columns, -1)


def positions(
    ids: Sequence[int], image_token: int, grids: Sequence[tuple[int, int]], start: int
) -> np.ndarray[Any, Any]:
    """(3, T) as Qwen3-VL's `get_rope_index`: text counts on, an image lies at one moment with rows and columns."""
    where = np.zeros((3, len(ids)), np.int64)
    i, at, image = 0, start, 0
    while i < len(ids):
        if ids[i] != image_token:
            where[:, i] = at
            i, at = i + 1, at + 1
            continue
        rows, columns = grids[image]
        image += 1
        where[0, i : i + rows * columns] = at
        where[1, i : i + rows * columns] = at + np.repeat(np.arange(rows), columns)
        where[2, i : i + rows * columns] = at + np.tile(np.arange(columns), rows)
        i, at = i + rows * columns, at + max(rows, columns)
    return where


def collate(examples: Sequence[Example], processor: Any, system: bool) -> Batch:
    """All examples are of one kind of observation; `system` puts the system message before them."""
    token, image_id, pad = processor.token_side, processor.image_token_id, processor.pad_id
    start = len(examples[0].system) if system else 0
    sizes = [[(im.shape[0] // token, im.shape[1] // token) for im in e.images] for e in examples]
    where = [positions(e.head, image_id, s, start) for e, s in zip(examples, sizes, strict=True)]
    heads, head_keep = _pad([e.head for e in examples], pad)
    head_positions = _pad_positions(where, heads.shape[1])
    rows = [(v, a) for v, e in enumerate(examples) for a in e.answers]
    tails, tail_keep = _pad([a.ids for _, a in rows], pad)
    after = torch.tensor([int(w.max()) + 1 for w in where])
    parent = torch.tensor([v for v, _ in rows])
    tail_positions = (after[parent][:, None] + torch.arange(tails.shape[1]))[None].expand(3, -1, -1)
    weights = torch.zeros(tails.shape)
    for r, (_, a) in enumerate(rows):
        weights[r, : len(a.ids)] = torch.tensor(a.weights)
    read, _ = _pad([a.read for _, a in rows], pad)
    pixels, grids, order = _images(examples, sizes, token)
    looks, look_at = _looks(examples, rows, heads, image_id, processor)
    return Batch(
        torch.tensor([examples[0].system if system else []], dtype=torch.int64),
        heads,
        head_keep,
        head_positions,
        tails,
        tail_keep,
        tail_positions,
        parent,
        weights,
        read,
        pixels,
        grids,
        order,
        torch.cat([_shown_looks(e) for e in examples]),
        looks,
        look_at,
        torch.from_numpy(np.stack([_asked(examples[v], a, image) for v, a in rows for _, image in a.looks])),
        torch.tensor([a.seg for _, a in rows]),
        torch.stack([_facts(examples[v], a) for v, a in rows]),
        [a.names for _, a in rows],
        list(examples),
    )


def pictures(examples: Sequence[Example], token: int) -> tuple[Tensor, ...]:
    """Pixels, grids, order and cells of a `Batch`, and outlines, of images alone."""
    sizes = [[(im.shape[0] // token, im.shape[1] // token) for im in e.images] for e in examples]
    shown = torch.cat([_shown_looks(e) for e in examples])
    return *_images(examples, sizes, token), shown, outlines(examples, token)


def _pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), value)
    keep = torch.zeros(len(rows), length, dtype=torch.bool)
    for r, row in enumerate(rows):
        ids[r, : len(row)] = torch.tensor(row)
        keep[r, : len(row)] = True
    return ids, keep


def _pad_positions(where: Sequence[np.ndarray[Any, Any]], length: int) -> Tensor:
    padded = np.zeros((3, len(where), length), np.int64)
    for v, own in enumerate(where):
        padded[:, v, : own.shape[1]] = own
    return torch.from_numpy(padded)


def _images(
    examples: Sequence[Example], sizes: list[list[tuple[int, int]]], token: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels and grids with images of one size side by side, and where each image's features went."""
    flat = [(size, v, i) for v, row in enumerate(sizes) for i, size in enumerate(row)]
    by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for size, v, i in flat:
        by_size.setdefault(size, []).append((v, i))
    pixels, grids, at, offset = [], [], {}, 0
    for size, members in by_size.items():
        pixels.append(patches([examples[v].images[i] for v, i in members], token // 2))
        grids += [(1, 2 * size[0], 2 * size[1])] * len(members)
        for member in members:
            at[member] = range(offset, offset + size[0] * size[1])
            offset += size[0] * size[1]
    order = torch.tensor([n for _, v, i in flat for n in at[v, i]])
    return torch.cat(pixels), torch.tensor(grids), order


def _looks(
    examples: Sequence[Example], rows: Any, heads: Tensor, image_id: int, processor: Any
) -> tuple[Tensor, Tensor]:
    """Where each looking decision stands, and the tokens of its target, or the end of the image without one."""
    starts: list[list[int]] = []
    for example in examples:
        ids, found, i = example.head, [], 0
        for image in example.images:
            i = ids.index(image_id, i)
            found.append(i)
            i += (image.shape[0] // processor.token_side) * (image.shape[1] // processor.token_side)
        starts.append(found)
    at, marks = [], []
    for r, (v, answer) in enumerate(rows):
        for position, image in answer.looks:
            mark = torch.zeros(heads.shape[1], dtype=torch.bool)
            cells = torch.from_numpy(answer.cells[image])
            begin = starts[v][image]
            mark[begin : begin + len(cells)] = cells
            if not cells.any():
                mark[begin + len(cells)] = True
            at.append((r, position))
            marks.append(mark)
    return torch.tensor(at), torch.stack(marks)


def _shown_looks(example: Example) -> Tensor:
    """(tokens, len(LOOKS)) of all images of an example."""
    clip = example.clip
    cells, owners = clip.array("cells"), clip.array("owners")[example.sharp]
    grid = (clip.array("sharp").shape[2] // 16, clip.array("sharp").shape[1] // 16)
    shown = []
    for number, frame in enumerate(example.frames):
        last = number == len(example.frames) - 1
        facts = np.zeros((1, len(LOOKS)), np.float32)
        for k, look in enumerate(clip.looks):
            if last:
                share = cv2.resize((owners == k + 1).astype(np.float32) * 255, grid, interpolation=cv2.INTER_AREA)
            else:
                share = cells[k, frame]
            mark = _marked(share).reshape(-1, 1)
            row = look_row(look, frame)
            facts = np.maximum(facts, mark * row)
        shown.append(facts)
    return torch.from_numpy(np.concatenate(shown)).float()


def _asked(example: Example, answer: Any, image: int) -> np.ndarray[Any, Any]:
    """(len(LOOKS),) the looks of the targets on a frame, or, without any, those that the expression names."""
    if not answer.query.targets:
        said = set(answer.text.split())
        return np.array([name in said for name in LOOKS], np.float32)
    looks, frame = example.clip.looks, example.frames[image]
    return np.asarray(np.max([look_row(looks[k], frame) for k in answer.query.targets], axis=0), dtype=np.float32)


def look_row(look: dict[str, Any], frame: int) -> np.ndarray[Any, Any]:
    """(len(LOOKS),) what one object looks like on a frame, as zeros and ones."""
    said = (look["colours"][frame], look["shape"], look["texture"])
    return np.array([name in said for name in LOOKS], np.float32)


FINE: Final = 8  # points a side at which a token's outlines are asked for


def outlines(examples: Sequence[Example], token: int) -> Tensor:
    """(tokens, 2, FINE, FINE): the share of objects around each point of a token, and its lightness in -1..1.

    Of images whose owners are kept, in the order of the examples' images: the last is the sharp one.
    """
    rows = []
    for example in examples:
        owners = example.clip.array("owners")
        for image, frame in zip(example.images, example.frames, strict=True):
            height, width = image.shape[0] // token * FINE, image.shape[1] // token * FINE
            owner = owners[example.clip.sharp_at.index(frame)]
            there = ((owner > 0) & (owner < PILLAR)).astype(np.float32)
            there = cv2.resize(there, (width, height), interpolation=cv2.INTER_AREA)
            grey = image.mean(-1).astype(np.float32) / 127.5 - 1
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
            both = np.stack([there, grey]).reshape(2, height // FINE, FINE, width // FINE, FINE)
            rows.append(both.transpose(1, 3, 0, 2, 4).reshape(-1, 2, FINE, FINE))
    return torch.from_numpy(np.concatenate(rows))


def _facts(example: Example, answer: Any) -> Tensor:
    clip, frame = example.clip, example.frames[-1]
    owners = clip.array("owners")[example.sharp]
    targets = [k for k in answer.query.targets if clip.array("seen")[k, frame]]
    facts = np.zeros(5 + len(LOOKS), np.float32)
    y, x = np.nonzero(np.isin(owners, [k + 1 for k in targets]))
    if targets and len(x):
        side = owners.shape[0]
        facts[0] = 1
        facts[1:5] = ((x.mean() + 0.5) / side, (y.mean() + 0.5) / side, np.ptp(x) / side, np.ptp(y) / side)
        facts[5:] = np.max([look_row(clip.looks[k], frame) for k in targets], axis=0)
    return torch.from_numpy(facts)
