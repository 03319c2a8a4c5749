"""The members of one huge JSON object, one at a time: linear in the file, memory bounded by the largest member.

The file is read in chunks. Per chunk, numpy finds the quotes that open and close strings, looks at the little text that
is outside of strings, and keeps the depth of brackets; members end at the commas of depth 1. Values are handed on as
bytes: whoever decodes them checks that they are JSON. Never recursive, whatever the nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from vtscot.errors import DataError

CHUNK = 1 << 20
MAX_MEMBER = 1 << 29  # bytes; one value larger than this would not fit the memory that streaming is meant to save

_SPACE = b" \t\n\r"
_KEY = re.compile(rb'[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:', re.DOTALL)
_DELTA = np.zeros(256, np.int8)
_DELTA[list(b"[{")] = 1
_DELTA[list(b"]}")] = -1

Positions = npt.NDArray[np.int64]


class Member(NamedTuple):
    """`key: value` of the object; `value` is the raw text, `offset` the byte of the file it starts at."""

    key: str
    value: bytes
    offset: int


def members(path: Path, chunk_bytes: int = CHUNK) -> Iterator[Member]:
    """Stream the members of the object in `path`, in order, duplicates included.

    DataError naming file and byte where the file is missing, truncated, or not one JSON object.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(path, file, chunk_bytes).members()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    def __init__(self, path: Path, file: IO[bytes], chunk_bytes: int) -> None:
        self.path = path
        self.file = file
        self.chunk_bytes = chunk_bytes
        self.scan = _Scan()
        self.pending = bytearray()  # text since the last cut
        self.offset = 0  # byte of the file at which `pending` starts

    def members(self) -> Iterator[Member]:
        first = self._open()
        count = 0
        for chunk in self._chunks(first):
            start = 0
            for cut in self.scan.cuts(chunk):
                self.pending += chunk[start:cut]
                start = cut + 1
                closing = chunk[cut] != ord(",")
                if not (closing and count == 0 and not self.pending.strip(_SPACE)):
                    yield self._member()
                count += 1
                self.offset += len(self.pending) + 1
                self.pending.clear()
                if closing:
                    self._close(chunk[cut:])
                    return
            self.pending += chunk[start:]
            if len(self.pending) > MAX_MEMBER:
                self._fail("a single entry of more than 512 MiB starts", self.offset)
        self._fail("the file ends early, inside of an entry that starts", self.offset)

    def _open(self) -> bytes:
        """Skip to the opening brace; the chunk that follows it."""
        chunk = self.file.read(self.chunk_bytes).removeprefix(b"\xef\xbb\xbf")
        skipped = self.file.tell() - len(chunk)
        while chunk and not chunk.strip(_SPACE):
            skipped += len(chunk)
            chunk = self.file.read(self.chunk_bytes)
        body = chunk.lstrip(_SPACE)
        skipped += len(chunk) - len(body)
        if not body.startswith(b"{"):
            self._fail("a JSON object is needed, but none starts" if body else "the file is empty: it ends", skipped)
        self.offset = skipped + 1
        return body[1:]

    def _chunks(self, first: bytes) -> Iterator[bytes]:
        """Chunks that never end in a backslash, so that an escape is never cut in two."""
        chunk = first
        more = True
        while more or chunk:
            held = len(chunk) - len(chunk.rstrip(b"\\")) if more else 0
            yield chunk[: len(chunk) - held]
            read = self.file.read(self.chunk_bytes)
            more = bool(read)
            chunk = chunk[len(chunk) - held :] + read

    def _member(self) -> Member:
        text = bytes(self.pending)
        found = _KEY.match(text)
        try:
            key = msgspec.json.decode(found[1], type=str) if found else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            key = None
        if found is None or key is None:
            self._fail("an entry without a key starts", self.offset)
        return Member(key, text[found.end() :], self.offset + found.end())

    def _close(self, rest: bytes) -> None:
        """After the closing bracket `rest` starts with, nothing but white space may come."""
        if rest[:1] != b"}":
            self._fail("brackets do not match", self.offset - 1)
        chunk = rest[1:]
        while chunk or (chunk := self.file.read(self.chunk_bytes)):
            if chunk.strip(_SPACE):
                self._fail("more text after the end of the object", self.offset)
            chunk = b""

    def _fail(self, what: str, byte: int) -> NoReturn:
        raise DataError(f"{self.path}: not usable JSON: {what} at byte {byte}; is the download complete?")


class _Scan:
    """Depth and string state, carried from chunk to chunk. Starts behind the opening brace of the object."""

    def __init__(self) -> None:
        self.depth = 1
        self.in_string = False

    def cuts(self, chunk: bytes) -> list[int]:
        """Positions of the commas of depth 1 and of the bracket that closes the object (depth 0)."""
        text = np.frombuffer(chunk, np.uint8)
        at = self._outside(text)
        outside = text[at]
        delta = _DELTA[outside]
        depth = np.cumsum(delta, dtype=np.int64) + self.depth
        if len(depth):
            self.depth = int(depth[-1])
        cut = ((outside == ord(",")) & (depth == 1)) | ((delta < 0) & (depth == 0))
        return at[cut].tolist()  # type: ignore[no-any-return]

    def _outside(self, text: npt.NDArray[np.uint8]) -> Positions:
        """Positions of `text` that are outside of strings (the quotes belong to the strings)."""
        quotes = _unescaped(text, np.flatnonzero(text == ord('"')))
        edges = np.concatenate(([-1], quotes, [len(text)]))
        first = 1 if self.in_string else 0  # the stretch before the first quote is outside unless a string is open
        starts, ends = edges[first:-1:2] + 1, edges[first + 1 :: 2]
        self.in_string ^= bool(len(quotes) % 2)
        starts = starts[: len(ends)]
        lengths = ends - starts
        shift = starts - np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(starts) else starts
        at: Positions = np.arange(int(lengths.sum())) + np.repeat(shift, lengths)
        return at


def _unescaped(text: npt.NDArray[np.uint8], quotes: Positions) -> Positions:
    """The quotes that an even number of backslashes (mostly none) stands before."""
    suspects = (quotes > 0) & (text[quotes - 1] == ord("\\"))
    if not suspects.any():
        return quotes
    slashes = np.flatnonzero(text == ord("\\"))
    run = slashes - np.arange(len(slashes))  # equal within one run of backslashes
    last = np.searchsorted(slashes, quotes[suspects] - 1)
    count = last - np.searchsorted(run, run[last]) + 1
    escaped = np.zeros(len(quotes), bool)
    escaped[suspects] = count % 2 == 1
    return quotes[~escaped]
