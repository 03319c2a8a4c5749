"""Scores of a whole split: expressions in processes, a few at a time, results in the order of the annotation file.

Any number of workers gives the same numbers. Predictions are read where they are scored, so memory holds a few of them
at a time, however many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vtscot.errors import DataError, MaskError
from vtscot.evaluation.benchmarks import counted_frames
from vtscot.evaluation.extras import HasActions
from vtscot.evaluation.predictions import Asked, Place, Predictions, refusal
from vtscot.evaluation.scoring import Rules, Scores, Truths, missing, score
from vtscot.evaluation.truth import Truth, TruthReader, Unscorable, at_frames, within, write_foregrounds
from vtscot.processes import cores, processes
from vtscot.progress import Progress, Silent
from vtscot.records import Query, Video
from vtscot.tracks import MaskTrack

CHUNK: Final = 4  # expressions of one video that are scored together
SMALL: Final = 3000  # frames that one process has scored before others would have started
State = Literal["scored", "missing"]


@dataclass(frozen=True)
class Item:
    """One expression to be scored: where its prediction is, and what its ground truth is made of."""

    query: Query
    asked: Asked
    place: Place | None
    window: tuple[int, int] | None = None
    others: tuple[str, ...] = ()  # all objects of the video, where the foreground is needed


@dataclass(frozen=True, slots=True)
class Row:
    """One scored expression."""

    query: Query
    state: State
    frames: int
    scores: Scores


@dataclass(frozen=True)
class Evaluation:
    """All rows in the order of the file, and what could not be scored or was not asked for."""

    truth: Truth
    place: Workplace
    rows: list[Row]
    extra: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.truth.source.name

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.truth.source.split

    @property
    def rules(self) -> Rules:
        """What was applied."""
        return self.place.rules

    @property
    def unscorable(self) -> tuple[Unscorable, ...]:
        """Expressions without usable ground truth."""
        return self.truth.unscorable


@dataclass(frozen=True)
class Workplace:
    """What a process needs to score."""

    index: Path
    foregrounds: Path | None
    predictions: Predictions
    rules: Rules

    def bench(self) -> Bench:
        """The tools of this process."""
        return Bench(TruthReader(self.index, self.foregrounds), self.predictions, self.rules)


@dataclass(frozen=True)
class Bench:
    """Reads ground truth and predictions, and scores them."""

    truth: TruthReader
    predictions: Predictions
    rules: Rules

    def pair(self, item: Item) -> tuple[Truths, MaskTrack] | None:
        """Ground truth and prediction of the counted frames; None where nothing was predicted."""
        if item.place is None:
            return None
        prediction = self.predictions.read(item.place, item.asked)
        return self.truths(item, prediction.track), prediction.track

    def row(self, item: Item) -> Row:
        """Score one expression."""
        frames = len(item.asked.counted or item.asked.frames)
        if item.place is None:
            return Row(item.query, "missing", frames, missing(self.rules))
        prediction = self.predictions.read(item.place, item.asked)
        try:
            return Row(item.query, "scored", frames, score(self.truths(item, prediction.track), prediction, self.rules))
        except MaskError as error:
            raise refusal(self.predictions.path, item.asked, error) from None

    def truths(self, item: Item, prediction: MaskTrack) -> Truths:
        """The ground truth; where nothing tells its size, it is empty and as large as the prediction."""
        asked = item.asked
        size, frames = asked.size or (prediction.height, prediction.width), len(asked.frames)

        def cut(track: MaskTrack) -> MaskTrack:
            return at_frames(within(track, item.window), asked.counted)

        target = cut(self.truth.target(item.query.anno_ids, frames, size))
        if not self.rules.benchmark.pixels:
            return Truths(target)
        objects = tuple(map(cut, self.truth.objects(item.query.anno_ids, size))) if self.rules.as_released else ()
        return Truths(target, objects, cut(self.truth.foreground(asked.video, item.others, frames, size)))


_bench: Bench | None = None  # of a worker process; set once by `_prepare`


def _prepare(place: Workplace) -> None:
    global _bench  # noqa: PLW0603
    _bench = place.bench()


def _work(items: list[Item]) -> list[Row]:
    if _bench is None:
        raise RuntimeError("the worker was not prepared")
    return [_bench.row(item) for item in items]


def evaluate(
    truth: Truth,
    predictions: Predictions,
    rules: Rules,
    directory: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    none_is_wrong: bool = True,
) -> Evaluation:
    """Score all predictions of a split whose index is in `directory` / index; foregrounds are kept beside it.

    DataError where no prediction is of this split (unless it is known to be of it: `none_is_wrong` is False), or one is
    not what was asked for.
    """
    say = progress or Silent()
    items = list(_items(truth, predictions, rules))
    extra = _extra(predictions, items)
    if none_is_wrong and not any(item.place is not None for item in items):
        raise DataError(f"{predictions.path}: {_nothing(truth, items, extra)}")
    foregrounds = write_foregrounds(truth.source, directory / "foreground") if rules.benchmark.pixels else None
    place = Workplace(truth.index.directory, foregrounds, predictions, rules)
    say.stage("score", len(items))
    rows = []
    for done in _drive(list(_chunks(items)), place, _workers(workers, items)):
        rows += done
        say.advance(len(done))
    positions = {query.id: i for i, query in enumerate(truth.index.expressions)}
    rows.sort(key=lambda row: positions[row.query.id])
    return Evaluation(truth, place, rows, extra)


def item_of(truth: Truth, predictions: Predictions, rules: Rules, video: Video, query: Query) -> Item:
    """What scoring one expression takes."""
    numbers: tuple[int, ...] = ()
    place = predictions.find(video.name, query.exp_id)
    if place is None and rules.semi_supervised:
        place = predictions.find_video(video.name)
        numbers = _numbers(truth, query) if place is not None else ()
    size = truth.size(video, query)
    counted = counted_frames(rules.benchmark, len(video.frames))
    asked = Asked(video.name, query.exp_id, video.frames, size, counted, numbers)
    window = truth.source.action(query) if isinstance(truth.source, HasActions) else None
    others = truth.index.objects(video.name) if rules.benchmark.pixels else ()
    return Item(query, asked, place, window, others)


def _items(truth: Truth, predictions: Predictions, rules: Rules) -> Iterator[Item]:
    for video, queries in truth.by_video():
        for _, query in queries:
            yield item_of(truth, predictions, rules, video, query)


def _numbers(truth: Truth, query: Query) -> tuple[int, ...]:
    """Values of the target's pixels in a file of DAVIS's layout; () where the video has one object: all but 0."""
    if len(truth.object_ids[query.video]) < 2:
        return ()
    if not query.object_ids or not all(number.isdecimal() for number in query.object_ids):
        raise DataError(f"{query.id}: its object ids {query.object_ids} are no pixel values; files per expression are")
    return tuple(int(number) for number in query.object_ids)


def _extra(predictions: Predictions, items: list[Item]) -> tuple[str, ...]:
    asked = {(item.asked.video, item.asked.exp_id) for item in items}
    whole = {item.asked.video for item in items if item.place == item.asked.video}
    return tuple(predictions.others(asked, whole))


def _nothing(truth: Truth, items: list[Item], extra: tuple[str, ...]) -> str:
    """What to say where no prediction fits."""
    wanted = f"{items[0].asked.video}/{items[0].asked.exp_id}" if items else "nothing that can be scored"
    found = f"found {len(extra)} others, the first is {extra[0]}" if extra else "there are none at all"
    davis = any(item.asked.video in extra for item in items)
    hint = "; for DAVIS's layout, one file per frame and video, use --semi-supervised" if davis else ""
    return f"no prediction for {truth.source.name} {truth.source.split} (wanted {wanted}, ...; {found}){hint}"


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
    """Items in runs of at most `CHUNK` that share a video, so that its tracks are read once."""
    chunk: list[Item] = []
    for item in items:
        if chunk and (len(chunk) == CHUNK or chunk[0].asked.video != item.asked.video):
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk


def _workers(asked: int | None, items: list[Item]) -> int:
    if asked is not None:
        return asked
    if sum(len(item.asked.counted or item.asked.frames) for item in items) <= SMALL:
        return 1
    return cores()


def _drive(chunks: list[list[Item]], place: Workplace, workers: int) -> Iterator[list[Row]]:
    """Rows of each chunk, in order; at most a few chunks per worker are under way."""
    workers = min(workers, len(chunks))
    if workers == 1:
        bench = place.bench()
        yield from ([bench.row(item) for item in chunk] for chunk in chunks)
        return
    running: deque[Future[list[Row]]] = deque()
    todo = iter(chunks)
    with processes(workers, _prepare, place) as pool:
        while True:
            while len(running) < 4 * workers and (chunk := next(todo, None)) is not None:
                running.append(pool.submit(_work, chunk))
            if not running:
                return
            yield running.popleft().result()
