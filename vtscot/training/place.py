"""The folder of one training: how it was begun, and when it may be gone on with. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from vtscot import __version__
from vtscot.errors import RunError, UsageError
from vtscot.files import write_text
from vtscot.records import Frozen
from vtscot.run import differences
from vtscot.settings import flatten

from .saving import last_checkpoint, step_of

TRAINING: Final = "training.json"
RECIPE: Final = "recipe.yaml"
RUNTIME: Final = frozenset(  # settings that may differ when a training is gone on with: they change no loss
    {"batch.per_device", "save_every", "keep", "log_every", "loader_workers", "cache_mb", "report_to"}
    | {"page_every", "group.per_device", "group.rolled"}  # of the reinforcement stage
)


@dataclass(frozen=True)
class Place:
    """OUT, and whether the training in it is begun anew or gone on with."""

    out: Path
    resume: bool

    def check(self) -> None:
        """UsageError where OUT holds something that this training would overwrite."""
        if self.out.exists() and not self.begun and (not self.out.is_dir() or any(self.out.iterdir())):
            raise UsageError(f"{self.out} exists and is no training; choose another --out")
        if self.begun and not self.resume:
            raise UsageError(f"{self.out} holds a training: go on with it by --resume, or choose another --out")

    @property
    def begun(self) -> bool:
        """Whether there is a training in OUT, however far it came."""
        return (self.out / TRAINING).is_file()

    @property
    def checkpoint(self) -> Path | None:
        """What is gone on from."""
        return last_checkpoint(self.out) if self.resume else None

    @property
    def finished(self) -> bool:
        """Whether the training in OUT has ended already."""
        return self.begun and bool(self.remembered().get("finished"))

    @property
    def step(self) -> int:
        """The step that is gone on after; 0 at the beginning."""
        found = self.checkpoint
        return 0 if found is None else step_of(found)

    def remembered(self) -> dict[str, Any]:
        """What was written when the training was begun, and added when it ended."""
        try:
            found = json.loads((self.out / TRAINING).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.out / TRAINING} cannot be read: {error}; choose another --out") from error
        if not isinstance(found, dict):
            raise RunError(f"{self.out / TRAINING} is damaged; choose another --out")
        return found

    def agree(self, recipe: Frozen, ids: Sequence[str]) -> None:
        """RunError where the training was begun with settings or records that give other losses."""
        remembered = self.remembered()
        changes = differences(remembered.get("identity", {}), identity(recipe, ids))
        if changes:
            raise RunError(
                f"{self.out} was begun with other settings: {'; '.join(changes[:4])}."
                " Give those it was begun with, or another --out"
            )

    def remember(self, recipe: Frozen, ids: Sequence[str], told: dict[str, Any]) -> None:
        """Write what the training is about; `told` is for the reader."""
        settings = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
        write_text(self.out / RECIPE, settings)
        content = {"vtscot": __version__, "finished": False, **told, "identity": identity(recipe, ids)}
        write_text(self.out / TRAINING, json.dumps(content, indent=1) + "\n")

    def finish(self, told: dict[str, Any]) -> None:
        """Write that the training has ended."""
        content = self.remembered() | told | {"finished": True}
        write_text(self.out / TRAINING, json.dumps(content, indent=1) + "\n")


def identity(recipe: Frozen, ids: Sequence[str]) -> dict[str, object]:
    """What decides the losses, as dotted settings, and a digest of the records."""
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    flat = flatten(recipe.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if key not in RUNTIME} | {"records": digest}
