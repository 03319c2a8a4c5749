"""The figures of a training as TensorBoard reads them: OUT/tensorboard/events.out.tfevents.*, written without it.

The format is two small standards: TFRecord (length, checksum, data, checksum) around `Event` messages of protocol
buffers with the fields wall_time 1, step 2, file_version 3 and summary 5, whose values have tag 1 and simple_value 2.
The file is made again from metrics.jsonl when a training is gone on with. Needs no torch.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from vtscot.files import write_bytes

from .metrics import Line

FILE: Final = "tensorboard/events.out.tfevents.0000000000.vtscot"
_VERSION: Final = b"brain.Event:2"
_DOUBLE, _BYTES, _FLOAT = 1, 2, 5  # wire types


def begin(out: Path, lines: Iterable[Line]) -> None:
    """A new file with the figures so far, as of now."""
    now = time.time()
    head = _record(_event(now, 0, _field(3, _BYTES, _sized(_VERSION))))
    write_bytes(out / FILE, head + b"".join(_record(_line(line, now)) for line in lines))


def add(out: Path, line: Line) -> None:
    """The figures of one more step."""
    with (out / FILE).open("ab") as file:
        file.write(_record(_line(line, time.time())))


def _line(line: Line, when: float) -> bytes:
    values = b"".join(
        _field(1, _BYTES, _sized(_value(name, float(value)))) for name, value in line.items() if name != "step"
    )
    return _event(when, int(line["step"]), _field(5, _BYTES, _sized(values)))


def _value(name: str, value: float) -> bytes:
    return _field(1, _BYTES, _sized(f"train/{name}".encode())) + _field(2, _FLOAT, struct.pack("<f", value))


def _event(when: float, step: int, rest: bytes) -> bytes:
    return _field(1, _DOUBLE, struct.pack("<d", when)) + _field(2, 0, _varint(step)) + rest


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _field(number: int, kind: int, data: bytes) -> bytes:
    return _varint(number << 3 | kind) + data


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _checksum(data: bytes) -> bytes:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord asks for."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    entries = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)  # noqa: PLW2901
        entries.append(entry)
    return tuple(entries)
