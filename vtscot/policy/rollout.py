"""Rollouts: a policy looks, writes, looks again where it wants to, until it answers. Predict, eval and rl share them.

Token in, token out: what was sampled is what goes on to be read, and what `Rollout.encoded` gives to be trained on.
Nothing is read twice: the first observation goes into the key-value cache once per query (what the queries of a batch
begin with alike, once for all) and is widened over the samples, later turns add their own frames only, the rows of a
batch go on together, and rows that are through leave it.
The mask of a turn is that of the hidden state at its (last) `[SEG]`, as in `Policy.forward` over the whole episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.errors import EpisodeError, PolicyError, UsageError, VtscotError
from vtscot.grammar import parse_turn
from vtscot.policy.cache import Context, Counters, Slice
from vtscot.policy.features import FeatureStore, Shown
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.rolled import Ask, End, RolledTurn, Rollout
from vtscot.policy.sampling import Sampling, turn_seed
from vtscot.policy.scribe import CacheScribe, Engine, EngineScribe, Scribe
from vtscot.policy.sharing import read_prompts
from vtscot.policy.tokens import Piece, encode_next, encode_prompt
from vtscot.policy.writing import Reply, Writer, reply_text
from vtscot.records import Observation, Selection, Turn

__all__ = ["Ask", "Counters", "End", "RolledTurn", "Rollout", "roll"]

OnText = Callable[[str, int, str], None]
OnError = Callable[[Ask, VtscotError], None]


def roll(
    policy: Any,
    processor: PolicyProcessor,
    asks: Iterable[Ask],
    budget: Budget,
    sampling: Sampling = Sampling(),  # noqa: B008
    *,
    samples: int = 1,
    batch_size: int = 8,
    on_text: OnText | None = None,
    on_error: OnError | None = None,
    counters: Counters | None = None,
    store: FeatureStore | None = None,
    engine: Engine | None = None,
) -> Iterator[Rollout]:
    """`samples` rollouts of every ask, in order of asks, then samples; `batch_size` rows go on together.

    `on_text` gets query id, turn and new text of every query's first sample as it is written. An ask that cannot be
    shown (a broken frame, a special token in the expression) raises its error, or goes to `on_error`, where that is
    given, and has no rollout. A `store` of this policy, where it is given, keeps the features for whoever goes on
    with them, and counts. An `engine`, where it is given, writes the replies instead of the policy; its rollouts have
    no masks and no log-probabilities. The policy works in evaluation mode and without gradient, and is left as it was.
    """
    if samples < 1 or batch_size < 1:
        raise UsageError(f"{samples} samples in batches of {batch_size}: both must be 1 or more")
    roller = _Roller(
        policy, processor, budget, sampling, samples, batch_size, on_text, on_error, counters, store, engine
    )
    return roller.roll(iter(asks))


@dataclass(eq=False)
class _Row:
    """A rollout as it grows."""

    ask: Ask
    sample: int
    observation: Observation
    shown: Shown
    pieces: tuple[Piece, ...]
    tokens: int  # read or written so far
    turns: tuple[RolledTurn, ...] = ()
    unread: tuple[int, ...] = ()  # end of the last reply, which the cache does not know yet
    end: End | None = None
    failed: bool = False

    @property
    def going(self) -> bool:
        return self.end is None and not self.failed

    def rollout(self) -> Rollout:
        assert self.end is not None
        return Rollout(self.ask, self.sample, self.turns, self.end, self.pieces)


class _Roller:
    """What all batches of one call share."""

    def __init__(
        self,
        policy: Any,
        processor: PolicyProcessor,
        budget: Budget,
        sampling: Sampling,
        samples: int,
        batch_size: int,
        on_text: OnText | None,
        on_error: OnError | None,
        counters: Counters | None,
        store: FeatureStore | None,
        engine: Engine | None,
    ) -> None:
        self.policy, self.processor, self.budget, self.sampling = policy, processor, budget, sampling
        self.samples, self.batch_size = samples, batch_size
        self.on_text, self.on_error = on_text, on_error
        self.features = store or FeatureStore(policy, processor, Counters() if counters is None else counters)
        self.counters = self.features.counters if counters is None else counters
        self.writer = Writer(policy, processor, sampling)
        self.engine = engine
        self.window = int(policy.config.get_text_config().max_position_embeddings)
        if engine is not None:
            self.window = min(self.window, engine.window)
        self._seen: dict[tuple[int, int, Observation], tuple[Piece, Shown]] = {}  # of the asks at work, by turn

    def roll(self, asks: Iterator[Ask]) -> Iterator[Rollout]:
        width = max(1, self.batch_size // self.samples)
        while some := list(islice(asks, width)):
            with evaluating(self.policy), torch.no_grad():
                rows = self._roll(some)
            yield from (row.rollout() for row in rows if not row.failed)

    def _roll(self, asks: Sequence[Ask]) -> list[_Row]:
        """The rows of some queries, in order; all read their first observation together."""
        self._seen.clear()
        firsts = [self._start(ask) for ask in asks]
        rows = {i: [replace(row, sample=sample) for sample in range(self.samples)] for i, row in enumerate(firsts)}
        going = [i for i, row in enumerate(firsts) if row.going]
        if going:
            slices = self._slices([firsts[i] for i in going])
            for some, scribe in self._scribes(slices):
                self._go_on(scribe, [rows[i][sample] for i in going for sample in some])
        done = [row for i in range(len(asks)) for row in rows[i]]
        self.counters.too_long += sum(row.end == "too-long" for row in done)
        return done

    def _scribes(self, prompts: Sequence[Slice]) -> Iterator[tuple[range, Scribe]]:
        """Samples that go on together, and who writes for them: every prompt is widened over the samples."""
        parts = [range(self.samples)[i : i + self.batch_size] for i in range(0, self.samples, self.batch_size)]
        if self.engine is not None:
            for some in parts:
                yield some, EngineScribe(self.engine, [part for part in prompts for _ in some], self.counters)
            return
        empty = Context(self.policy, self.processor.pad_id, 1, self.counters)
        context, hidden = read_prompts(empty, prompts)
        for some in parts:
            yield some, CacheScribe(self.writer, context.repeat(len(some)), hidden.repeat_interleave(len(some), 0))

    def _go_on(self, scribe: Scribe, rows: Sequence[_Row]) -> None:
        """Write and look, turn by turn, until every row has come to its end."""
        while True:
            replies = [self._reply(row) for row in rows]
            scribe.write(replies)
            self._close(rows, replies)
            for row in rows:
                self._look(row)
            index = [i for i, row in enumerate(rows) if row.going]
            if not index:
                return
            rows = [rows[i] for i in index]
            scribe.go_on(index, self._slices(rows))

    def _start(self, ask: Ask) -> _Row:
        row = _Row(ask, 0, _NOTHING, Shown((), ()), (), 0)
        if len(ask.frames):
            self._show(row, first_observation(len(ask.frames), self.budget))
        else:
            self._fail(row, PolicyError(f"{ask.query_id}: the video has no frames"))
        return row

    def _look(self, row: _Row) -> None:
        """Show what the last turn selects, where the row goes on."""
        turn = row.turns[-1].turn
        if row.going and turn is not None:
            self._show(row, look_observation(turn.selection, len(row.ask.frames), self.budget))

    def _show(self, row: _Row, observation: Observation) -> None:
        try:
            piece, shown = self._read(row, observation)
        except VtscotError as error:
            self._fail(row, error)
            return
        if row.tokens + len(piece.input_ids) >= self.window:
            row.end = "too-long"
            return
        row.observation, row.shown = observation, shown
        row.pieces = (*row.pieces, piece)
        row.tokens += len(piece.input_ids)

    def _fail(self, row: _Row, error: VtscotError) -> None:
        if self.on_error is None:
            raise error
        self.on_error(row.ask, error)
        row.failed = True

    def _read(self, row: _Row, observation: Observation) -> tuple[Piece, Shown]:
        """What the observation reads as; samples that look at the same share it."""
        ask, turn = row.ask, len(row.turns)
        key = (id(ask), turn, observation)
        if key not in self._seen:
            shown = self.features.show(ask.frames, observation, ask.query_id)
            about = (observation, ask.expression, len(ask.frames), shown.patches, self.processor, ask.query_id)
            self._seen[key] = (encode_next(turn, *about) if turn else encode_prompt(*about), shown)
        return self._seen[key]

    def _slices(self, rows: Sequence[_Row]) -> list[Slice]:
        """What each row has to read before its next reply."""
        images = self.features.images([row.shown for row in rows])
        slices = []
        for row, seen in zip(rows, images, strict=True):
            piece, unread = row.pieces[-1], torch.tensor(row.unread, dtype=torch.int64)
            ids = torch.cat([unread, piece.input_ids])
            types = torch.cat([torch.zeros_like(unread), piece.mm_token_type_ids])
            slices.append(Slice(ids, types, piece.image_grid_thw, seen))
        return slices

    def _reply(self, row: _Row) -> Reply:
        turn, query = len(row.turns), row.ask.query_id
        tell = self.on_text
        return Reply(
            limit=min(self.budget.max_new_tokens, self.window - row.tokens),
            seed=turn_seed(self.sampling.seed, query, row.sample, turn),
            on_text=None if tell is None or row.sample else lambda text: tell(query, turn, text),
        )

    def _close(self, rows: Sequence[_Row], replies: Sequence[Reply]) -> None:
        """Turn what was written into turns, with their masks."""
        masks = self._masks(rows, replies)
        for row, reply, mask in zip(rows, replies, masks, strict=True):
            rolled = self._rolled(row, reply, *mask)
            row.turns = (*row.turns, rolled)
            row.tokens += len(reply.ids)
            row.unread = tuple(reply.ids[-1:]) if reply.unread else ()
            row.end = self._end(row, rolled, reply)

    def _masks(
        self, rows: Sequence[_Row], replies: Sequence[Reply]
    ) -> list[tuple[Tensor | None, float | None, float | None]]:
        """(mask logits, object score, IoU score) of every row; None where there is no `[SEG]`."""
        found: list[tuple[Tensor | None, float | None, float | None]] = [(None, None, None)] * len(rows)
        at = [i for i, reply in enumerate(replies) if reply.seg_hidden is not None]
        if at:
            hidden = torch.stack([state for reply in replies if (state := reply.seg_hidden) is not None])
            decoded = self.features.masks([(rows[i].ask.frames, rows[i].observation.decoded) for i in at], hidden)
            logits = decoded.logits.float().cpu()
            objects, ious = decoded.object_scores.tolist(), decoded.iou_scores.tolist()
            for n, i in enumerate(at):
                found[i] = (logits[n].clone(), objects[n], ious[n])
        return found

    def _rolled(
        self, row: _Row, reply: Reply, mask: Tensor | None, object_score: float | None, iou_score: float | None
    ) -> RolledTurn:
        text = reply_text(reply.ids, self.processor)
        turn, error = _parsed(text, len(row.ask.frames))
        return RolledTurn(
            observation=row.observation,
            reply_ids=torch.tensor(reply.ids, dtype=torch.int64),
            text=text,
            turn=turn,
            error=error,
            logprobs=reply.logprobs,
            mask_logits=mask,
            object_score=object_score,
            iou_score=iou_score,
            frame=row.observation.decoded,
            seg_hidden=None if reply.seg_hidden is None else reply.seg_hidden.cpu(),
            forced=reply.forced,
        )

    def _end(self, row: _Row, rolled: RolledTurn, reply: Reply) -> End | None:
        if rolled.turn is None:
            cut = not reply.ended and reply.limit < self.budget.max_new_tokens
            return "too-long" if cut else "unparsed"
        if rolled.turn.action == "answer":
            return "answered"
        return "truncated" if len(row.turns) >= self.budget.max_turns else None


_NOTHING = Observation.model_construct(frames=())  # before the first observation


def _parsed(text: str, num_frames: int) -> tuple[Turn | None, str | None]:
    """The turn, its window and keyframe cut to the video, or why there is none."""
    try:
        turn = parse_turn(text)
    except EpisodeError as error:
        return None, str(error)
    last = num_frames - 1
    start, end, keyframe = (min(i, last) for i in (turn.selection.start, turn.selection.end, turn.selection.keyframe))
    return turn.model_copy(update={"selection": Selection(start=start, end=end, keyframe=keyframe)}), None


@contextmanager
def evaluating(policy: Any) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in policy.modules()]
    policy.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
