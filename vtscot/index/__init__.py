"""Annotations read once into tables: queries, videos, faults, and area, box and RLE of every mask."""

from vtscot.index.build import build_index, ensure_index
from vtscot.index.tables import Index, open_index, source_digest

__all__ = ["Index", "build_index", "ensure_index", "open_index", "source_digest"]
