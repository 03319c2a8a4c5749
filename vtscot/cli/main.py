"""Entry point: runs a command and turns what went wrong into one line and an exit code.

0 done, 1 failure, 2 usage, 130 interrupted (the same command goes on where it stopped).
"""

from __future__ import annotations

import re
import shlex
import sys

from vtscot.cli.app import app
from vtscot.errors import StoppedError, VtscotError

INTERRUPTED = 130
RESUMED = ("eval", "train")  # commands that go on only where they are asked to; the others do so by themselves


def main() -> None:
    """Run `vtscot`; never returns normally."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        app(arguments, prog_name="vtscot", standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        return _interrupted(arguments) if code == INTERRUPTED else code
    except StoppedError as error:
        return _say(f"{error}; go on with: {shlex.join(['vtscot', *_raised(arguments)])}", error.exit_code)
    except VtscotError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _interrupted(arguments)
    except OSError as error:  # a disk that is full, a folder that cannot be made: the user's to mend
        return _say(f"{error.filename or 'the disk'}: {error.strerror or error}; nothing that was done is lost", 1)
    return 0


def _say(message: str, code: int) -> int:
    print(f"vtscot: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code


def _raised(arguments: list[str]) -> list[str]:
    """The same command line with twice the cost limit."""
    limit = r"((?:^|\0)(?:--max-cost[=\0]|--set[=\0]teacher\.max_cost=))([0-9.]+)"
    text = re.sub(limit, lambda match: f"{match[1]}{2 * float(match[2]) or 1:g}", "\0".join(arguments))
    return text.split("\0")


def _interrupted(arguments: list[str]) -> int:
    scoring = any(argument.partition("=")[0] == "--predictions" for argument in arguments)  # soon done again
    if arguments[:1] and arguments[0] in RESUMED and "--resume" not in arguments and not scoring:
        arguments = [*arguments, "--resume"]
    return _say(f"interrupted; go on with: {shlex.join(['vtscot', *arguments])}", INTERRUPTED)
