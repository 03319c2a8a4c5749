"""The curves of a training of nano, drawn as SVG from its log; no plotting library, and small enough for the docs."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

_WIDTH: Final = 360
_HEIGHT: Final = 170
_GAP: Final = 46
_COLUMNS: Final = 2
_WORDS: Final = 120  # characters in a line above the panels
_LOSSES: Final = ("text", "looks", "shows", "knows", "reads", "mask", "object", "reached")
_MEASURES: Final = ("f1", "short_hit", "window_iou", "none_empty", "exact/here", "exact/across")
_BARS: Final = {"short_hit": "short_constant", "window_iou": "window_constant"}


def write_curves(log: Path, path: Path) -> None:
    """One panel per term and measure over all steps; grey lines part the levels, a dashed one is the best constant.

    A curve is broken where a level is passed over that does not have its term.
    """
    rows, starts, end = _along(log)
    panels = [_panel(name, rows, starts, end) for name in _LOSSES]
    panels += [_panel(name, [(at, row.get("measured", {})) for at, row in rows], starts, end) for name in _MEASURES]
    panels = [panel for panel in panels if panel]
    lines = (len(panels) + _COLUMNS - 1) // _COLUMNS
    width, height = _COLUMNS * (_WIDTH + _GAP) + _GAP, lines * (_HEIGHT + _GAP) + 2 * _GAP
    levels = ", ".join(f"{name} {start:,}" for name, start in starts.items())
    said = wrap(f"Levels by their first step: {levels}; end {end:,}.", _WORDS)
    body = "".join(f'<text x="{_GAP}" y="{18 + 14 * n}">{line}</text>' for n, line in enumerate(said))
    body += "".join(_placed(panel, n % _COLUMNS, n // _COLUMNS) for n, panel in enumerate(panels))
    style = "<style>text{font:11px sans-serif;fill:#333}path{fill:none;stroke:#27c;stroke-width:1.5}</style>"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'{style}<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def _along(log: Path) -> tuple[list[tuple[int, dict[str, Any]]], dict[str, int], int]:
    """The lines of a log, each with its step of all levels together; where each level starts; the last step.

    Of a step that was made again after a stop, the later line counts.
    """
    said = [json.loads(line) for line in log.read_text().splitlines()]
    rows = {(row["level"], row["step"], "measured" in row): row for row in said}
    lengths: dict[str, int] = {}
    for level, step, _ in rows:
        lengths[level] = max(step, lengths.get(level, 0))
    starts = dict(zip(lengths, accumulate(lengths.values(), initial=0), strict=False))
    return [(starts[row["level"]] + row["step"], row) for row in rows.values()], starts, sum(lengths.values())


def _placed(panel: str, column: int, row: int) -> str:
    x, y = _GAP + column * (_WIDTH + _GAP), 1.25 * _GAP + row * (_HEIGHT + _GAP)
    return f'<g transform="translate({x},{y})">{panel}</g>'


def _panel(name: str, rows: Sequence[tuple[int, dict[str, Any]]], starts: dict[str, int], end: int) -> str:
    points = [(at, row[name]) for at, row in rows if name in row]
    bars = [row[_BARS[name]] for _, row in rows if name in _BARS and _BARS[name] in row]
    return _drawn(name, points, bars[-1] if bars else None, starts, end) if points else ""


def _drawn(name: str, points: list[tuple[int, float]], bar: float | None, starts: dict[str, int], end: int) -> str:
    top = max([y for _, y in points] + ([bar] if bar else []) + [1e-9])
    at = [(x / end * _WIDTH, (1 - y / top) * _HEIGHT) for x, y in points]
    levels = [bisect_left(list(starts.values()), step) for step, _ in points]
    apart = [0, *(n for n in range(1, len(at)) if levels[n] > levels[n - 1] + 1), len(at)]
    line = "".join("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in at[a:b]) for a, b in pairwise(apart))
    marks = "".join(
        f'<path d="M{start / end * _WIDTH:.1f},0V{_HEIGHT}" style="stroke:#ddd"/>' for start in starts.values() if start
    )
    if bar:
        y = f"{(1 - bar / top) * _HEIGHT:.1f}"
        marks += f'<line x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}" stroke="#c33" stroke-dasharray="4 3"/>'
    return (
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#ccc"/>{marks}<path d="{line}"/>'
        f'<text x="4" y="-5">{name}: last {points[-1][1]:.3g}, top {top:.3g}</text>'
    )
