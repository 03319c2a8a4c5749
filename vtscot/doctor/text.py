"""Expressions that look damaged: read in the wrong encoding, escaped for a web page, or holding invisible characters.

White space and control characters are the index's business (`odd-white-space`): it reads around them.
"""

from __future__ import annotations

import re
import unicodedata

_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos|nbsp);")


def odd_text(expression: str) -> str | None:
    """What is odd about an expression, or None."""
    if "\ufffd" in expression:
        return "it holds U+FFFD, which stands for characters that were lost"
    if entity := _ENTITY.search(expression):
        return f"it holds {entity[0]!r}: text that was escaped for HTML"
    hidden = [c for c in expression if unicodedata.category(c) in ("Cf", "Co", "Cn")]
    if hidden and not _joins_emoji(hidden):
        return f"it holds the invisible character U+{ord(hidden[0]):04X}"
    if _mojibake(expression):
        return "it looks like UTF-8 that was read as Latin-1"
    return None


def _joins_emoji(hidden: list[str]) -> bool:
    return set(hidden) == {"\u200d"}


def _mojibake(expression: str) -> bool:
    if expression.isascii():
        return False
    for encoding in ("latin-1", "cp1252"):
        try:
            if expression.encode(encoding).decode("utf-8") != expression:
                return True
        except UnicodeError:
            continue
    return False
