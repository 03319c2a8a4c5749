"""A policy answers the queries of a split, batch by batch; every batch is in the journal before the next is begun.

A batch is filled with the next queries in the order of the file, whatever video they are about: those about one video
stand together, so that its frames are decoded and encoded once. A batch that was interrupted is rolled out anew as a
whole: it is then what it would have been, and so is every answer. A query that cannot be answered (a broken frame, an
expression that cannot be shown) gets an answer that says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vtscot.budget import Budget
from vtscot.errors import FrameError, RunError, VtscotError
from vtscot.evaluation.answers import Answer
from vtscot.evaluation.journal import Journal
from vtscot.evaluation.truth import Truth
from vtscot.policy.config import PolicyConfig
from vtscot.policy.predict import Prediction, PropagateFrom, finish, mask_at
from vtscot.policy.rollout import Ask, RolledTurn, Rollout, roll
from vtscot.policy.sampling import Sampling, turn_seed
from vtscot.progress import Progress
from vtscot.records import Query, Video
from vtscot.sources.names import encodable

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.policy.model import Policy
    from vtscot.policy.processor import PolicyProcessor

Asked = list[tuple[Video, list[Query]]]  # video by video, in the order of the file


@dataclass(frozen=True)
class How:
    """How queries are answered. `propagate` follows the masks through the videos; `batch_size` changes no answer
    but by rounding."""

    budget: Budget
    sampling: Sampling
    propagate_from: PropagateFrom = "decoded"
    propagate: bool = True
    batch_size: int = 8

    def identity(self) -> dict[str, Any]:
        """What answers in one journal must share; as journals from before `guided` have it, where that is off."""
        left_out = None if self.sampling.guided else {"guided"}
        return {
            "budget": self.budget.model_dump(mode="json"),
            "sampling": self.sampling.model_dump(mode="json", exclude=left_out),
            "propagate_from": self.propagate_from,
            "propagate": self.propagate,
        }


def choose(truth: Truth, limit: int | None) -> Asked:
    """The queries to answer: those that can be scored, or, where the ground truth is held out, those with a video.

    `limit` takes that many with the lowest SHA-256 of their id: any mixture of videos and kinds, always the same, and
    a part of what a higher limit takes.
    """
    if truth.source.has_masks:
        found = [(video, [query for _, query in queries]) for video, queries in truth.by_video()]
    else:
        named: dict[str, list[Query]] = {name: [] for name in truth.index.videos}
        for query in truth.index.expressions:
            named.get(query.video, []).append(query)
        found = [(truth.index.videos[name], queries) for name, queries in named.items() if queries]
    if limit is None:
        return found
    ids = sorted((query.id for _, queries in found for query in queries), key=_digest)
    kept = frozenset(ids[:limit])
    some = ((video, [query for query in queries if query.id in kept]) for video, queries in found)
    return [(video, queries) for video, queries in some if queries]


def weights_digest(place: str) -> str:
    """What tells a policy from another: SHA-256 over the files of its folder, or the commit of an id of the Hub."""
    folder = Path(place)
    if not folder.is_dir():
        try:
            found, _ = PolicyConfig.get_config_dict(place)
        except (OSError, ValueError):
            return place
        return f"{place}@{found.get('_commit_hash')}"
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".txt") and path.is_file():
            with path.open("rb") as file:
                total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def answer_all(
    policy: Policy,
    processor: PolicyProcessor,
    asked: Asked,
    truth: Truth,
    how: How,
    journal: Journal,
    say: Progress,
) -> None:
    """Answer what the journal does not hold yet. RunError where the memory of the device is too small."""
    done = journal.done
    ids = [query.id for _, queries in asked for query in queries]
    known = sum(query_id in done for query_id in ids)
    say.stage("answer", len(ids) - known)
    if known:
        say.note(f"{known} of {len(ids)} queries are answered already")

    @lru_cache(maxsize=how.batch_size)  # a clip is decoded when it is opened, and may go on in the next batch
    def open_video(video: Video) -> Frames | FrameError:
        try:
            frames = truth.source.frames(video)
            frames.size(0)
        except FrameError as error:  # not even the first can be read: said of every query, found once
            return error
        return frames

    desk = _Desk(policy, processor, how, truth, open_video)
    for batch in batches([(video, query) for video, queries in asked for query in queries], how.batch_size):
        wanted = frozenset(query.id for _, query in batch if query.id not in done)
        if not wanted:
            continue
        try:
            for answer in desk.answers(batch, wanted):
                journal.add(answer)
                say.advance()
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"{batch[0][1].id}: the memory of {policy.device} is too small for --batch-size {how.batch_size};"
                " go on with --resume and a smaller one"
            ) from error


def batches(asked: Sequence[tuple[Video, Query]], size: int) -> Iterator[Sequence[tuple[Video, Query]]]:
    """`size` queries at a time, the last time fewer."""
    return (asked[start : start + size] for start in range(0, len(asked), size))


@dataclass(frozen=True)
class _Desk:
    """Where the queries of a batch are answered."""

    policy: Policy
    processor: PolicyProcessor
    how: How
    truth: Truth
    open_video: Callable[[Video], Frames | FrameError]

    def answers(self, asked: Sequence[tuple[Video, Query]], wanted: frozenset[str]) -> Iterator[Answer]:
        """The answers to the `wanted` ones of a batch; at first to those that need not be rolled out."""
        return (answer for answer in self._all(asked, wanted) if answer.query_id in wanted)

    def _all(self, asked: Sequence[tuple[Video, Query]], wanted: frozenset[str]) -> Iterator[Answer]:
        queries = {query.id: query for _, query in asked}
        asks: list[Ask] = []
        for video, query in asked:
            frames = self.open_video(video)
            if isinstance(frames, FrameError):
                yield _failed(query, "frame-unreadable", frames)
            elif fault := self._fault(video, query, frames):
                yield _failed(query, *fault)
            else:
                asks.append(Ask(query.id, query.expression, frames))
        yield from self._rolled(asks, queries, wanted)

    def _rolled(self, asks: Sequence[Ask], queries: Mapping[str, Query], wanted: frozenset[str]) -> Iterator[Answer]:
        failed: list[Answer] = []

        def fail(ask: Ask, error: VtscotError) -> None:
            reason = "frame-unreadable" if isinstance(error, FrameError) else "not-shown"
            failed.append(_failed(queries[ask.query_id], reason, error))

        rollouts = roll(
            self.policy,
            self.processor,
            asks,
            self.how.budget,
            self.how.sampling,
            batch_size=self.how.batch_size,
            on_error=fail,
        )
        for rollout in rollouts:
            if rollout.ask.query_id in wanted:  # the others had to be rolled out only
                yield self._answer(rollout, queries[rollout.ask.query_id])
        yield from failed

    def _answer(self, rollout: Rollout, query: Query) -> Answer:
        try:
            prediction = self._prediction(rollout)
        except FrameError as error:
            return _failed(query, "frame-unreadable", error)
        width, height = rollout.ask.frames.size(0)
        answer = Answer(
            **_about(query),
            end=rollout.end,
            seed=turn_seed(self.how.sampling.seed, query.id, rollout.sample, 0),
            replies=tuple(turn.text for turn in rollout.turns),
            error=next((turn.error for turn in rollout.turns if turn.error is not None), None),
            episode=rollout.episode,
            size=(height, width),
        )
        return answer.model_copy(update=_masks(rollout, prediction))

    def _prediction(self, rollout: Rollout) -> Prediction | None:
        if not self.how.propagate or _masked_turn(rollout) is None:
            return None
        return finish(self.policy, rollout, self.processor, propagate_from=self.how.propagate_from)

    def _fault(self, video: Video, query: Query, frames: Frames) -> tuple[str, str] | None:
        """(reason, detail) of a query that need not be rolled out: its prediction could not be scored, or shown."""
        if not query.expression.strip():
            return "empty-expression", "there is nothing to look for"
        if not encodable(query.expression):
            return "not-shown", "the expression holds what is no text"
        width, height = frames.size(0)
        size = (height, width)
        wanted = self.truth.size(video, query) if self.truth.source.has_masks else None
        if wanted not in (None, size):
            return (
                "size-mismatch",
                f"frames of {size} (height, width), masks of {wanted}; predictions are never resized",
            )
        return None


def _masks(rollout: Rollout, prediction: Prediction | None) -> dict[str, Any]:
    """The fields of an answer that hold its masks."""
    turn = _masked_turn(rollout)
    if turn is None:
        return {}
    absent = turn.object_score is not None and turn.object_score <= 0
    rle = None if absent or turn.mask_logits is None else mask_at(turn.mask_logits, *rollout.ask.frames.size(0))
    fields: dict[str, Any] = {
        "decoded": turn.frame,
        "mask": rle.counts.decode("ascii") if rle is not None else None,
        "object_score": turn.object_score,
    }
    if prediction is not None:
        masks = prediction.track.masks
        fields |= {
            "keyframe": prediction.keyframe,
            "masks": tuple(None if counts is None else counts.decode("ascii") for counts in masks),
        }
    return fields


def _masked_turn(rollout: Rollout) -> RolledTurn | None:
    """The last turn that parses: it has the mask that counts."""
    return next((turn for turn in reversed(rollout.turns) if turn.turn is not None), None)


def _failed(query: Query, reason: str, detail: object) -> Answer:
    return Answer(**_about(query), end="failed", reason=reason, detail=str(detail))


def _about(query: Query) -> dict[str, Any]:
    return {"query_id": query.id, "video": query.video, "exp_id": query.exp_id, "kind": query.kind}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
