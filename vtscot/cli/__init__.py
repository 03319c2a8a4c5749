"""The command line. Modules of the library are imported inside the commands, so that `vtscot --help` is quick."""

from __future__ import annotations

from vtscot.cli.main import main

__all__ = ["main"]
