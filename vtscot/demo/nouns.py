"""Noun phrases: which objects a phrase such as "small red striped star" fits, and how it is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .story import Story, Truth

GENERIC = ("shape", "object")
_SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
_TEXTURE_WORDS = {"striped": ("striped",), "dotted": ("dotted", "spotted"), "checked": ("checked", "checkered")}
_PLURALS = {"cross": "crosses"}


@dataclass(frozen=True)
class Noun:
    """A conjunction of attributes; an empty string leaves one open."""

    shape: str = ""
    colour: str = ""
    texture: str = ""
    size: str = ""

    @property
    def words(self) -> int:
        """Number of attributes that are said."""
        return sum(bool(part) for part in (self.shape, self.colour, self.texture, self.size))

    def fits(self, story: Story) -> Truth:
        """Whether the phrase describes the object; None for an attribute that it has for a part of the time only."""
        look, change = story.actor.look, story.actor.change
        checks: list[Truth] = [
            not self.shape or self.shape == look.shape,
            not self.texture or self.texture == look.texture,
            self._fits_colour(look.colour, change.colour if change else None),
            self._fits_size(look.size, change is not None and change.factor != 1),
        ]
        return False if False in checks else None if None in checks else True

    def _fits_colour(self, first: str, last: str | None) -> Truth:
        if not self.colour:
            return True
        if last is None:
            return self.colour == first
        return None if self.colour in (first, last) else False

    def _fits_size(self, size: str, changes: bool) -> Truth:
        if not self.size:
            return True
        return None if changes else self.size == size

    def said(self, plural: bool = False) -> tuple[str, ...]:
        """The ways to say it, without an article."""
        heads: tuple[str, ...] = (self.shape,) if self.shape else GENERIC
        if plural:
            heads = tuple(_PLURALS.get(head, head + "s") for head in heads)
        sizes, textures = _SIZE_WORDS.get(self.size, ("",)), _TEXTURE_WORDS.get(self.texture, ("",))
        parts = product(sizes, (self.colour,), textures, heads)
        return tuple(" ".join(word for word in words if word) for words in parts)


def nouns_of(stories: tuple[Story, ...], *, full: bool = False) -> Iterator[Noun]:
    """Phrases from the attributes that occur in the video: shape and colour, with texture and size if `full`."""
    shapes = ["", *sorted({story.actor.look.shape for story in stories})]
    colours = ["", *sorted({story.actor.look.colour for story in stories})]
    textures = ["", *sorted({story.actor.look.texture for story in stories} - {"plain"})] if full else [""]
    sizes = ["", *sorted({story.actor.look.size for story in stories} - {"medium"})] if full else [""]
    for shape, colour, texture, size in product(shapes, colours, textures, sizes):
        yield Noun(shape, colour, texture, size)


def denoted(noun: Noun, stories: tuple[Story, ...]) -> frozenset[int] | None:
    """The objects a phrase fits; None if for one of them that cannot be said."""
    found = [(story.index, noun.fits(story)) for story in stories]
    if any(fits is None for _, fits in found):
        return None
    return frozenset(index for index, fits in found if fits)
