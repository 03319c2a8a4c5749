"""How long work tells where it is. The library reports through `Progress`; the command line decides what is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a stage reports to; all of it goes to standard error, never to standard output."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; `total` is how many steps it has, where that is known."""

    def advance(self, steps: int = 1) -> None:
        """So many more steps of the stage are done."""

    def note(self, text: str) -> None:
        """One line the user should see."""

    def status(self, text: str) -> None:
        """How it stands, in a few words: shown with the stage until the next one comes."""


class Silent:
    """Reports nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Nothing to show."""

    def status(self, text: str) -> None:
        """Nothing to show."""
