"""What a text may not hold when it leaves the machine: secrets, and paths of this machine.

Secrets are known by their form (tokens of Hugging Face, OpenAI, Anthropic, AWS, GitHub, Google and Slack, private
keys, bearer tokens, addresses with a password), and by being the value of an environment variable that is called a
key, token, secret or password. Paths are known by the roots that systems have, and by this user's own home.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

SECRET: Final = re.compile(
    r"(?<![A-Za-z0-9_-])("
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI and those who took its form, Anthropic's sk-ant-
    r"|hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON web token
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    r"|[Bb]earer +(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,}"
    r"|[a-z][a-z0-9+]*://[^\s/:@\"'<>]+:[^\s/@\"'<>]+@"  # an address with user and password
    r")"
)
_ROOTS: Final = (
    "home|Users|root|tmp|mnt|media|srv|opt|usr|etc|var|private|Volumes|Library|Applications|work|workspace|data"
    "|scratch|content|kaggle|gpfs|lustre|nfs|raid|net|project|projects|cluster|dev/shm|run/user"
)
LOCAL: Final = re.compile(
    r"((?:(?<![A-Za-z0-9])|(?<=\\[nt]))(?i:file):/[^\s\"'`)<>]+"
    rf"|(?:(?<=[\s\"'`(=:,;\[{{<>|])|(?<=\\[nt])|^)(?:/(?:{_ROOTS})/[^\s\"'`)<>]+"
    r"|~(?:[A-Za-z_][\w.-]*)?/[^\s\"'`)<>]+"
    r"|[A-Za-z]:\\+[^\s\"'`)<>]+|[A-Za-z]:/(?!/)[^\s\"'`)<>]+"
    r"|\\\\[\w.$-]+\\+[^\s\"'`)<>]+))",
    re.MULTILINE,
)
_PRIVATE_NAME: Final = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_SHORT: Final = 12  # shorter values of the environment are words that may stand anywhere


def leaks(text: str) -> Iterator[str]:
    """What `text` may not hold, one line each; the secrets themselves are not repeated.

    >>> list(leaks("see file:///home/me/notes.txt"))
    ['a path of this machine: file:///home/me/notes.txt']
    """
    if match := SECRET.search(text):
        yield f"what looks like a secret: {match[1][:6]}..."
    for name, value in _environment():
        if value in text:
            yield f"the value of the environment variable {name}"
    home = _home()
    if match := LOCAL.search(text):
        yield f"a path of this machine: {match[1][:60]}"
    elif home and home in text:
        yield f"a path of this machine: {home}"


def leaves_root(name: str) -> bool:
    """Whether the name of a file or video is a path of some machine, or leads out of its dataset."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\", "~")) or ".." in parts or bool(re.match(r"[A-Za-z]:[\\/]|\w+://", name))


def _environment() -> tuple[tuple[str, str], ...]:
    """Secrets of the environment: (name of the variable, value)."""
    found = ((name, value.strip()) for name, value in os.environ.items() if _PRIVATE_NAME.search(name))
    return tuple((name, value) for name, value in found if len(value) >= _SHORT)


@lru_cache(maxsize=1)
def _home() -> str:
    """This user's home, "" where it is too short to tell anything."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return ""
    return f"{home}/" if home.count("/") > 1 else ""
