"""Pictures of numbers as SVG, for a README: same numbers, same bytes; no script, nothing loaded, all text escaped.

Each stands on a panel of its own and follows the reader's light or dark scheme, so that it can be read on any page.
Lengths are in pixels of the picture at its natural size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 420
HEIGHT: Final = 232
_PAD: Final = 20
_LONGEST: Final = 26  # characters of a label
_STYLE: Final = (
    "svg{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}"
    ".p{fill:#fff;stroke:#dedcd5}.t{fill:#1d2025;font-weight:600;font-size:15px}.i{fill:#1d2025}.s{fill:#5d646e}"
    ".l{stroke:#dedcd5}.w{fill:#efede7}.b{fill:#1f5fbf}.g{fill:#5fb98d}.k{fill:#e09600}.r{fill:#b3541e}"
    ".o{fill:#1f5fbf;fill-opacity:.14;stroke:#1f5fbf;stroke-width:2}.f{fill:#8b929c}"
    "@media (prefers-color-scheme:dark){.p{fill:#1b1d21;stroke:#32353b}.t,.i{fill:#e8e6e1}.s{fill:#a3a8b0}"
    ".l{stroke:#32353b}.w{fill:#2b2e34}.b{fill:#82b1ff}.g{fill:#3f8f68}.k{fill:#ffb000}.r{fill:#f0a070}"
    ".o{fill:#82b1ff;stroke:#82b1ff}.f{fill:#7c838d}}"
)


def panel(title: str, note: str, body: Sequence[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    """An SVG of `body`, elements of SVG, under a title and a line that says what is counted."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}: {escape(note)}</title><style>{_STYLE}</style>",
            f'<rect class="p" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="12"/>',
            text(_PAD, 30, title, "t"),
            text(_PAD, 49, note, "s"),
            *body,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, value: object, css: str = "i", anchor: str = "start") -> str:
    """A line of text whose base line starts, has its middle or ends at (x, y)."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(str(value))}</text>'


def rect(x: float, y: float, width: float, height: float, css: str, round_: float = 2) -> str:
    """A box with rounded corners."""
    return (
        f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{min(round_, width / 2, height / 2):.1f}"/>'
    )


def columns(title: str, note: str, counts: Mapping[str, int]) -> str:
    """Upright bars side by side, in the order of `counts`, each with its count above and its name below."""
    base, top = HEIGHT - 38, 80
    most = max(counts.values(), default=0) or 1
    step = (WIDTH - 2 * _PAD) / max(1, len(counts))
    wide = min(step * 0.72, 64)
    body = [f'<path class="l" d="M{_PAD} {base}.5H{WIDTH - _PAD}"/>']
    for i, (name, count) in enumerate(counts.items()):
        middle = _PAD + step * (i + 0.5)
        tall = (base - top) * count / most
        if count:
            body.append(rect(middle - wide / 2, base - max(tall, 2), wide, max(tall, 2), "b", 3))
            body.append(text(middle, base - max(tall, 2) - 6, brief(count), "i", "middle"))
        body.append(text(middle, base + 19, shorten(name), "s", "middle"))
    return panel(title, note, body)


def bars(title: str, note: str, counts: Mapping[str, int], share: tuple[str, float | None]) -> str:
    """Lying bars one below the other, each with its name before and its count behind, under a meter of one share.

    As tall as it takes; `share` is (name, 0..1), None where there is nothing to have a share of.
    """
    step, first, left = 24, 106, 176
    most = max(counts.values(), default=0) or 1
    body = list(_meter(*share))
    if not counts:
        body.append(text(_PAD, first + 22, "none", "s"))
    for i, (name, count) in enumerate(counts.items()):
        y = first + i * step
        wide = (WIDTH - left - _PAD - 52) * count / most
        body.append(text(left - 10, y + 13, shorten(name), "i", "end"))
        body.append(rect(left, y + 3, max(wide, 2), 13, "r", 3))
        body.append(text(left + max(wide, 2) + 7, y + 13.5, f"{count:,}", "s"))
    return panel(title, note, body, height=max(HEIGHT, first + len(counts) * step + 14))


def _meter(name: str, share: float | None) -> Iterator[str]:
    said = "-" if share is None else f"{100 * share:.1f}%"
    whole = WIDTH - 2 * _PAD
    yield text(_PAD, 76, name, "i")
    yield text(WIDTH - _PAD, 76, said, "i", "end")
    yield rect(_PAD, 83, whole, 7, "w", 3.5)
    if share:
        yield rect(_PAD, 83, max(whole * share, 3), 7, "k", 3.5)


def brief(count: int) -> str:
    """A count in at most five characters: 12,345 as 12.3k."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1000:.3g}k" if count < 999_500 else f"{count / 1e6:.3g}M"


def shorten(name: str) -> str:
    """A label in one line that fits."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
