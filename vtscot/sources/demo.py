"""The demo source: a procedural world that `vtscot demo-data` writes as a MeViS tree, free to be republished."""

from __future__ import annotations

from typing import ClassVar

from vtscot.sources.base import Licence
from vtscot.sources.mevis import MevisSource


class DemoSource(MevisSource):
    """One split (`train` or `valid_u`) of a demo tree."""

    name: ClassVar[str] = "demo"
    licence: ClassVar[Licence] = Licence(
        "cc0-1.0", "CC0 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/", True
    )


SOURCE = DemoSource
