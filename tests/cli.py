"""Runs the real command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as the one JSON object that it must be."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The last line of standard error, where the reason stands; no traceback may precede it."""
        assert "Traceback" not in self.err, self.err
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def vtscot(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300, **env: str) -> Ended:
    """Run `vtscot` with these arguments; `env` is added to the environment."""
    ended = subprocess.run(
        [sys.executable, "-m", "vtscot", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env=os.environ | env,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
