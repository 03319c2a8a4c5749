"""The same count as `packed`, compiled by numba: each boundary pixel looks for one of the other mask, nearest first.

Importing this module needs numba (the `numba` extra); the machine code is kept beside it where that can be written.
Columns are packed into words over the frame's full height, bit y of a column being its pixel y.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from rlemasklib import RLEMask

from vtscot.metrics.disk import half_widths

Words = npt.NDArray[np.uint64]
Runs = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

_ONE, _TOP, _ALL = np.uint64(1), np.uint64(63), np.uint64(2**64 - 1)
# A de Bruijn sequence: the top six bits of its product with 1 << n are another number for each n.
_SEQUENCE, _TOP_SIX = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
_BIT_NUMBER = np.zeros(64, np.int64)
for _n in range(64):
    _BIT_NUMBER[((0x03F79D71B4CB0A89 << _n) % 2**64) >> 58] = _n


def _compile(function: Callable[..., Any]) -> Any:
    numba: Any = import_module("numba")
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is no directory that numba could keep its cache in
        return numba.njit(nogil=True)(function)


def match(a: RLEMask, b: RLEMask, radius: int) -> tuple[int, int, int, int]:
    """Boundary pixels of a and of b, and how many of a's lie within `radius` of one of b's, and of b's of one of a's.

    Both masks have one size and are neither empty nor full.
    """
    height, width = a.shape
    widths = np.array(half_widths(radius), np.int64)
    total_a, total_b, hit_a, hit_b = _match(a.counts, b.counts, height, width, widths)
    return total_a, total_b, hit_a, hit_b


def _bits_between(low: int, high: int, word: int) -> np.uint64:
    """The bits of the word-th word that are rows low .. high of its column; at least one is."""
    first, last = max(low - 64 * word, 0), min(high - 64 * word, 63)
    return (_ALL << np.uint64(first)) & (_ALL >> np.uint64(63 - last))


def _columns(runs: Runs, height: int) -> tuple[int, int]:
    """The first and the last column with a pixel of the mask."""
    position, first, last = 0, -1, -1
    for i in range(1, len(runs), 2):
        position += runs[i - 1]
        if runs[i] > 0:
            if first < 0:
                first = position // height
            position += runs[i]
            last = (position - 1) // height
    return first, last


def _paint(runs: Runs, height: int, left: int, field: Words) -> None:
    position = 0
    for i in range(1, len(runs), 2):
        position += runs[i - 1]
        stop = position + runs[i]
        while position < stop:
            column = position // height
            row = position - column * height
            last = min(height, row + stop - position) - 1
            for word in range(row >> 6, (last >> 6) + 1):
                field[column - left, word] |= _bits_between(row, last, word)
            position += last + 1 - row


def _boundary(field: Words, height: int) -> Words:
    """Pixels that differ from the one below, to the right, or below and to the right, where the frame has these."""
    columns, words = field.shape
    with_one_below = np.zeros(words, np.uint64)
    for word in range((height + 62) // 64):
        with_one_below[word] = _bits_between(0, height - 2, word)
    flat, edges = field.ravel(), np.zeros_like(field).ravel()
    for column in range(columns):
        is_last = column + 1 == columns
        for word in range(words - 1):
            i = column * words + word
            own, below = flat[i], (flat[i] >> _ONE) | (flat[i + 1] << _TOP)
            if is_last:
                edges[i] = (own ^ below) & with_one_below[word]
            else:
                j = i + words
                right, beside = flat[j], (flat[j] >> _ONE) | (flat[j + 1] << _TOP)
                edges[i] = (((own ^ below) | (own ^ beside)) & with_one_below[word]) | (own ^ right)
    return edges.reshape(columns, words)


def _any_between(field: Words, column: int, low: int, high: int) -> bool:
    for word in range(low >> 6, (high >> 6) + 1):  # noqa: SIM110 - numba has no any()
        if field[column, word] & _bits_between(low, high, word):
            return True
    return False


def _is_near(column: int, row: int, others: Words, height: int, widths: Ints) -> bool:
    for offset in range(len(widths)):
        low, high = max(row - widths[offset], 0), min(row + widths[offset], height - 1)
        if column >= offset and _any_between(others, column - offset, low, high):
            return True
        if column + offset < len(others) and _any_between(others, column + offset, low, high):
            return True
    return False


def _hits(edges: Words, others: Words, height: int, widths: Ints) -> tuple[int, int]:
    """The set pixels, and those of them that are near a set pixel of `others`."""
    total, hit = 0, 0
    for column in range(edges.shape[0]):
        for word in range(edges.shape[1]):
            left = edges[column, word]
            while left:
                lowest = left & (~left + _ONE)
                left ^= lowest
                total += 1
                row = 64 * word + _BIT_NUMBER[(lowest * _SEQUENCE) >> _TOP_SIX]
                if _is_near(column, row, others, height, widths):
                    hit += 1
    return total, hit


def _match_runs(runs_a: Runs, runs_b: Runs, height: int, width: int, widths: Ints) -> tuple[int, int, int, int]:
    first_a, last_a = _columns(runs_a, height)
    first_b, last_b = _columns(runs_b, height)
    left, right = max(min(first_a, first_b) - 1, 0), min(max(last_a, last_b) + 1, width - 1)
    shape = (right - left + 1, (height + 63) // 64 + 1)  # the last word of a column stays empty
    field_a, field_b = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    _paint(runs_a, height, left, field_a)
    _paint(runs_b, height, left, field_b)
    edges_a, edges_b = _boundary(field_a, height), _boundary(field_b, height)
    total_a, hit_a = _hits(edges_a, edges_b, height, widths)
    total_b, hit_b = _hits(edges_b, edges_a, height, widths)
    return total_a, total_b, hit_a, hit_b


# Compiled in the order in which they call each other: numba looks the callee up under its own name.
_bits_between = _compile(_bits_between)
_columns = _compile(_columns)
_paint = _compile(_paint)
_boundary = _compile(_boundary)
_any_between = _compile(_any_between)
_is_near = _compile(_is_near)
_hits = _compile(_hits)
_match = _compile(_match_runs)
