"""The curves of a training of nano, drawn as SVG from its log; no plotting library, and small enough for the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_WIDTH: Final = 360
_HEIGHT: Final = 170
_GAP: Final = 46
_COLUMNS: Final = 2
_LOSSES: Final = ("text", "looks", "shows", "knows", "mask", "object", "reached")
_MEASURES: Final = ("f1", "short_hit", "window_iou", "none_empty", "exact/here", "exact/across")
_BARS: Final = {"short_hit": "short_constant", "window_iou": "window_constant"}


def write_curves(log: Path, path: Path) -> None:
    """One panel per term and measure over all steps; a dashed line is the best constant answer."""
    rows = _rows(log)
    panels = [panel for name in _LOSSES for panel in _panel(name, rows, None)]
    panels += [panel for name in _MEASURES for panel in _panel(name, rows, "measured")]
    lines = (len(panels) + _COLUMNS - 1) // _COLUMNS
    width, height = _COLUMNS * (_WIDTH + _GAP) + _GAP, lines * (_HEIGHT + _GAP) + _GAP
    body = "".join(_placed(panel, n % _COLUMNS, n // _COLUMNS) for n, panel in enumerate(panels))
    style = "<style>text{font:11px sans-serif;fill:#333}path{fill:none;stroke:#27c;stroke-width:1.5}</style>"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'{style}<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def _rows(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; of a step that was made again after a stop, the later ones."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return list({(row["level"], row["step"], "measured" in row): row for row in rows}.values())


def _placed(panel: str, column: int, row: int) -> str:
    x, y = _GAP + column * (_WIDTH + _GAP), _GAP / 2 + row * (_HEIGHT + _GAP)
    return f'<g transform="translate({x},{y})">{panel}</g>'


def _panel(name: str, rows: Sequence[dict[str, Any]], inside: str | None) -> list[str]:
    points, bar = [], None
    before, level, last = 0, None, 0
    for row in rows:
        if row["level"] != level:
            before, level, last = before + last, row["level"], 0
        last = row["step"]
        found = row.get(inside, {}) if inside else row
        if name in found:
            points.append((before + row["step"], found[name]))
            bar = found.get(_BARS.get(name, ""), bar)
    return [_drawn(name, points, bar)] if points else []


def _drawn(name: str, points: list[tuple[int, float]], bar: float | None) -> str:
    end, top = max(x for x, _ in points), max([y for _, y in points] + ([bar] if bar else []) + [1e-9])
    at = [(x / end * _WIDTH, (1 - y / top) * _HEIGHT) for x, y in points]
    line = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dashed = ""
    if bar:
        y = (1 - bar / top) * _HEIGHT
        dashed = f'<line x1="0" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#c33" stroke-dasharray="4 3"/>'
    return (
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#ccc"/><path d="{line}"/>{dashed}'
        f'<text x="4" y="-5">{name}: last {points[-1][1]:.3g}, top {top:.3g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 13}" text-anchor="end">{end} steps</text>'
    )
