"""Ref-YouTube-VOS: masks as palette PNGs, one per frame (every fifth of the video), a pixel being the object's number.

```
<root>/meta_expressions/<split>/meta_expressions.json
<root>/<split>/JPEGImages/<video>/<frame>.jpg   <root>/train/Annotations/<video>/<frame>.png
```
`valid` and `test` say no obj_id and have no masks. The file of `valid` holds the videos of both competitions, valid and
test; the file of `test` names some of them again, and their frames are in `valid/` unless `test/` has them.
`meta.json` (categories) is not read.
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.sources.base import Licence
from vtscot.sources.folders import find_meta, first_folder
from vtscot.sources.png_tree import PngSource


class RefYoutubeVosSource(PngSource):
    """One split of a Ref-YouTube-VOS tree."""

    name: ClassVar[str] = "ref-youtube-vos"
    licence: ClassVar[Licence] = Licence(
        "other", "YouTube-VOS terms, non-commercial (not verified)", "https://youtube-vos.org/dataset/rvos/", False
    )

    def _open(self) -> None:
        self.meta = find_meta(self.root, self.split, "meta_expressions/{split}/meta_expressions.json")
        own, held_out = f"{self.split}/JPEGImages", "valid/JPEGImages"
        self.images = first_folder(self.root, own, held_out) if self.split == "test" else self.root / own
        self.annotations = self.root / self.split / "Annotations"


SOURCE = RefYoutubeVosSource
