"""The pictures of a card, `assets/*`: what they may be and hold.

JPEG, PNG or SVG, as their first bytes say and their names agree; of a sensible size; without EXIF or comments, which
tell of places and machines; an SVG draws only by itself: no script, no foreign address, no embedded picture.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from vtscot.publish.leaks import leaks

ASSET: Final = re.compile(r"assets/[A-Za-z0-9_][\w.-]*\.(png|jpe?g|svg)")
MAX_BYTES: Final = 5 * 2**20
MAX_SIDE: Final = 8192
_KINDS: Final = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG"}
_MAGIC: Final = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
_TOLD: Final = frozenset({"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression"})
_TOLD_PNG: Final = frozenset({"dpi", "gamma", "srgb", "interlace", "transparency", "aspect"})


def is_raster(name: str) -> bool:
    """Whether a picture of that name could show frames."""
    return not name.endswith(".svg")


def picture_problems(path: Path) -> Iterator[str]:
    """What is wrong with one picture."""
    data = path.read_bytes()
    if not 0 < len(data) <= MAX_BYTES:
        yield f"{len(data):,} bytes; a picture of the card has at most {MAX_BYTES:,}"
        return
    suffix = path.suffix.lower().removeprefix(".")
    yield from _svg(data) if suffix == "svg" else _raster(data, _KINDS[suffix])


def image_kind(start: bytes) -> str | None:
    """JPEG or PNG, by the first bytes of a picture."""
    return next((kind for kind, magic in _MAGIC.items() if start.startswith(magic)), None)


def _raster(data: bytes, kind: str) -> Iterator[str]:
    from PIL import Image

    if image_kind(data[:8]) != kind:
        yield f"is called a {kind} picture, but is none"
        return
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            if max(image.size) > MAX_SIDE:
                yield f"is {image.width} x {image.height}; a picture of the card has at most {MAX_SIDE} a side"
                return
            image.load()
            more = sorted(str(key) for key in image.info if key not in (_TOLD if kind == "JPEG" else _TOLD_PNG))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        yield f"is no {kind} picture that can be read: {' '.join(str(error).split())}"
        return
    if more:
        yield f"holds more than a picture ({', '.join(more)[:60]}); save it without metadata"


def _svg(data: bytes) -> Iterator[str]:
    text = data.decode("utf-8", errors="replace")
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        yield "declares a document type or entities; a picture needs none"
        return
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # without entities, as just seen
    except ElementTree.ParseError as error:
        yield f"is no SVG picture that can be read: {error}"
        return
    if not root.tag.endswith("svg"):
        yield "is called an SVG picture, but is none"
    for element in root.iter():
        yield from _element(element)
    yield from leaks(text)


def _element(element: ElementTree.Element) -> Iterator[str]:
    tag = str(element.tag).rpartition("}")[2].lower()
    if tag in ("script", "foreignobject", "image", "iframe", "use", "handler"):
        yield f"holds <{tag}>; a picture of the card draws by itself"
    for name, value in element.attrib.items():
        plain = name.rpartition("}")[2].lower()
        if plain.startswith("on") or (plain == "href" and not value.startswith("#")):
            yield f"holds {plain}={value[:30]!r}; a picture of the card has no scripts and addresses"
