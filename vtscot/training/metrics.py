"""The figures of a training, one JSON object per logged step in OUT/metrics.jsonl. Needs no torch.

Every line has step, epoch, loss, lr, grad_norm (before clipping) and seconds since the line before; the figures of
each stage are said in its `figures`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from vtscot.errors import DataError
from vtscot.files import write_text

FILE: Final = "metrics.jsonl"
Line = dict[str, Any]


def read_metrics(out: Path) -> list[Line]:
    """The lines of a training in order of step; none where it logged nothing. DataError for a broken file."""
    path = out / FILE
    if not path.is_file():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return sorted(lines, key=lambda line: int(line["step"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def rewind(out: Path, step: int) -> None:
    """Forget what was logged after `step`: a resumed training logs it again."""
    lines = [line for line in _readable(out / FILE) if line["step"] <= step]
    write_text(out / FILE, "".join(json.dumps(line) + "\n" for line in lines))


def append(out: Path, line: Line) -> None:
    """Add one line; it is on its way to the disk when this returns."""
    with (out / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _readable(path: Path) -> list[Line]:
    """The lines up to the first that is cut off, as the last one may be after a power cut."""
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
