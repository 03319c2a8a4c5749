"""`vtscot predict`: one video, one or more queries; thoughts as they come, then masks, overlay and the page.

Exit code 0 where every query was answered (that the target is nowhere is an answer), 1 where one was not: then its
masks are those of its last turn that parses, or empty, everything is written all the same, and the reason is printed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import typer

from vtscot.cli.policy import need_extra
from vtscot.cli.progress import progress
from vtscot.errors import UsageError
from vtscot.files import write_text
from vtscot.predict.overlay import DEFAULT_FPS, write_overlay
from vtscot.predict.page import render_trace
from vtscot.predict.place import MASKS, OVERLAY, PNGS, TRACE, claim, write_record
from vtscot.predict.pngs import png_writer, write_interchange
from vtscot.predict.stream import Readable
from vtscot.predict.trace import Trace, TraceTurn
from vtscot.predict.video import frames_per_second, open_video, video_name
from vtscot.progress import Progress
from vtscot.sources.names import encodable

if TYPE_CHECKING:
    from vtscot.budget import Budget
    from vtscot.frames import Frames
    from vtscot.masks import Rle
    from vtscot.policy.model import Policy
    from vtscot.policy.predict import PropagateFrom
    from vtscot.policy.processor import PolicyProcessor
    from vtscot.policy.sampling import Sampling
    from vtscot.predict.overlay import Kind

OVERLAYS: Final = ("mp4", "gif", "none")
PROPAGATE_FROM: Final = ("decoded", "answer")
NANO: Final = "nano"
DEMONSTRATION: Final = (
    "nano only demonstrates: it has seen nothing but demo videos (vtscot demo-data); give --model for other videos"
)


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    video: Path
    queries: tuple[str, ...]
    out: Path
    model: str
    budget: str | None
    max_turns: int | None
    temperature: float
    top_p: float
    guided: bool
    seed: int
    propagate_from: str
    device: str
    dtype: str
    overlay: str
    fps: float | None
    as_json: bool

    @property
    def name(self) -> str:
        """The video's name in what is written."""
        return video_name(self.video)


@dataclass(frozen=True)
class Predictor:
    """A policy with how it is used."""

    policy: Policy
    processor: PolicyProcessor
    budget: Budget
    sampling: Sampling
    propagate_from: PropagateFrom


@dataclass
class Reader:
    """Prints turns as they are written: a line when one begins, its text in pieces."""

    turn: int = -1
    text: Readable = field(default_factory=Readable)

    def __call__(self, query_id: str, turn: int, new: str) -> None:
        if turn != self.turn:
            self.end()
            self.turn = turn
            typer.echo(f"Turn {turn}")
        typer.echo(self.text.read(new), nl=False)

    def end(self) -> None:
        """After the last piece of a turn."""
        if self.turn >= 0:
            typer.echo(self.text.rest() + "\n")


def predict_command(asked: Asked) -> None:
    """Predict, write everything below `asked.out`, and print what was decided."""
    _check_options(asked)
    need_extra()
    from transformers.utils import logging

    logging.disable_progress_bar()
    with progress() as say:
        say.stage("video")
        frames = open_video(asked.video)
        say.stage("policy")
        predictor = _predictor(asked, say)
    claim(asked.out)
    queries = enumerate(asked.queries)
    traces = tuple(_predict(predictor, frames, asked, str(place), query) for place, query in queries)
    with progress() as say:
        overlays = _write(asked, frames, traces, predictor, say)
    record = {"finished": True, **_figures(asked, frames, traces, predictor)}
    write_record(asked.out, record)
    typer.echo(
        json.dumps(record, ensure_ascii=False) if asked.as_json else "\n".join(_summary(asked, traces, overlays))
    )
    if not all(trace.answered for trace in traces):
        raise typer.Exit(1)


def _check_options(asked: Asked) -> None:
    if not asked.queries or not all(query.strip() for query in asked.queries):
        raise UsageError("the query is empty; --query takes words for what is to be segmented")
    if not all(map(encodable, asked.queries)):
        raise UsageError("the query is no text: it holds bytes that are not UTF-8")
    for name, value, known in (
        ("--overlay", asked.overlay, OVERLAYS),
        ("--propagate-from", asked.propagate_from, PROPAGATE_FROM),
    ):
        if value not in known:
            raise UsageError(f"{name} {value} is none of {', '.join(known)}")
    if asked.fps is not None and not 0 < asked.fps <= 1000:
        raise UsageError(f"--fps {asked.fps} is no number of frames per second")


def _predictor(asked: Asked, say: Progress) -> Predictor:
    from vtscot.policy.load import load_policy
    from vtscot.policy.predict import budget_of
    from vtscot.policy.sampling import Sampling
    from vtscot.policy.tokens import check_expression

    for place, query in enumerate(asked.queries):
        check_expression(query, f"query {place}")
    if asked.model == NANO:
        say.note(DEMONSTRATION)
    policy, processor = load_policy(asked.model, asked.device, asked.dtype)
    budget = budget_of(policy, asked.budget)
    if asked.max_turns is not None:
        budget = budget.model_copy(update={"max_turns": asked.max_turns})
    sampling = Sampling(temperature=asked.temperature, top_p=asked.top_p, seed=asked.seed, guided=asked.guided)
    return Predictor(policy, processor, budget, sampling, cast("PropagateFrom", asked.propagate_from))


def _predict(predictor: Predictor, frames: Frames, asked: Asked, exp_id: str, query: str) -> Trace:
    """One query: its text goes to standard output, its masks into their folder."""
    from vtscot.policy.predict import finish, trace_of
    from vtscot.policy.rollout import Ask, roll

    reader = None if asked.as_json else Reader()
    if reader is not None and len(asked.queries) > 1:
        typer.echo(f"Query {exp_id}: {query}")
    asks = [Ask(f"{asked.name}/{exp_id}", query, frames)]
    policy, processor = predictor.policy, predictor.processor
    (rollout,) = roll(policy, processor, asks, predictor.budget, predictor.sampling, on_text=reader)
    if reader is not None:
        reader.end()
    size = frames.size(0)
    with png_writer(asked.out / PNGS / asked.name / exp_id, frames.names, *size) as pngs, progress() as say:
        begun = False

        def keep(frame: int, mask: Rle | None) -> None:
            nonlocal begun
            if not begun:
                say.stage("masks", len(frames))
                begun = True
            pngs.put(frame, mask)
            say.advance()

        predicted = finish(policy, rollout, processor, propagate_from=predictor.propagate_from, on_mask=keep)
    return trace_of(predicted, exp_id)


def _write(
    asked: Asked, frames: Frames, traces: tuple[Trace, ...], predictor: Predictor, say: Progress
) -> tuple[Path, ...]:
    """The masks in one file, the overlays (whose paths are returned), and the page."""
    write_interchange(asked.out / MASKS, asked.name, [(trace.exp_id, trace.track) for trace in traces])
    overlays: list[Path] = []
    if asked.overlay != "none":
        fps = asked.fps or frames_per_second(frames) or DEFAULT_FPS
        for trace in traces:
            overlays.append(asked.out / OVERLAY.format(trace.exp_id, asked.overlay))
            note = write_overlay(overlays[-1], frames, trace.track, cast("Kind", asked.overlay), fps, say)
            if note and len(overlays) == 1:
                say.note(note)
    say.stage("page")
    notes = [DEMONSTRATION] if asked.model == NANO else []
    page = render_trace(f"Prediction: {asked.name}", frames, traces, _about(asked, frames, predictor), notes)
    write_text(asked.out / TRACE, page)
    return tuple(overlays)


def _about(asked: Asked, frames: Frames, predictor: Predictor) -> str:
    sampling = predictor.sampling
    drawn = f"temperature {sampling.temperature}, top-p {sampling.top_p}, seed {sampling.seed}"
    width, height = frames.size(0)
    count = f"{len(frames):,} frame{'s' * (len(frames) != 1)}"
    model = asked.model.rstrip("/").rpartition("/")[2]
    how = ("greedy" if sampling.greedy else drawn) + (", guided" if sampling.guided else "")
    return f"{count} of {width}x{height} · policy {model} · {how}"


def _figures(asked: Asked, frames: Frames, traces: tuple[Trace, ...], predictor: Predictor) -> dict[str, Any]:
    """What `--json` prints and prediction.json holds."""
    width, height = frames.size(0)
    return {
        "video": asked.name,
        "frames": len(frames),
        "size": [height, width],
        "model": asked.model,
        "budget": predictor.budget.model_dump(mode="json"),
        "sampling": predictor.sampling.model_dump(mode="json"),
        "propagate_from": predictor.propagate_from,
        "queries": {trace.exp_id: _query_figures(trace) for trace in traces},
    }


def _query_figures(trace: Trace) -> dict[str, Any]:
    return {
        "expression": trace.expression,
        "end": trace.end,
        "reason": trace.reason or None,
        "keyframe": trace.keyframe,
        "absent": trace.absent,
        "frames_with_mask": trace.visible,
        "turns": [_turn_figures(turn) for turn in trace.turns],
    }


def _turn_figures(turn: TraceTurn) -> dict[str, Any]:
    said = turn.turn
    return {
        "shown": list(turn.observation.indices),
        "decoded": turn.frame,
        "text": turn.text,
        "error": turn.error,
        "action": said and said.action,
        "selection": said and said.selection.model_dump(mode="json"),
        "thought": said and said.thought.model_dump(mode="json"),
        "object_score": turn.object_score,
    }


def _summary(asked: Asked, traces: tuple[Trace, ...], overlays: tuple[Path, ...]) -> list[str]:
    lines = [f"query {trace.exp_id}  {_decided(trace)}" for trace in traces]
    lines.append(f"masks    {asked.out / MASKS}  {asked.out / PNGS}")
    lines += [f"overlay  {path}" for path in overlays]
    return [*lines, f"trace    {asked.out / TRACE}"]


def _decided(trace: Trace) -> str:
    turns = f"{len(trace.turns)} turn{'s' * (len(trace.turns) != 1)}"
    what = "the target is nowhere" if trace.absent else f"mask in {trace.visible} of {len(trace.track)} frames"
    if trace.answered:
        return f"answered in {turns}: {what}, decoded on frame {trace.keyframe}"
    return f"NO ANSWER in {turns}: {trace.reason} ({what})"
