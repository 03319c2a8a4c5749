"""How a thought says where something is and how large: `say_place` and `read_place` are inverse, up to rounding.

Everything is said in fractions of the frame, as a person looking at it would ("about a third of the way across and
halfway down, a fifth of the frame's width and a quarter of its height"): no pixels, no digits. A centre is rounded to
about a fortieth of the frame, a side by about a tenth of itself. `read_place` also understands looser wording
("in the lower left corner"), and says by how much it may be off.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from vtscot.records import Box

SIZES: Final[dict[str, float]] = {
    "a fiftieth": 1 / 50,
    "a thirtieth": 1 / 30,
    "a twentieth": 1 / 20,
    "a fifteenth": 1 / 15,
    "a twelfth": 1 / 12,
    "a tenth": 1 / 10,
    "an eighth": 1 / 8,
    "a sixth": 1 / 6,
    "a fifth": 1 / 5,
    "a quarter": 1 / 4,
    "three tenths": 0.3,
    "a third": 1 / 3,
    "two fifths": 0.4,
    "just under half": 0.45,
    "half": 0.5,
    "just over half": 0.55,
    "three fifths": 0.6,
    "two thirds": 2 / 3,
    "three quarters": 0.75,
    "four fifths": 0.8,
    "nine tenths": 0.9,
    "the whole": 1.0,
}
"""Widths and heights as shares of the frame's."""

PLACES: Final[dict[str, float]] = {
    "a twentieth of the way": 0.05,
    "a twelfth of the way": 1 / 12,
    "an eighth of the way": 1 / 8,
    "a sixth of the way": 1 / 6,
    "a fifth of the way": 0.2,
    "a quarter of the way": 0.25,
    "three tenths of the way": 0.3,
    "a third of the way": 1 / 3,
    "three eighths of the way": 3 / 8,
    "two fifths of the way": 0.4,
    "just short of halfway": 0.45,
    "halfway": 0.5,
    "just past halfway": 0.55,
    "three fifths of the way": 0.6,
    "five eighths of the way": 5 / 8,
    "two thirds of the way": 2 / 3,
    "seven tenths of the way": 0.7,
    "three quarters of the way": 0.75,
    "four fifths of the way": 0.8,
    "five sixths of the way": 5 / 6,
    "seven eighths of the way": 7 / 8,
    "nine tenths of the way": 0.9,
    "nearly all the way": 0.96,
}
"""Positions between two opposite edges, from the left or from the top."""

SIDES: Final = ("left", "right", "top", "bottom")
VARIANTS: Final = 4
"""Number of phrasings of `say_place`."""

_PRECISE: Final = 0.02  # standard deviation of a position said in fractions
_VAGUE: Final = 0.16  # and of one said with words such as "upper left"


@dataclass(frozen=True, slots=True)
class Place:
    """What a text says of a place: centre and sides in shares of the frame, None where nothing is said.

    `dx` and `dy` are the standard deviations of the centre; `touching` are the edges of the frame that cut the thing.
    """

    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    dx: float = _VAGUE
    dy: float = _VAGUE
    touching: frozenset[str] = frozenset()

    @property
    def precise(self) -> bool:
        """True where the place was said in fractions along both axes and both sides were given."""
        return max(self.dx, self.dy) < _VAGUE and None not in (self.x, self.y, self.width, self.height)

    def box(self, size: tuple[int, int], side: float = 0.3) -> Box:
        """The box (x, y, w, h) in pixels of a frame of `size` (width, height); `side` where no side was said."""
        x0, w = _along(self.x, self.width or side, "left" in self.touching, "right" in self.touching)
        y0, h = _along(self.y, self.height or side, "top" in self.touching, "bottom" in self.touching)
        return (x0 * size[0], y0 * size[1], w * size[0], h * size[1])


def _along(centre: float | None, side: float, first: bool, last: bool) -> tuple[float, float]:
    """Start and length along one axis, inside 0..1."""
    if first and last:
        return 0.0, 1.0
    middle = 0.5 if centre is None else centre
    start = 0.0 if first else (1.0 - side if last else middle - side / 2)
    start, end = max(0.0, start), min(1.0, start + side)
    return start, max(end - start, 1e-3)


def nearest(words: dict[str, float], value: float) -> str:
    """The phrase whose value is nearest to `value`."""
    return min(words, key=lambda phrase: abs(words[phrase] - value))


def nearest_size(value: float) -> str:
    """The size phrase that is off by the smallest factor."""
    return min(SIZES, key=lambda phrase: abs(math.log(SIZES[phrase] / max(value, 1e-3))))


def region(x: float, y: float) -> str:
    """The ninth of the frame around a centre, in words: "in the upper left", "near the top", "on the left side"."""
    column = "left" if x < 0.36 else "right" if x > 0.64 else ""
    row = "upper" if y < 0.36 else "lower" if y > 0.64 else ""
    if not column:
        return {"upper": "near the top", "lower": "near the bottom", "": "in the middle"}[row]
    return f"in the {row} {column}" if row else f"on the {column} side"


def say_place(box: Box, size: tuple[int, int], variant: int = 0) -> str:
    """Where `box` is and how large, as a phrase that follows "is" or a comma; `size` is the frame's (width, height)."""
    x0, y0 = box[0] / size[0], box[1] / size[1]
    w, h = box[2] / size[0], box[3] / size[1]
    x, y = x0 + w / 2, y0 + h / 2
    sides = nearest_size(w), nearest_size(h)
    place = (_say_centre, _say_region, _say_edges, _say_centre_first)[variant % VARIANTS](x, y, *sides)
    cut = touched(box, size)
    return place + (f", cut off by the {' and the '.join(cut)} of the frame" if cut else "")


def touched(box: Box, size: tuple[int, int]) -> tuple[str, ...]:
    """The edges of the frame that `box` reaches, in the order of `SIDES`, as "left edge"."""
    slack = 0.006 * max(size)
    x, y, w, h = box
    reached = x <= slack, x + w >= size[0] - slack, y <= slack, y + h >= size[1] - slack
    return tuple(f"{side} edge" for side, yes in zip(SIDES, reached, strict=True) if yes)


def _say_centre(x: float, y: float, w: str, h: str) -> str:
    across, down = nearest(PLACES, x), nearest(PLACES, y)
    return f"{_about(across)} across and {down} down, taking up {w} of the frame's width and {h} of its height"


def _about(place: str) -> str:
    return place if place.startswith(("just", "nearly", "halfway")) else f"about {place}"


def _say_region(x: float, y: float, w: str, h: str) -> str:
    across, down = nearest(PLACES, x), nearest(PLACES, y)
    return f"{region(x, y)} of the frame, {across} across and {down} down, {w} of the width and {h} of the height"


def _say_edges(x: float, y: float, w: str, h: str) -> str:
    across = f"{nearest(PLACES, x)} in from the left" if x < 0.5 else f"{nearest(PLACES, 1 - x)} in from the right"
    down = f"{nearest(PLACES, y)} from the top" if y < 0.5 else f"{nearest(PLACES, 1 - y)} up from the bottom"
    return f"{_about(across)} and {down}, roughly {w} as wide and {h} as tall as the frame"


def _say_centre_first(x: float, y: float, w: str, h: str) -> str:
    across, down = nearest(PLACES, x), nearest(PLACES, y)
    return f"{region(x, y)}, {w} of the frame's width and {h} of its height, centred {across} across and {down} down"


_FRACTION: Final[dict[str, float]] = {
    **SIZES,
    **{phrase.removesuffix(" of the way"): value for phrase, value in PLACES.items()},
}
_WORDS: Final = "|".join(sorted(map(re.escape, _FRACTION), key=len, reverse=True))
_WAY: Final = rf"(?P<f>{_WORDS})(?: of the way)?"
_ACROSS: Final = re.compile(rf"\b{_WAY} (?:across|(?:in )?from the left)")
_BACK: Final = re.compile(rf"\b{_WAY} (?:in )?from the right")
_DOWN: Final = re.compile(rf"\b{_WAY} (?:down|from the top)")
_UP: Final = re.compile(rf"\b{_WAY} (?:up\b|from the bottom)")
_WIDE: Final = re.compile(rf"\b(?P<f>{_WORDS}) (?:(?:of )?(?:the frame's |its |the )?width\b|as wide)")
_TALL: Final = re.compile(rf"\b(?P<f>{_WORDS}) (?:(?:of )?(?:the frame's |its |the )?height\b|as (?:tall|high))")
_CUT: Final = re.compile(r"\b(?:cut off|cropped|cut|clipped) (?:off )?(?:by|at) (?P<edges>[a-z ,]*?edge[a-z ,]*)")
_SIDE_WORDS: Final = {
    "x": ((r"(?:far|extreme) left|left(?:most)? (?:edge|corner)", 0.12), (r"left", 0.24)),
    "x_": ((r"(?:far|extreme) right|right(?:most)? (?:edge|corner)", 0.88), (r"right", 0.76)),
    "y": ((r"top|upper|above the middle", 0.22),),
    "y_": ((r"bottom|lower|foreground|low in", 0.78),),
}
_MIDDLE: Final = re.compile(r"\b(?:cent(?:re|er)|middle|central)\b")
_NOT_A_PLACE: Final = re.compile(
    r"(?:to(?:wards?)? (?:the|its|our) |(?:mov|head|fac|go|turn|look|walk|driv|drift)(?:s|es|ing|ed)? )"
    r"(?:left|right|top|bottom)"
    r"|(?:left|right) of (?!the frame|the image|the picture|the view)|\bleft (?:the|behind|over)\b"
)


def read_place(text: str) -> Place | None:
    """What a sentence says of a place; None where it says nothing. Words of motion ("to the left") are no place."""
    lowered = " ".join(text.lower().split())
    touching = frozenset(
        side for match in _CUT.finditer(lowered) for side in SIDES if re.search(rf"\b{side}\b", match["edges"])
    )
    rest = _NOT_A_PLACE.sub(" ", _CUT.sub(" ", lowered))
    x, dx = _position(rest, _ACROSS, _BACK, "x")
    y, dy = _position(rest, _DOWN, _UP, "y")
    width, height = _fraction(_WIDE, rest), _fraction(_TALL, rest)
    if x is None and y is None and width is None and height is None and not touching:
        return None
    return Place(x, y, width, height, dx, dy, touching)


def _fraction(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    return _FRACTION[match["f"]] if match else None


def _position(text: str, forth: re.Pattern[str], back: re.Pattern[str], axis: str) -> tuple[float | None, float]:
    """Centre along one axis and its standard deviation."""
    if (value := _fraction(forth, text)) is not None:
        return value, _PRECISE
    if (value := _fraction(back, text)) is not None:
        return 1 - value, _PRECISE
    found = [
        value
        for key in (axis, axis + "_")
        for pattern, value in _SIDE_WORDS[key]
        if re.search(rf"\b(?:{pattern})\b", text)
    ]
    if found:
        return min(found, key=lambda value: -abs(value - 0.5)), _VAGUE
    return (0.5, _VAGUE) if _MIDDLE.search(text) else (None, 0.3)
