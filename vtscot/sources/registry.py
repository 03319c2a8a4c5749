"""Sources by name: every module of this package that names its reader `SOURCE` is one."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import vtscot.sources
from vtscot.errors import SplitError, UsageError
from vtscot.sources.base import Source


def _find() -> dict[str, type[Source]]:
    names = sorted(module.name for module in pkgutil.iter_modules(vtscot.sources.__path__) if module.name != "registry")
    modules = (importlib.import_module(f"vtscot.sources.{name}") for name in names)
    return {module.SOURCE.name: module.SOURCE for module in modules if hasattr(module, "SOURCE")}


SOURCES: dict[str, type[Source]] = _find()


def open_source(name: str, root: Path, split: str) -> Source:
    """The reader of one split. UsageError for an unknown name, DataError where root or split is not there."""
    if name not in SOURCES:
        raise UsageError(f"no source is called {name!r}; there are: {', '.join(SOURCES)}")
    return SOURCES[name](Path(root), split)


def open_usual(name: str, root: Path, usual: str) -> Source:
    """The reader of the `usual` split, or of the only one where the tree has just one.

    Raises SplitError, which names the splits there are, where neither is so.
    """
    try:
        return open_source(name, root, usual)
    except SplitError as error:
        if len(error.splits) == 1:
            return open_source(name, root, error.splits[0])
        raise
