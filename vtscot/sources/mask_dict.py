"""`mask_dict.json` of MeViS, ReVOS and Ref-SAV, one track at a time: `{anno_id: [RLE | null | [RLE, ..], ..]}`.

`MaskDictSource` is what their readers share: beside the file of expressions stands one file with all masks, or none.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import ClassVar

import msgspec

from vtscot.errors import DataError
from vtscot.jsonstream import Member, members
from vtscot.sources.base import Fault, RawEntry, RawTrack
from vtscot.sources.names import encodable, printable
from vtscot.sources.tree import TreeSource

_decoder = msgspec.json.Decoder(list[RawEntry])


class MaskDictSource(TreeSource):
    """A tree whose masks, if it has any, are in `mask_file`."""

    mask_file: Path
    shared_masks: ClassVar[bool] = False  # the file holds the masks of the other splits as well

    @property
    def has_masks(self) -> bool:
        return self.mask_file.is_file()

    def files(self) -> list[Path]:
        return [self.meta, self.mask_file] if self.has_masks else [self.meta]

    def _read_tracks(self, wanted: Container[str] | None) -> Iterator[tuple[str, RawTrack]]:
        return read_mask_dict(self.mask_file, wanted, self._track_faults, shared=self.shared_masks)


def read_mask_dict(
    path: Path, wanted: Container[str] | None, faults: list[Fault], *, shared: bool = False
) -> Iterator[tuple[str, RawTrack]]:
    """Stream (anno_id, track) in the order of the file; what is broken in one track is appended to `faults`.

    `shared`: the file holds other splits as well, so that tracks nobody asks for are nothing to note.
    DataError (with the byte) where the file as a whole is not a JSON object.
    """
    seen: set[str] = set()
    unnamed = 0
    for member in members(path):
        if wanted is not None and member.key not in wanted:
            unnamed += 1
            continue
        if member.key in seen:
            faults.append(Fault("duplicate-anno", "its masks come twice in the file", anno_id=member.key))
            continue
        seen.add(member.key)
        track = _decode(path, member)
        if isinstance(track, Fault):
            faults.append(track)
        else:
            yield member.key, track
    if unnamed and not shared:
        detail = f"{unnamed} tracks of {path.name} are named by no expression and were left out"
        faults.append(Fault("unnamed-tracks", detail, fatal=False))


def _decode(path: Path, member: Member) -> RawTrack | Fault:
    try:
        return _decoder.decode(member.value)
    except RecursionError:
        return Fault("mask-invalid", "its masks are nested too deeply", anno_id=member.key)
    except msgspec.ValidationError as error:
        _whole(path, member)
        frame = re.search(r"\$\[(\d+)\]", str(error))
        return Fault("mask-invalid", str(error), anno_id=member.key, frame=int(frame[1]) if frame else None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise broken(path, member, error) from None


def _whole(path: Path, member: Member) -> None:
    """A value of the wrong type was left before its end: the rest of it must be JSON all the same."""
    try:
        msgspec.json.decode(member.value)
    except RecursionError:
        return
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise broken(path, member, error) from None


def broken(path: Path, member: Member, error: Exception) -> DataError:
    """The error for a value that is not JSON, with the byte in the file."""
    inner = re.search(r"byte (\d+)", str(error))
    offset = member.offset + (int(inner[1]) if inner else 0)
    key = printable(member.key) if encodable(member.key) else "?"
    return DataError(f"{path}: not JSON at byte {offset}, in the masks of {key}; is the download complete?")
