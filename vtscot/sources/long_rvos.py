"""Long-RVOS: a folder of binary PNGs per object, with no file where the object is not seen.

`<root>/<split>/{meta_expressions.json, JPEGImages/<video>/<frame>.jpg, Annotations/<video>/<obj_id>/<frame>.png}`;
`type` ("static", "dynamic", "hybrid") becomes the kind of the query. Whatever is not black belongs to the object. A
file that is missing means that the object is not in the frame, but an object without a folder is a fault. A split
without Annotations (the test split, in some releases) has no masks.
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.records import Video
from vtscot.sources.base import Licence
from vtscot.sources.folders import find_meta
from vtscot.sources.png_tree import PngSource


class LongRvosSource(PngSource):
    """One split of a Long-RVOS tree."""

    name: ClassVar[str] = "long-rvos"
    licence: ClassVar[Licence] = Licence("other", "terms of Long-RVOS (not verified)", None, False)
    labels: ClassVar[bool] = False
    absent_ok: ClassVar[bool] = True

    def _open(self) -> None:
        self.meta = find_meta(self.root, self.split, "{split}/meta_expressions.json")
        self.images = self.meta.parent / "JPEGImages"
        self.annotations = self.meta.parent / "Annotations"

    def _mask_folder(self, video: Video, object_id: str) -> str:
        return f"{video.name}/{object_id}"


SOURCE = LongRvosSource
