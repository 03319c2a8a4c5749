"""The data of a report in parts that a page reads when it needs them: thumbnails, episodes, pictures, raw answers.

A part is a stretch of neighbouring queries: at most `MOST`, fewer where their pictures are large. What fits into one
file is kept for it; from `ONE_FILE` on, every block becomes a script of its own in a folder, `KIND-NNNN.js`, which
a page can load from disk, too, and which does nothing but hand its JSON text to the page it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vtscot.files import write_text
from vtscot.publish.album import Album, Sizes
from vtscot.publish.context import PublishContext
from vtscot.publish.entries import entry, raw_answers, thumbnail
from vtscot.records import Outcome

MOST: Final = 100  # queries of a part
PICTURES: Final = 2_000_000  # characters of pictures after which a part ends
ONE_FILE: Final = 12_000_000  # characters that a page may hold itself
RECEIVER: Final = "vtscotPart"  # the function of the page that a script calls


def script_json(value: object) -> str:
    """JSON that is inert inside a `<script>` element of HTML, and in JavaScript."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


@dataclass
class Store:
    """Blocks of JSON by name; the first ones are kept, and once they are too many all go below `folder`.

    `key` names the page: a page takes no block that was made for another one.
    """

    folder: Path
    key: str
    limit: int = ONE_FILE
    blocks: dict[str, str] = field(default_factory=dict)
    spilled: bool = False
    _size: int = 0

    def put(self, name: str, value: object) -> None:
        """Add a block; `name` is made of letters, digits and `-`."""
        text = script_json(value)
        self._size += len(text)
        if self.spilled:
            self._write(name, text)
            return
        self.blocks[name] = text
        if self._size > self.limit:
            self.spilled = True
            for kept, block in self.blocks.items():
                self._write(kept, block)
            self.blocks.clear()

    def _write(self, name: str, text: str) -> None:
        call = f"{RECEIVER}({script_json(self.key)},{script_json(name)},{script_json(text)});\n"
        write_text(self.folder / f"{name}.js", call)


@dataclass
class Part:
    """A stretch of queries while it is gathered."""

    album: Album
    episodes: list[dict[str, Any] | None] = field(default_factory=list)
    thumbs: list[list[Any] | None] = field(default_factory=list)
    answers: list[list[list[Any]]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.episodes) >= MOST or self.album.size > PICTURES

    def add(self, outcome: Outcome, sizes: Sizes, context: PublishContext) -> None:
        """Take one more query; FrameError where a frame of it cannot be read any more."""
        record = outcome.record
        self.episodes.append(None if record is None else entry(record, sizes, self.album, context))
        self.thumbs.append(None if record is None else thumbnail(record, sizes.thumb, self.album, context))
        self.answers.append(raw_answers(context.answers(outcome.query)))


@dataclass(frozen=True)
class Contents:
    """Where each part begins among the queries, and whether it has raw answers."""

    begins: list[int]
    answered: list[bool]


def write_parts(outcomes: Sequence[Outcome], sizes: Sizes, context: PublishContext, store: Store) -> Contents:
    """Put the blocks of all queries, in their order, into the store."""
    contents = Contents([], [])
    begin = 0
    for number, part in enumerate(_gather(outcomes, sizes, context)):
        answered = any(part.answers)
        contents.begins.append(begin)
        contents.answered.append(answered)
        begin += len(part.episodes)
        store.put(f"thumbs-{number:04d}", part.thumbs)
        store.put(f"episodes-{number:04d}", part.episodes)
        store.put(f"pictures-{number:04d}", part.album.pictures)
        if answered:
            store.put(f"answers-{number:04d}", part.answers)
    return contents


def _gather(outcomes: Sequence[Outcome], sizes: Sizes, context: PublishContext) -> Iterator[Part]:
    part = Part(Album(context.frames))
    for outcome in outcomes:
        if part.full:
            yield part
            part = Part(Album(context.frames))
        part.add(outcome, sizes, context)
    if part.episodes:
        yield part
