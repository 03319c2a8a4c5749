"""Boundary pixels of two masks and how many of each lie near the other, on packed bits: one word holds 64 pixels.

A field is (2, C * S) words, ground truth first: C columns of S words, pixel (x, y) of the window being bit y of column
x. Each column ends in at least `radius` spare bits, so a shift by no more than that reaches only its own spare bits.
The bits come straight from the runs: the ends of all runs are set, and a prefix XOR fills what lies between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rlemasklib import RLEMask

from vtscot.metrics.disk import half_widths

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
_WORD = 64


class Window(NamedTuple):
    """The part of the frame that holds all boundary pixels: its corner, its size and the words of a column."""

    x: int
    y: int
    columns: int
    rows: int
    words: int


def match(a: RLEMask, b: RLEMask, radius: int) -> tuple[int, int, int, int]:
    """Boundary pixels of a and of b, and how many of a's lie within `radius` of one of b's, and of b's of one of a's.

    Both masks have one size and are neither empty nor full.
    """
    window = _window(a, b, radius)
    edges = _boundary(_field(a, b, window), window)
    hits = edges & _dilate(edges, radius, window)[::-1]
    (total_a, total_b), (hit_a, hit_b) = _count(edges), _count(hits)
    return total_a, total_b, hit_a, hit_b


def _window(a: RLEMask, b: RLEMask, radius: int) -> Window:
    """The box around both masks and one pixel more on each side, where the frame has one."""
    height, width = a.shape
    (x_a, y_a, w_a, h_a), (x_b, y_b, w_b, h_b) = (map(int, mask.bbox()) for mask in (a, b))
    x, y = max(min(x_a, x_b) - 1, 0), max(min(y_a, y_b) - 1, 0)
    columns = min(max(x_a + w_a, x_b + w_b) + 1, width) - x
    rows = min(max(y_a + h_a, y_b + h_b) + 1, height) - y
    return Window(x, y, columns, rows, -(-(rows + radius) // _WORD))


def _field(a: RLEMask, b: RLEMask, window: Window) -> Words:
    """Both masks as packed bits (2, C * S); the spare bits are undefined where a run goes on in the next column."""
    length = window.columns * window.words
    toggles = np.concatenate([_toggles(a, window), _toggles(b, window) + length * _WORD])
    word = toggles >> 6
    firsts = np.flatnonzero(np.diff(word, prepend=-1))
    bits = np.left_shift(np.uint64(1), (toggles & 63).view(np.uint64))
    field = np.zeros(2 * length, np.uint64)
    field[word[firsts]] = np.bitwise_xor.reduceat(bits, firsts)
    _fill(field)
    return field.reshape(2, length)


def _toggles(mask: RLEMask, window: Window) -> Ints:
    """Ascending bit numbers (2N,) where each of the N runs begins and where it has ended."""
    runs = mask.counts_view
    ends = np.cumsum(runs, dtype=np.int64)[: len(runs) // 2 * 2].reshape(-1, 2)  # of the runs of zeros and of ones
    if not runs[1::2].all():
        ends = ends[ends[:, 0] < ends[:, 1]]
    ends[:, 1] -= 1  # the last pixel of a run tells the column it ends in
    column = ends // mask.shape[0]
    row = ends - column * mask.shape[0]
    bit: Ints = (column - window.x) * (window.words * _WORD) + (row - window.y)
    bit[:, 1] += 1
    return bit.ravel()


def _fill(field: Words) -> None:
    """Replaces each bit by the XOR of all up to it, in place."""
    for step in (1, 2, 4, 8, 16, 32):
        field ^= field << step
    inside = np.bitwise_xor.accumulate(field >> 63)
    field[1:] ^= np.negative(inside[:-1])


def _boundary(field: Words, window: Window) -> Words:
    """Pixels that differ from the one below, to the right, or below and to the right, where the frame has these."""
    words = window.words
    below = _towards_low(field, 1)
    edges = field ^ below
    edges[:, :-words] |= field[:, :-words] ^ below[:, words:]
    edges &= _rows(window, window.rows - 1)
    sideways = field[:, :-words] ^ field[:, words:]
    sideways &= _rows(window, window.rows)[words:]
    edges[:, :-words] |= sideways
    return edges


def _rows(window: Window, rows: int) -> Words:
    """(C * S,) words whose bits are set for the first `rows` of each column."""
    column = np.zeros(window.words, np.uint64)
    full, rest = divmod(rows, _WORD)
    column[:full] = np.iinfo(np.uint64).max
    if rest:
        column[full] = (1 << rest) - 1
    return np.tile(column, window.columns)


def _dilate(edges: Words, radius: int, window: Window) -> Words:
    """Pixels of the window within `radius` of a set one; the spare bits are undefined."""
    near = np.zeros_like(edges)
    for offset, widened in _widen(edges, radius):
        shift = offset * window.words
        if offset == 0:
            near |= widened
        elif offset < window.columns:
            near[:, shift:] |= widened[:, :-shift]
            near[:, :-shift] |= widened[:, shift:]
    return near


def _widen(edges: Words, radius: int) -> Iterator[tuple[int, Words]]:
    """For each column offset from `radius` to 0, the bits dilated along the column by the disk's half width there."""
    reach, widened = 0, edges
    for offset, half_width in reversed(list(enumerate(half_widths(radius)))):
        while reach < half_width:
            step = min(half_width - reach, 2 * reach + 1, _WORD - 1)  # a longer step would leave a gap
            widened = widened | _towards_high(widened, step) | _towards_low(widened, step)
            reach += step
        yield offset, widened


def _towards_low(field: Words, step: int) -> Words:
    flat = field.ravel()
    moved: Words = flat >> np.uint64(step)
    moved[:-1] |= flat[1:] << np.uint64(_WORD - step)
    return moved.reshape(field.shape)


def _towards_high(field: Words, step: int) -> Words:
    flat = field.ravel()
    moved: Words = flat << np.uint64(step)
    moved[1:] |= flat[:-1] >> np.uint64(_WORD - step)
    return moved.reshape(field.shape)


def _count(field: Words) -> list[int]:
    return [int(part) for part in np.bitwise_count(field).sum(axis=1, dtype=np.int64)]
