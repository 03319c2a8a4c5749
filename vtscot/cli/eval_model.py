"""`vtscot eval --model`: a policy answers the queries of a split; its predictions and its episodes are scored.

OUT/episodes.jsonl       every answer, written as it comes (`--resume` goes on from there); OUT/eval.json: its settings
OUT/predictions.json     the masks in the interchange JSON, in the order of the file
OUT/scores.{json,csv,html}  what `vtscot eval --predictions` says of them, and the episodes beside it
OUT/index/, OUT/source/  the index of the split, and the demo world where that is asked about
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from vtscot.cli.policy import need_extra
from vtscot.cli.predict import DEMONSTRATION, NANO, PROPAGATE_FROM
from vtscot.cli.progress import progress
from vtscot.cli.scores import SCORES, Reports, print_scores, split_of
from vtscot.errors import RunError, UsageError
from vtscot.evaluation import Rules, Truth, benchmark_of, evaluate, open_predictions, summarize
from vtscot.evaluation.answers import Episodes, episode_figures, score_answers, write_predictions
from vtscot.evaluation.journal import Journal, check_fresh
from vtscot.evaluation.tables import counted, episode_table
from vtscot.files import write_text
from vtscot.index import ensure_index
from vtscot.progress import Progress
from vtscot.sources.base import Source
from vtscot.sources.registry import open_source

if TYPE_CHECKING:
    from vtscot.policy.dataset_eval import How
    from vtscot.policy.model import Policy
    from vtscot.policy.processor import PolicyProcessor

DEMO: Final = "demo"
DEMO_VIDEOS: Final = 24
PREDICTIONS: Final = "predictions.json"


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for, as far as the policy is concerned."""

    model: str
    source: str
    root: Path | None
    split: str | None
    out: Path | None
    limit: int | None
    resume: bool
    episodes_only: bool
    budget: str | None
    temperature: float
    top_p: float
    guided: bool
    seed: int
    batch_size: int
    propagate_from: str
    device: str
    dtype: str

    @property
    def place(self) -> Path:
        """Where everything is written."""
        return self.out or Path("runs") / f"eval-{self.source}-{self.split or benchmark_of(self.source).split}"


def eval_model_command(
    wanted: Wanted,
    csv: Path | None,
    html: Path | None,
    *,
    semi_supervised: bool,
    as_released: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Answer, write the predictions, score both, and print the scores."""
    _check(wanted)
    need_extra()
    out = wanted.place
    with progress() as say:
        truth = _truth(wanted, say)
        examinee = _examinee(wanted, say)
        with Journal(out, examinee.settings(truth), resume=wanted.resume, say=say) as journal:
            episodes = _answer(wanted, examinee, truth, journal, say)
            if not truth.source.has_masks or wanted.episodes_only:
                _episodes_alone(wanted, truth, episodes, as_json=as_json)
                return
            scored = Truth(truth.source, truth.index, frozenset(episodes.asked))
            rules = Rules(benchmark_of(wanted.source), semi_supervised, as_released)
            predictions = open_predictions(out / PREDICTIONS)
            found = evaluate(scored, predictions, rules, out, workers=workers, progress=say, none_is_wrong=False)
            summary = summarize(found)
            Reports(out, csv, html).write(found, summary, truth.source, episodes)
    print_scores(found, summary, episodes, as_json=as_json)
    typer.echo(f"written to {out}", err=True)


def _check(wanted: Wanted) -> None:
    if wanted.propagate_from not in PROPAGATE_FROM:
        raise UsageError(f"--propagate-from {wanted.propagate_from} is none of {', '.join(PROPAGATE_FROM)}")
    if wanted.source != DEMO and wanted.root is None:
        raise UsageError(f"source {wanted.source!r} needs --root, the folder that holds the dataset")
    if not wanted.resume:
        check_fresh(wanted.place)


def _truth(wanted: Wanted, say: Progress) -> Truth:
    """The split, indexed; the demo world is made first where no root is given."""
    root = wanted.root or wanted.place / "source"
    if wanted.root is None:
        from vtscot.demo import write_demo

        say.stage("demo world", DEMO_VIDEOS)
        write_demo(root, videos=DEMO_VIDEOS, seed=0, progress=lambda done, total: say.advance())
    split = split_of(wanted.source, root, wanted.split, benchmark_of(wanted.source).split)
    say.stage("index")

    def source() -> Source:
        return open_source(wanted.source, root, split)

    # Opened twice: what the one that is indexed has read is let go.
    return Truth(source(), ensure_index(source(), wanted.place / "index", check_frames=False))


@dataclass(frozen=True)
class Examinee:
    """A policy, how it is to answer, and what is said about both."""

    policy: Policy
    processor: PolicyProcessor
    how: How
    about: dict[str, Any]

    def settings(self, truth: Truth) -> dict[str, Any]:
        """What answers in one journal share. The policy counts by its weights, whatever it is called."""
        of_data = {"source": truth.source.name, "split": truth.source.split, "annotations": truth.index.digest}
        return of_data | {key: value for key, value in self.about.items() if key != "model"}


def _examinee(wanted: Wanted, say: Progress) -> Examinee:
    from transformers.utils import logging

    from vtscot.policy.dataset_eval import How, weights_digest
    from vtscot.policy.load import load_policy, policy_folder
    from vtscot.policy.predict import budget_of
    from vtscot.policy.sampling import Sampling

    logging.disable_progress_bar()
    say.stage("policy")
    if wanted.model == NANO and wanted.source != DEMO:
        say.note(DEMONSTRATION)
    policy, processor = load_policy(wanted.model, wanted.device, wanted.dtype)
    how = How(
        budget=budget_of(policy, wanted.budget),
        sampling=Sampling(temperature=wanted.temperature, top_p=wanted.top_p, seed=wanted.seed, guided=wanted.guided),
        propagate_from="answer" if wanted.propagate_from == "answer" else "decoded",
        propagate=not wanted.episodes_only,
        batch_size=wanted.batch_size,
    )
    about = {
        "model": wanted.model,
        "weights": weights_digest(policy_folder(wanted.model)),
        "dtype": str(policy.dtype).removeprefix("torch."),
        **how.identity(),
    }
    return Examinee(policy, processor, how, about)


def _answer(wanted: Wanted, examinee: Examinee, truth: Truth, journal: Journal, say: Progress) -> Episodes:
    """Answer what is missing, write the predictions and score the episodes; RunError where none could be answered."""
    from vtscot.policy.dataset_eval import answer_all, choose

    asked = choose(truth, wanted.limit)
    answer_all(examinee.policy, examinee.processor, asked, truth, examinee.how, journal, say)
    ids = [query.id for _, queries in asked for query in queries]
    if not wanted.episodes_only:
        write_predictions(wanted.place / PREDICTIONS, journal.answers(ids))
    scores = tuple(score_answers(journal.answers(ids), truth))
    figures = episode_figures(journal.answers(ids), scores)
    if not scores:
        reasons = counted(figures["failed"])
        raise RunError(f"no query could be answered ({reasons}); {journal.path} says why for each")
    about = {**examinee.about, "limit": wanted.limit}
    by_id = {score.query_id: score for score in scores}
    return Episodes(about, figures, by_id, tuple(ids), lambda query_id: next(journal.answers([query_id]), None))


def _episodes_alone(wanted: Wanted, truth: Truth, episodes: Episodes, *, as_json: bool) -> None:
    """Where there are no masks, or no ground truth: print and write the scores of the episodes."""
    figures = {"source": wanted.source, "split": truth.source.split, **episodes.plain()}
    out = wanted.place
    write_text(out / SCORES, json.dumps(figures, indent=2) + "\n")
    typer.echo(json.dumps(figures) if as_json else "\n".join(episode_table(episodes.figures)))
    if not wanted.episodes_only:
        where = f"{out / PREDICTIONS} can be packed with vtscot submit"
        typer.echo(f"the ground truth of {truth.source.split} is held out; {where}", err=True)
