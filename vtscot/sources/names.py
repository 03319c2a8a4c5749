"""Names that come from data (videos, frames, expression ids) are checked before they become paths or keys."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")  # nearly all names; the others are looked at closely


def encodable(text: str) -> bool:
    """False for text with lone surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """`text` for a message: shortened, control characters escaped, lone surrogates replaced."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def bad_name(name: str, *, slashes: bool = False) -> str | None:
    """Why `name` cannot be part of a path below its dataset, or None. Video keys may hold slashes in some sets."""
    if _PLAIN.fullmatch(name):
        return None
    if not name or not encodable(name) or any(ord(c) < 32 for c in name):
        return "is empty or holds characters that no file name can have"
    parts = name.split("/")
    if "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        return "is not a plain relative name"
    if len(parts) > 1 and not slashes:
        return "holds a slash"
    return "is too long for a file name" if any(len(part.encode()) > 200 for part in parts) else None
