"""What objects look like: named colours, textures and sizes, and the `Look` that combines them with a shape."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (206, 32, 44),
    "green": (38, 158, 62),
    "blue": (36, 82, 214),
    "yellow": (250, 218, 48),
    "orange": (246, 132, 24),
    "purple": (126, 46, 176),
    "white": (246, 246, 246),
    "black": (22, 22, 24),
    "cyan": (44, 208, 226),
    "pink": (250, 138, 196),
}
"""Well separated in RGB (nearest pair: about 90) and all more vivid, lighter or darker than any background."""

TEXTURES = ("plain", "striped", "dotted", "checked")

SIZES: dict[str, float] = {"small": 0.125, "medium": 0.175, "large": 0.245}
"""Side of the square of equal area, as a share of the frame's shorter side: each step doubles the area."""

FADES: dict[str, tuple[str, ...]] = {
    "red": ("blue", "green", "white", "yellow", "cyan"),
    "green": ("red", "purple", "white", "orange", "pink"),
    "blue": ("red", "yellow", "white", "orange", "pink"),
    "yellow": ("blue", "purple", "red", "black"),
    "orange": ("blue", "green", "black", "cyan"),
    "purple": ("yellow", "green", "white", "orange"),
    "white": ("red", "blue", "green", "black", "purple"),
    "black": ("yellow", "white", "orange", "cyan", "pink"),
    "cyan": ("red", "black", "orange"),
    "pink": ("green", "blue", "black"),
}
"""Colour changes nobody can overlook."""


@dataclass(frozen=True)
class Look:
    """The appearance an object starts with."""

    shape: str
    colour: str
    texture: str
    size: str


def second_tone(rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """The tone a texture alternates with: a darker shade of the colour, or a lighter one where it is near black."""
    if max(rgb) < 60:
        return (rgb[0] + 58.0, rgb[1] + 58.0, rgb[2] + 60.0)
    return (rgb[0] * 0.66, rgb[1] * 0.66, rgb[2] * 0.66)
