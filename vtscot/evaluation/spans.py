"""Where each prediction stands in an interchange JSON, `{video: {expression: {...}}}`: byte ranges, in one pass.

The file is read in chunks and only strings and brackets are looked at, so memory holds one chunk and the ranges,
whatever the predictions weigh. What lies in a range is checked by whoever decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple, NoReturn

import msgspec

from vtscot.errors import DataError
from vtscot.sources.names import printable

CHUNK: Final = 1 << 20
MAX_STRING: Final = 1 << 26  # bytes; the counts of a mask are a few kilobytes

# A whole string, a bracket, or the opening quote of a string that goes on behind the chunk.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]|"', re.DOTALL)
_SPACE: Final = b" \t\n\r"
_VIDEO, _EXPRESSION = 1, 2  # the depth at which their keys stand


class Span(NamedTuple):
    """Bytes `start` to `end` (exclusive) of the file hold what was predicted for one expression."""

    video: str
    exp_id: str
    start: int
    end: int


def find_spans(path: Path, chunk_bytes: int = CHUNK) -> Iterator[Span]:
    """Stream the predictions of `path` in its order; DataError with the byte where it is no such JSON, or cut off."""
    try:
        with path.open("rb") as file:
            yield from _Walk(path, file, chunk_bytes).spans()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Walk:
    def __init__(self, path: Path, file: IO[bytes], chunk_bytes: int) -> None:
        self.path, self.file, self.chunk_bytes = path, file, chunk_bytes
        self.depth = 0
        self.keys = ["", ""]  # of the video and the expression that are open
        self.start = 0  # of the value that is open
        self.after = b""  # the last token outside of values: what may follow depends on it
        self.ended = False

    def spans(self) -> Iterator[Span]:
        held, offset = b"", 0
        while chunk := self.file.read(self.chunk_bytes):
            held += chunk
            if offset == 0 and held.startswith(b"\xef\xbb\xbf"):
                held, offset = held[3:], 3
            at = 0  # everything before it is done with
            for found in _TOKEN.finditer(held):
                token = found[0]
                if token == b'"':
                    break
                span = self._take(token, held[at : found.start()], offset + found.start())
                at = found.end()
                if span:
                    yield span
            else:
                at = len(held) if self.depth > _EXPRESSION else at
            held, offset = held[at:], offset + at
            if len(held) > MAX_STRING:
                self._fail("a string of more than 64 MiB starts", offset)
        self._finish(held, offset)

    def _take(self, token: bytes, gap: bytes, at: int) -> Span | None:
        """One string or bracket, `gap` being the text before it; the span that it ends, if it does."""
        if self.depth > _EXPRESSION:
            if token[0] in b"[{":
                self.depth += 1
            elif token[0] in b"]}":
                self.depth -= 1
                if self.depth == _EXPRESSION:
                    return Span(self.keys[0], self.keys[1], self.start, at + 1)
            return None
        self._outside(token, gap.strip(_SPACE), at)
        return None

    def _outside(self, token: bytes, gap: bytes, at: int) -> None:
        """A token that belongs to no value: keys, and the brackets of the file and of the videos."""
        previous, self.after = self.after, token
        if self.ended:
            self._fail("more text after the end of the object", at)
        if token == b"{":
            if gap != (b":" if self.depth else b"") or (self.depth and not previous.startswith(b'"')):
                self._fail("JSON breaks off", at)
            self.depth += 1
            self.start = at
            self.after = b"{" if self.depth <= _EXPRESSION else b"}"
        elif token == b"}" and self.depth and not gap and previous in (b"{", b"}"):
            self.depth -= 1
            self.ended = self.depth == 0
        elif token.startswith(b'"') and self.depth and gap == (b"," if previous == b"}" else b""):
            if previous.startswith(b'"'):
                self._fail("an object is needed, but something else comes", at)
            self._key(token, at)
        else:
            self._fail("an object is needed, but something else comes", at)

    def _key(self, token: bytes, at: int) -> None:
        try:
            self.keys[self.depth - 1] = msgspec.json.decode(token, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail("a key is no text", at)

    def _finish(self, rest: bytes, offset: int) -> None:
        if not self.ended:
            if not self.after:
                self._fail("no object starts" if rest.strip(_SPACE) else "the file is empty", offset)
            self._fail("the file ends early", offset + len(rest))
        if rest.strip(_SPACE):
            self._fail("more text after the end of the object", offset)

    def _fail(self, what: str, byte: int) -> NoReturn:
        video, exp_id = map(printable, self.keys)
        open_keys = [f"video {video}"] * (self.depth >= _VIDEO and bool(video))
        open_keys += [f"expression {exp_id}"] * (self.depth >= _EXPRESSION and bool(exp_id))
        where = f", in {', '.join(open_keys)}" if open_keys else ""
        raise DataError(f"{self.path}: no predictions as JSON: {what} at byte {byte}{where}; is the file complete?")
