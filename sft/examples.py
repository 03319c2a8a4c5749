"""Where a cold start's episodes come from: a run, a dataset's folder, or a dataset of the Hub. Needs no torch.

Only kept records are trained on. A run shows the frames of its source, and so does a dataset that `vtscot hydrate`
joined with files; one with images in its rows only has these, so there SAM 2 sees a decoded frame as large as it was
shown (and after JPEG).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Protocol

from vtscot.errors import DataError
from vtscot.frames import Frames
from vtscot.index import ensure_index
from vtscot.ledger import Ledger
from vtscot.masks import Rle
from vtscot.publish.athome import read_home
from vtscot.publish.locate import find_dataset, is_run
from vtscot.publish.reading import Rows, find_shards, names_files, open_row_frames, read_episode, read_masks
from vtscot.publish.rows import Row
from vtscot.records import Episode, Query
from vtscot.run import Run, run_recipe
from vtscot.sources.registry import open_source

_TRAIN: Final = "train"


@dataclass(frozen=True, eq=False)
class Example:
    """One kept record: what was said, and what there was to see."""

    episode: Episode
    video: str  # id: a frame of the same video is the same in every example
    frames: Frames
    whole: bool  # True where `frames` are the video's own, False where they are only what was shown
    read_masks: Callable[[], tuple[Rle | None, ...]]

    @property
    def masks(self) -> tuple[Rle | None, ...]:
        """Per turn, of its decoded frame; None where the target is not there. Read now, not before."""
        return self.read_masks()


class Examples(Protocol):
    """Kept records by number; each is read when it is asked for."""

    @property
    def ids(self) -> Sequence[str]:
        """Query ids in order."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many records are no candidates, by reason."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Example: ...


class RunExamples:
    """The kept records of a run, with the frames and masks of its source."""

    def __init__(self, directory: Path) -> None:
        with Ledger(directory / "ledger.sqlite", read_only=True) as ledger:
            run = Run(directory, run_recipe(directory), ledger)
            outcomes = list(ledger.outcomes())
        kept = [outcome.record for outcome in outcomes if outcome.state == "kept" and outcome.record is not None]
        states = Counter(outcome.state for outcome in outcomes)
        self.ids = [record.query.id for record in kept]
        self.left_out: dict[str, int] = {state: count for state, count in sorted(states.items()) if state != "kept"}
        self._episodes = [record.episode for record in kept]
        self._queries = [record.query for record in kept]
        source = open_source(run.recipe.source.name, run.source_root, run.recipe.source.split)
        index = ensure_index(source, run.index)
        self._frames = lru_cache(maxsize=16)(lambda video: source.frames(index.videos[video]))
        self._target = lru_cache(maxsize=64)(index.target)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Example:
        query, episode = self._queries[i], self._episodes[i]
        masks = partial(self._masks, query, episode)
        return Example(episode, query.video_id, self._frames(query.video), whole=True, read_masks=masks)

    def _masks(self, query: Query, episode: Episode) -> tuple[Rle | None, ...]:
        track = self._target(query)
        return tuple(None if track is None else track.rle(shown.decoded) for shown in episode.observations)


class RowExamples:
    """The kept rows of a dataset; where it has splits that are called train, only theirs."""

    def __init__(self, directory: Path, name: str) -> None:
        rows = Rows(find_shards(directory))
        lacking = rows.lacking()
        if lacking:
            raise DataError(
                f"{name}: {sum(lacking.values())} of {len(rows)} rows hold no images or masks"
                " (their licence keeps these at home); give the run they were built in to --data, or join them"
                f" with your own frames: vtscot hydrate {name} --source {next(iter(lacking))} --root DIR"
            )
        named = [i for i, split in enumerate(rows.splits) if split.startswith(_TRAIN)]
        self._rows = rows
        self._home = read_home(directory)
        self._used = named or list(range(len(rows)))
        self.ids = [rows.ids[i] for i in self._used]
        left_out = {"not kept": rows.total - len(rows), "of other splits": len(rows) - len(self._used)}
        self.left_out = {reason: count for reason, count in left_out.items() if count}

    def __len__(self) -> int:
        return len(self._used)

    def __getitem__(self, i: int) -> Example:
        row = self._rows.row(self._used[i])
        video = f"{row['source']}/{row['split']}/{row['video']}"
        frames = open_row_frames(row, self._home.root(row["source"]) if self._home else None)
        return Example(read_episode(row), video, frames, names_files(row), partial(_masks_of, row))


def _masks_of(row: Row) -> tuple[Rle | None, ...]:
    masks = read_masks(row)
    assert masks is not None, "rows without masks are refused when a dataset is opened"
    return masks


def open_examples(name: str) -> Examples:
    """The kept records of a run, a dataset's folder or an id of the Hub.

    DataError where there is none of these, none of their records is kept, or their frames are not in the dataset.
    """
    examples = _open(name)
    if not len(examples):
        why = ", ".join(f"{count} {reason}" for reason, count in examples.left_out.items()) or "it is empty"
        raise DataError(f"{name}: no kept record to train on ({why}); build a run first: vtscot build")
    return examples


def _open(name: str) -> Examples:
    path = Path(name)
    return RunExamples(path) if is_run(path) else RowExamples(find_dataset(name), name)
