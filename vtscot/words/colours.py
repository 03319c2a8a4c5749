"""Colour names of pixels, and of words: thirteen names, told apart in CIE L*C*h.

`name_pixels` labels every pixel with the colour most people would call it; `dominant` names the one or two colours of a
region; `read_colours` finds colour words in a text and the names that pixels of that colour may get.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

NAMES: Final = (
    "black",
    "grey",
    "white",
    "red",
    "orange",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
    "brown",
    "beige",
)

_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "gray": ("grey",),
    "cyan": ("turquoise",),
    "teal": ("turquoise",),
    "aqua": ("turquoise",),
    "violet": ("purple",),
    "magenta": ("pink", "purple"),
    "crimson": ("red",),
    "scarlet": ("red",),
    "maroon": ("red", "brown"),
    "navy": ("blue",),
    "olive": ("green",),
    "lime": ("green",),
    "tan": ("beige", "brown"),
    "cream": ("beige", "white"),
    "blond": ("beige", "yellow"),
    "blonde": ("beige", "yellow"),
    "golden": ("yellow", "orange", "beige", "brown"),
    "gold": ("yellow", "orange", "beige", "brown"),
    "silver": ("grey", "white"),
    "silvery": ("grey", "white"),
    "dark": ("black",),
    "khaki": ("beige", "green"),
}
_KIN: Final[dict[str, tuple[str, ...]]] = {
    # What pixels of a thing of that colour may also be called, where light, shade and texture change them.
    "red": ("brown",),
    "orange": ("brown",),
    "yellow": ("brown", "beige"),
    "pink": ("purple", "red"),
    "white": ("grey", "beige"),
    "brown": ("beige", "orange"),
    "beige": ("brown", "grey", "white"),
    "turquoise": ("green", "blue"),
}
_WORD: Final = re.compile(r"\b(" + "|".join(sorted((*NAMES, *_ALIASES), key=len, reverse=True)) + r")(?:d?ish)?\b")

_BITS: Final = 5  # per channel of the table that names pixels


def _lch(rgb: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """CIE L* (0..100), C* and hue in degrees (0..360, D65) of sRGB values 0..1, shape (N, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lightness, a, b = 116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _name(lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Index into `NAMES` per colour; later rules overrule earlier ones."""
    names = np.full(lightness.shape, NAMES.index("grey"), dtype=np.uint8)

    def put(name: str, where: NDArray[np.bool_]) -> None:
        names[where] = NAMES.index(name)

    vivid = chroma >= np.where(lightness > 80, 9, 12)
    for name, low, high in (
        ("red", 0, 47),
        ("orange", 47, 76),
        ("yellow", 76, 112),
        ("green", 112, 172),
        ("turquoise", 172, 235),
        ("blue", 235, 305),
        ("purple", 305, 335),
        ("pink", 335, 360),
    ):
        put(name, vivid & (hue >= low) & (hue < high))
    warm = vivid & (hue >= 30) & (hue < 100)
    put("pink", vivid & (lightness > 58) & ((hue >= 325) | (hue < 36)))
    put("red", vivid & (lightness < 45) & (hue >= 345))
    put("brown", warm & (hue >= 40) & (lightness < 58) & (chroma < 62))
    put("beige", warm & (lightness >= 58) & (chroma < 34))
    put("white", ~vivid & (lightness > 78))
    put("black", (lightness < 24) & (chroma < 14) | (lightness < 9))
    return names


@cache
def _table() -> NDArray[np.uint8]:
    """The name of every colour of a coarse RGB cube, shape (32, 32, 32)."""
    steps = (np.arange(1 << _BITS) + 0.5) / (1 << _BITS)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return _name(*_lch(cube)).reshape((1 << _BITS,) * 3)


def name_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Index into `NAMES` of every pixel of an RGB image (H, W, 3); shape (H, W)."""
    coarse = (image >> (8 - _BITS)).astype(np.intp)
    return np.asarray(_table()[coarse[..., 0], coarse[..., 1], coarse[..., 2]])


def shares(labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of each name among pixel labels of any shape; (len(NAMES),), zeros where there is no pixel."""
    counts = np.bincount(labels.ravel(), minlength=len(NAMES)).astype(np.float64)
    return np.asarray(counts / max(1.0, counts.sum()))


def dominant(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """The colour of the pixels in `mask`, and a second one where it is nearly as common; () for an empty mask."""
    share = shares(name_pixels(image[mask][None]))
    first, second = np.argsort(-share, kind="stable")[:2]
    if share[first] == 0:
        return ()
    pair = share[second] >= max(0.22, 0.45 * share[first])
    return (NAMES[first], NAMES[second]) if pair else (NAMES[first],)


def read_colours(text: str) -> tuple[str, ...]:
    """The colour words of a text in order, each once, as they stand ("golden", "grey")."""
    return tuple(dict.fromkeys(match.group(1) for match in _WORD.finditer(text.lower())))


def names_of(word: str) -> tuple[str, ...]:
    """The names that pixels of the colour `word` are given, the word's own first."""
    return _ALIASES.get(word, (word,))


def kin_of(word: str) -> frozenset[str]:
    """`names_of`, and the names that such pixels may get in shade, in light or by texture."""
    own = names_of(word)
    return frozenset(own) | {kin for name in own for kin in _KIN.get(name, ())}
