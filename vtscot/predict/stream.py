"""A reply as it comes, made readable: one line per step, no tags. Made of pieces of any length."""

from __future__ import annotations

import re
from typing import Final

_MARKS: Final = {
    "<think>": "",
    "</think>": "\n",
    " Step 2:": "\nStep 2:",
    " Step 3:": "\nStep 3:",
    " Action:": "\nAction:",
    "<select>": "Looks again: ",
    "<answer>": "Answers: ",
    "<VTG>": "",
    "</VTG>": "",
    "<RefSeg>[SEG]</RefSeg>": "",
    "</select>": "",
    "</answer>": "",
}
_KNOWN: Final = re.compile("|".join(map(re.escape, _MARKS)))
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a terminal would obey them


class Readable:
    """`read` gives what can be printed so far; `rest` what was held back as the possible begin of a tag."""

    def __init__(self) -> None:
        self._held = ""

    def read(self, new: str) -> str:
        text = _KNOWN.sub(lambda found: _MARKS[found.group()], self._held + new)
        keep = max((n for mark in _MARKS for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
        self._held = text[len(text) - keep :]
        return _CONTROL.sub("\ufffd", text[: len(text) - keep])

    def rest(self) -> str:
        text, self._held = self._held, ""
        return _CONTROL.sub("\ufffd", text)
