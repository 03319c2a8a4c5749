"""ReVOS: all masks of all splits in one `mask_dict.json`, video keys with slashes, three types of expressions.

```
<root>/meta_expressions_<split>_.json   mask_dict.json   mask_dict_foreground.json
<root>/JPEGImages/<video key>/<frame>.jpg   (or <root>/<video key>/<frame>.jpg)
```
`type_id` becomes the kind of the query: 0 "referring", 1 "reasoning", 2 "non-existent" (nothing in the video fits).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from vtscot.errors import DataError
from vtscot.jsonstream import members
from vtscot.sources.base import Licence, RawEntry, RawTrack
from vtscot.sources.documents import JsonObject
from vtscot.sources.folders import find_meta, first_folder
from vtscot.sources.mask_dict import MaskDictSource, broken
from vtscot.sources.names import encodable, printable
from vtscot.sources.videos import bodies, entry_objects

KINDS = ("referring", "reasoning", "non-existent")  # by type_id


class _Foreground(msgspec.Struct):
    masks_rle: list[RawEntry]


_decoder = msgspec.json.Decoder(_Foreground)


class RevosSource(MaskDictSource):
    """One split of a ReVOS tree."""

    name: ClassVar[str] = "revos"
    licence: ClassVar[Licence] = Licence(
        "cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/", False
    )
    slashes: ClassVar[bool] = True
    shared_masks: ClassVar[bool] = True

    def _open(self) -> None:
        self.meta = find_meta(self.root, self.split, "meta_expressions_{split}_.json")
        self.mask_file = self.root / "mask_dict.json"
        self.images = first_folder(self.root, "JPEGImages", ".")

    def _document(self) -> JsonObject:
        document = super()._document()
        for _, body in bodies(document):
            for entry in entry_objects(body.get("expressions")):
                type_id = entry.get("type_id")
                entry["type"] = KINDS[type_id] if type(type_id) is int and 0 <= type_id < len(KINDS) else None
                if type_id == KINDS.index("non-existent") and not entry.get("obj_id"):
                    entry.setdefault("anno_id", [])
        return document

    def foregrounds(self) -> Iterator[tuple[str, RawTrack]]:
        """Stream (video, union of all its annotated objects per frame) of the videos of this split.

        DataError where the file is missing or cannot be read; it names the video whose masks are wrong.
        """
        path = self.root / "mask_dict_foreground.json"
        names = {video.name for video in self.videos()}
        for member in members(path):
            if member.key not in names:
                continue
            try:
                yield member.key, _decoder.decode(member.value).masks_rle
            except (msgspec.ValidationError, RecursionError) as error:
                key = printable(member.key) if encodable(member.key) else "?"
                raise DataError(f"{path}: the foreground of {key} is not a list of masks ({error})") from None
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise broken(path, member, error) from None


SOURCE = RevosSource
