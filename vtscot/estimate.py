"""What a build would do, send and cost, from real plans and really rendered requests, before anything is spent.

Counts are exact as far as plans go: a bad answer that is asked for again comes on top. Of many queries, `RENDERED` are
rendered, spread evenly, and their tokens stand for all. Answers of the teacher that later requests quote are taken to
be as long as the settings expect.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtscot.build import open_recipe_source, select
from vtscot.drivers import Workplace
from vtscot.endpoint.price import Tokens, expected, price
from vtscot.endpoint.request import Picture, Request
from vtscot.episode import observations
from vtscot.frames import Frames, Pixels
from vtscot.index import Index, build_index
from vtscot.ledger import Ledger
from vtscot.progress import Progress
from vtscot.prompts import render_prompt
from vtscot.recipe import Recipe
from vtscot.records import Thought
from vtscot.replay import need, sent_for
from vtscot.sources.base import Source
from vtscot.stages import Job, mine_query
from vtscot.teacher.base import TraceTask
from vtscot.work import cores, input_digest

if TYPE_CHECKING:
    from PIL.Image import Image

RENDERED: Final = 1000


@dataclass
class Estimate:
    """Sums over the queries that are still to be worked on."""

    queries: int = 0
    skipped: int = 0
    settled: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=lambda: Counter(requests=0, images=0))
    tokens: Tokens = field(default_factory=lambda: Tokens(0, 0))
    rendered: int = 0
    stored: int = 0  # requests whose answers the ledger has already

    def json(self, recipe: Recipe) -> dict[str, Any]:
        """All figures; `cost` is None without prices, `seconds` None for batches."""
        settings, planned = recipe.teacher, self.sent["requests"]
        requests = planned - self.stored
        rest = (self.queries - self.settled) * (requests / planned if planned else 0.0)
        scale = rest / self.rendered if self.rendered else 0.0
        tokens = Tokens(round(self.tokens.input * scale), round(self.tokens.output * scale))
        waves = math.ceil(requests / settings.concurrency)
        return {
            "queries": self.queries,
            "skipped": self.skipped,
            "settled": self.settled,
            "turns": {str(n): self.turns[n] for n in sorted(self.turns)},
            "requests": requests,
            "stored": self.stored,
            "images": round(self.sent["images"] * requests / planned) if planned else 0,
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cost": price(tokens, settings, batch=settings.batch) if requests else 0.0,
            "seconds": None if settings.batch else waves * settings.expected_latency_s,
        }


def estimate(recipe: Recipe, scratch: Path, say: Progress, run: Path | None = None) -> dict[str, Any]:
    """Queries, turns, requests, images, tokens, cost and time of a build; indexes into `scratch` and sends nothing.

    What the ledger of `run` has settled is not counted again, nor are answers that it holds; the run is not touched.
    """
    root = Path(recipe.source.root) if recipe.source.root else scratch / "source"
    say.stage("index")
    source = open_recipe_source(recipe, root)
    index = build_index(source, scratch / "index")
    queries, skipped = select(index, recipe.limit)
    say.stage("mine", len(queries))
    total = Estimate(queries=len(queries), skipped=len(skipped))
    todo: list[Job] = []
    with _settled(run) as ledger:
        for query in queries:
            job = Job(query, mine_query(query, index, recipe.mining, recipe.budget))
            total.turns[len(job.plan.steps)] += 1
            known = ledger.outcome(query.id, input_digest(job, index, recipe)) if ledger is not None else None
            if known is not None and not known.retryable:
                total.settled += 1
            else:
                todo.append(job)
            say.advance()
    for job in todo:
        for observation in observations(job.plan, recipe.budget):
            total.sent.update(sent_for(recipe, observation))
    if recipe.asks_a_model:
        _render(total, todo, recipe, source, index, say)
        total.stored = _stored(todo, Workplace(recipe, root, scratch / "index"), run)
    return total.json(recipe)


def _stored(todo: Sequence[Job], place: Workplace, run: Path | None) -> int:
    """How many requests of these jobs the ledger of the run answers, whatever settings it was made with."""
    with _settled(run) as ledger:
        if ledger is None or not todo or not ledger.usage().answers:
            return 0
        wanted = need(todo, replace(place, answers=ledger.path), cores(place.recipe))
    return wanted.requests - wanted.missing


class _settled:
    """The ledger of a run, open for reading; None where there is none."""

    def __init__(self, run: Path | None) -> None:
        path = run / "ledger.sqlite" if run is not None else None
        self._ledger = Ledger(path, read_only=True) if path is not None and path.is_file() else None

    def __enter__(self) -> Ledger | None:
        return self._ledger

    def __exit__(self, *_: object) -> None:
        if self._ledger is not None:
            self._ledger.close()


def _render(total: Estimate, todo: Sequence[Job], recipe: Recipe, source: Source, index: Index, say: Progress) -> None:
    """Render the requests of some queries and sum up their tokens."""
    count = min(RENDERED, len(todo))
    say.stage("render", count)
    for i in range(count):
        job = todo[i * len(todo) // count]
        for request in requests_of(job, recipe, source, index):
            one = expected(request, recipe.teacher)
            total.tokens += Tokens(one.input * recipe.teacher.n_best, one.output * recipe.teacher.n_best)
        total.rendered += 1
        say.advance()


def requests_of(job: Job, recipe: Recipe, source: Source, index: Index) -> Iterator[Request]:
    """The requests of one query as they would be rendered, with words in the place of answers that are not there."""
    from vtscot.teacher.passes import LINGUISTIC, SINGLE, SPATIAL, TEMPORAL, Moment

    budget, query = recipe.budget, job.query
    frames = SizedFrames(source.frames(index.videos[query.video]))
    seen = observations(job.plan, budget)
    task = TraceTask(query, job.plan, seen, frames, index.target(query), {}, recipe.seed)
    thought = _usual_thought(recipe)
    shown: frozenset[int] = frozenset()
    for turn, step in enumerate(job.plan.steps):
        shown |= set(seen[turn].indices)
        moment = Moment(task, turn, step, seen[turn], shown, (thought,) * turn)
        if recipe.teacher.name == "openai" and recipe.teacher.mode == "single":
            yield SINGLE.request(moment)
        elif recipe.teacher.name == "openai":
            yield from (TEMPORAL.request(moment), SPATIAL.request(moment))
            found = {"temporal": thought.temporal, "spatial": thought.spatial, "keyframe": step.keyframes[0]}
            yield LINGUISTIC.request(moment, **found)
        yield from _verifying(recipe, query.expression, thought, seen[turn].decoded, frames)


def _usual_thought(recipe: Recipe) -> Thought:
    """Words as long as a usual answer: two of its four parts come in one request."""
    words = " ".join(["word"] * max(1, recipe.teacher.expected_output_tokens * 4 // 5))
    half = words[: len(words) // 2]
    return Thought(temporal=words, spatial=words, linguistic=half, action=half)


def _verifying(recipe: Recipe, expression: str, thought: Thought, frame: int, frames: Frames) -> Iterator[Request]:
    """The blind questions about one turn."""
    if recipe.verify.grounder == "openai":
        from vtscot.verify.openai import GroundAnswer

        picture = Picture("", frame, recipe.verify.max_pixels, load=lambda: frames.image(frame), size=frames.size(0))
        text = render_prompt("verifier/ground.j2", frame=frame, expression=expression, thought=thought)
        system = render_prompt("verifier/system.j2")
        yield Request("", system, (picture, text), "ground_answer", GroundAnswer.model_json_schema())
    if recipe.verify.judge == "openai":
        from vtscot.verify.judge import entail_request

        yield entail_request(expression, thought, recipe.seed)


class SizedFrames:
    """Frames of which only the first one's size is read: enough to render requests."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def names(self) -> tuple[str, ...]:
        return self._frames.names

    def size(self, i: int) -> tuple[int, int]:
        """Of the first frame, for all."""
        if self._size is None:
            self._size = self._frames.size(0)
        return self._size

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        return self._frames.image(i, max_pixels)

    def array(self, i: int, max_pixels: int | None = None) -> Pixels:
        return self._frames.array(i, max_pixels)

    def digest(self, i: int) -> str:
        """None is needed: nothing is sent."""
        return str(i)
