"""All figures: `python -m bench [--quick] [NAME ...]` runs the benches one after the other.

Each bench is a program of its own with `--quick` (a short version, which CI runs) and `--json`; it states in its
docstring what it measures, and compares inside one run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """The benches of this folder."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_") and path.stem != "server")


def main(arguments: list[str]) -> int:
    """Run the benches named, or all; returns how many failed."""
    options = [argument for argument in arguments if argument.startswith("-")]
    chosen = [argument for argument in arguments if not argument.startswith("-")] or names()
    failed = 0
    for name in chosen:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
