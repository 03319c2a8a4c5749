"""The rules of the chat files: `sharegpt` as LLaMA-Factory reads it, `trl` as TRL's SFTTrainer does."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from vtscot.files import inside
from vtscot.frames import MAX_PIXELS, PIL_FAULTS
from vtscot.interchange.rules import Broken, short
from vtscot.sources.names import encodable, printable

_MEDIA: Final = re.compile(r"<(video|audio)>")
_TURNS: Final = {"sharegpt": ("human", "gpt"), "trl": ("user", "assistant")}


def check_sharegpt(record: object, folder: Path) -> Iterator[Broken]:
    """What a sample breaks; the paths of its images are relative to `folder`."""
    if not isinstance(record, dict):
        yield Broken("", "type", f"{short(record)} is no object")
        return
    said = _messages(record.get("conversations"))
    yield from _roles("conversations", said, "from", "sharegpt")
    places = 0
    for i, message in enumerate(said):
        field = f"conversations[{i}].value"
        text = message.get("value")
        if not isinstance(text, str):
            yield Broken(field, "type", f"{short(text)} is no text")
            continue
        places += text.count("<image>")
        if other := _MEDIA.search(text):
            yield Broken(field, "media", f"{other.group()} stands for a file that the sample does not name")
    yield from _images(record.get("images"), places, folder)


def check_trl(record: object, folder: Path) -> Iterator[Broken]:
    """What a sample breaks; images are bytes, or paths relative to `folder`."""
    if not isinstance(record, dict):
        yield Broken("", "type", f"{short(record)} is no object")
        return
    said = _messages(record.get("messages"))
    yield from _roles("messages", said, "role", "trl")
    places = 0
    for i, message in enumerate(said):
        content = message.get("content")
        for broken, image in _parts(f"messages[{i}].content", content):
            places += image
            if broken is not None:
                yield broken
    yield from _images(record.get("images"), places, folder)


def _messages(value: object) -> list[dict[str, Any]]:
    """The messages of a list; what is none of them has no role, and is told by that."""
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []


def _roles(field: str, said: Sequence[dict[str, Any]], who: str, format: str) -> Iterator[Broken]:  # noqa: A002
    """A system message may come first; then question and answer in turns."""
    begun = 1 if said and said[0].get(who) == "system" else 0
    for i, message in enumerate(said[begun:]):
        wanted = _TURNS[format][i % 2]
        if message.get(who) != wanted:
            yield Broken(f"{field}[{i + begun}].{who}", "roles", f"{short(message.get(who))} where {wanted} speaks")
    if len(said) - begun < 2 or (len(said) - begun) % 2:
        yield Broken(field, "roles", f"{len(said)} messages: a list of questions, each with its answer, is needed")


def _parts(field: str, content: object) -> Iterator[tuple[Broken | None, int]]:
    """(what a part breaks, places of images in it)."""
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        yield Broken(field, "type", "it is neither a text nor a list of parts"), 0
        return
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image":
            yield None, 1
        elif kind != "text" or not isinstance(part.get("text"), str):
            yield Broken(f"{field}[{i}]", "type", "a part is a text or the place of an image"), 0


def _images(value: object, places: int, folder: Path) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("images", "type", f"{short(value)} is no list of images")
        return
    if len(value) != places:
        yield Broken("images", "count", f"{len(value)} images for {places} places in the dialogue")
    for i, image in enumerate(value):
        why = _image_fault(image, folder)
        if why is not None:
            yield Broken(f"images[{i}]", *why)


def _image_fault(image: object, folder: Path) -> tuple[str, str] | None:
    """(rule, what is wrong); images are opened, not decoded."""
    if isinstance(image, dict):
        inner = image.get("bytes")
        if isinstance(inner, bytes):
            return _header(io.BytesIO(inner))
        image = image.get("path")
    if not isinstance(image, str) or not encodable(image):
        return "type", f"{short(image)} is neither a path nor the bytes of an image"
    try:
        path = inside(folder, image)
    except ValueError as error:
        return "path", printable(str(error))
    return _header(path) if path.is_file() else ("file", f"{printable(image)} is not there")


def _header(source: Path | io.BytesIO) -> tuple[str, str] | None:
    from PIL import Image

    try:
        with Image.open(source, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                return "image", f"it claims {image.width} x {image.height} pixels"
    except (*PIL_FAULTS, Image.DecompressionBombError):
        return "image", "it is no JPEG and no PNG"
    return None
