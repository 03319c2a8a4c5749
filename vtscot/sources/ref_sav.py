"""Ref-SAV (evaluation): expressions keyed by object, masks in `mask_dict.json`, frames named by number and stride.

```
<root>/<split>/{meta_expressions_<split>.json, mask_dict.json, videos/<video>/<frame>.jpg}     (or JPEGImages/..)
```
or the same files directly in `<root>`. Frames are called 100000, 100004, ..; anno ids are 10000 + n, in lists.
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.sources.base import Licence
from vtscot.sources.folders import find_meta, first_folder
from vtscot.sources.mask_dict import MaskDictSource


class RefSavSource(MaskDictSource):
    """One split (`valid`) of a Ref-SAV tree."""

    name: ClassVar[str] = "ref-sav"
    licence: ClassVar[Licence] = Licence("other", "terms of Ref-SAV and SA-V (not verified)", None, False)

    def _open(self) -> None:
        patterns = ("{split}/meta_expressions_{split}.json", "meta_expressions_{split}.json")
        self.meta = find_meta(self.root, self.split, *patterns)
        self.mask_file = self.meta.parent / "mask_dict.json"
        self.images = first_folder(self.meta.parent, "videos", "JPEGImages")


SOURCE = RefSavSource
