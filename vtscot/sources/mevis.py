"""MeViS v1 and v2: `<root>/<split>/{JPEGImages/<video>/<frame>.jpg, meta_expressions.json, mask_dict.json}`.

`valid` and `test` have no mask_dict.json; some releases call the expressions `meta_expressions_release.json`.
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.sources.base import Licence
from vtscot.sources.folders import find_meta
from vtscot.sources.mask_dict import MaskDictSource


class MevisSource(MaskDictSource):
    """One split of a MeViS tree."""

    name: ClassVar[str] = "mevis"
    licence: ClassVar[Licence] = Licence(
        "cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/", False
    )

    def _open(self) -> None:
        names = ("meta_expressions.json", "meta_expressions_release.json")
        self.meta = find_meta(self.root, self.split, *(f"{{split}}/{name}" for name in names))
        self.mask_file = self.meta.parent / "mask_dict.json"
        self.images = self.meta.parent / "JPEGImages"


SOURCE = MevisSource
