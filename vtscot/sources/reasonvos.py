"""ReasonVOS: one split, `valid`; expressions as a list; a folder of binary PNGs per object, named after its origin.

```
<root>/meta_expressions.json   {"videos": {video: {source, frames, expressions: [{obj_id, exp_id, exp_text}, ..]}}}
<root>/JPEGImages/<video>/<frame>.jpg
<root>/Annotations/<source>_<video>_<obj_id>/<frame>.png      (source as in the file, or in lower case)
```
Whatever is not black belongs to the object; every frame needs its file. Released lists use an `exp_id` twice within a
video: there the position in the list is the id instead, and a note says so. An `anno_id`, which converted files have,
is not read: it belongs to masks in another form. `is_sent` (a question, not a phrase) is not read.
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.files import inside
from vtscot.records import Video
from vtscot.sources.base import Fault, Licence
from vtscot.sources.documents import JsonObject
from vtscot.sources.folders import find_fixed
from vtscot.sources.png_tree import PngSource
from vtscot.sources.videos import bodies


class ReasonVosSource(PngSource):
    """The one split of a ReasonVOS tree."""

    name: ClassVar[str] = "reasonvos"
    licence: ClassVar[Licence] = Licence(
        "other",
        "non-commercial research only, with the terms of BURST, VIPSeg, MOSE and MeViS (not verified)",
        None,
        False,
    )
    labels: ClassVar[bool] = False

    def _open(self) -> None:
        self.meta = find_fixed(self.root, self.split, "valid", "meta_expressions.json")
        self.images = self.root / "JPEGImages"
        self.annotations = self.root / "Annotations"
        self._origins: dict[str, str] = {}

    def _document(self) -> JsonObject:
        document = super()._document()
        for key, body in bodies(document):
            origin = body.get("source")
            self._origins.setdefault(key, origin if isinstance(origin, str) else "")
            self._number(key, body.get("expressions"))
        return document

    def _number(self, video: str, listed: object) -> None:
        """Where ids are not unique within a video, expressions are known by their position."""
        if not isinstance(listed, list):
            return
        ids = [str(entry.get("exp_id", i)) for i, entry in enumerate(listed) if isinstance(entry, dict)]
        if len(set(ids)) == len(ids):
            return
        for position, entry in enumerate(listed):
            if isinstance(entry, dict):
                entry["exp_id"] = position
        detail = "an exp_id comes twice: its expressions are known by their position in the list"
        self._document_faults.append(Fault("repeated-ids", detail, video=video, fatal=False))

    def _mask_folder(self, video: Video, object_id: str) -> str:
        origin = self._origins.get(video.name, "")
        as_written, lower = (f"{name}_{video.name}_{object_id}" for name in (origin, origin.lower()))
        try:
            return as_written if inside(self.annotations, as_written).is_dir() else lower
        except ValueError:
            return as_written  # whoever reads it says what is wrong with it


SOURCE = ReasonVosSource
