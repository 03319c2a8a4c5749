"""The texts a tiny policy's tokenizer is trained on: the dialogues of a run, of a MeViS tree, or of the demo."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vtscot.build import build
from vtscot.errors import PolicyError
from vtscot.policy.tokenizer import episode_texts
from vtscot.recipe import load_recipe
from vtscot.run import reopen_run

DEMO_VIDEOS: Final = 12
MAX_QUERIES: Final = 200  # of a tree: more dialogues add no words that matter to a small vocabulary


def texts_of(data: Path | None) -> list[str]:
    """All texts of the episodes of `data`: a run, a tree that is traced by the oracle, or None for a small demo world.

    PolicyError where there is no episode.
    """
    with _run(data) as directory, reopen_run(directory) as run:
        records = (outcome.record for outcome in run.ledger.outcomes() if outcome.record is not None)
        texts = list(episode_texts(record.episode for record in records))
    if not texts:
        raise PolicyError(
            f"{data or 'the demo'} has no episodes to train a tokenizer on; give a finished run to --data"
        )
    return texts


@contextmanager
def _run(data: Path | None) -> Iterator[Path]:
    if data is not None and (data / "ledger.sqlite").is_file():
        yield data
        return
    flags: dict[str, Any] = {"verify.segmenter": "box", "limit": MAX_QUERIES, "workers": 1}
    if data is None:
        flags["source.videos"] = DEMO_VIDEOS
    else:
        flags["source.root"] = str(data.absolute())
    with tempfile.TemporaryDirectory(prefix="vtscot-texts-") as temporary:
        directory = Path(temporary) / "run"
        build(load_recipe(None if data is None else _kind(data), None, (), flags), directory)
        yield directory


def _kind(data: Path) -> str:
    return "demo" if (data / "demo.json").is_file() else "mevis"
