"""How long `vtscot --help` takes, and which heavy libraries it loads (none).

The program is started again and again as a process of its own; the median of the wall-clock seconds counts. An empty
Python process is started in turn with it, to tell the machine from the program.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

TO_REACH = 0.4  # seconds
HEAVY = ("torch", "transformers", "datasets", "cv2")


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one run."""
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def loaded() -> list[str]:
    """Heavy libraries in memory after `vtscot --help`."""
    program = f"import sys; from vtscot.cli.main import run; run(['--help']); print({HEAVY!r} & sys.modules.keys())"
    program = program.replace(f"{HEAVY!r} &", f"set({HEAVY!r}) &")
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    last = out.strip().splitlines()[-1]
    return [] if last == "set()" else sorted(last.strip("{}").replace("'", "").split(", "))


def main() -> int:
    """Measure and print; exit code 1 where the figure or the list of libraries is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 runs instead of 15")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = 5 if options.quick else 15
    vtscot, python = [sys.executable, "-m", "vtscot", "--help"], [sys.executable, "-c", "pass"]
    pairs = [(seconds(vtscot), seconds(python)) for _ in range(runs + 1)][1:]
    figures = {
        "help_seconds": statistics.median(pair[0] for pair in pairs),
        "python_seconds": statistics.median(pair[1] for pair in pairs),
        "runs": runs,
        "to_reach": TO_REACH,
        "heavy": loaded(),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"vtscot --help  {figures['help_seconds']:.3f} s (to reach {TO_REACH})")
        print(f"python -c pass {figures['python_seconds']:.3f} s; heavy libraries loaded: {figures['heavy'] or 'none'}")
    return int(bool(figures["heavy"]) or (figures["help_seconds"] > TO_REACH and not options.quick))


if __name__ == "__main__":
    sys.exit(main())
