"""Ref-DAVIS17: the tree of Ref-YouTube-VOS, with a mask for every frame, in `valid` as well.

`<root>/{meta_expressions/<split>/meta_expressions.json, <split>/{JPEGImages,Annotations}/<video>/<frame>.{jpg,png}}`;
the width of the videos is not constant (910 and 1152 beside 854).
"""

from __future__ import annotations

from typing import ClassVar

from vtscot.sources.base import Licence
from vtscot.sources.ref_youtube_vos import RefYoutubeVosSource


class RefDavis17Source(RefYoutubeVosSource):
    """One split (`train` or `valid`) of a Ref-DAVIS17 tree."""

    name: ClassVar[str] = "ref-davis17"
    licence: ClassVar[Licence] = Licence("other", "terms of DAVIS 2017 and Ref-DAVIS17 (not verified)", None, False)


SOURCE = RefDavis17Source
