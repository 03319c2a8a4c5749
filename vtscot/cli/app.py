"""The commands of vtscot and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vtscot.cli.options import (
    AsJson,
    Assignments,
    BaseUrl,
    Concurrency,
    Limit,
    MaxCost,
    Model,
    RecipeFile,
    Root,
    RunDirectory,
    Seed,
    SourceName,
    Split,
    TeacherName,
    recipe_of,
    run_directory,
)
from vtscot.cli.train import train
from vtscot.errors import UsageError

app = typer.Typer(
    name="vtscot",
    help="Turn video-segmentation annotations into verified multi-turn reasoning episodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(train, name="train")


def _version(value: bool) -> None:
    if value:
        from vtscot import __version__

        typer.echo(f"vtscot {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def build(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    teacher: TeacherName = None,
    model: Model = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    batch: Annotated[bool, typer.Option("--batch", help="Send requests through the Batch API.")] = False,
    max_cost: MaxCost = None,
    limit: Limit = None,
    seed: Seed = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and sent.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Go on with other settings; only what they change is done and paid again.")
    ] = False,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only try again what failed, for whatever reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a dataset of verified episodes.

    Alone, it builds the demo. The same command goes on with a run that was stopped.
    """
    from vtscot.cli.build import build_command

    resolved = recipe_of(
        source,
        root,
        split,
        recipe,
        assignments,
        teacher__name=teacher,
        teacher__model=model,
        teacher__base_url=base_url,
        teacher__concurrency=concurrency,
        teacher__batch=batch or None,
        teacher__max_cost=max_cost,
        limit=limit,
        seed=seed,
    )
    directory = run_directory(run, resolved)
    build_command(resolved, directory, dry_run=dry_run, update=update, only_failed=only_failed, as_json=as_json)


@app.command()
def preview(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many queries.", metavar="N")] = 3,
    teacher: TeacherName = None,
    model: Model = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    max_cost: MaxCost = None,
    limit: Limit = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Show a few traces before a build.

    Asks for these alone, into the run: the build does not pay for them again.
    """
    from vtscot.cli.preview import preview_command

    resolved = recipe_of(
        source,
        root,
        split,
        recipe,
        assignments,
        teacher__name=teacher,
        teacher__model=model,
        teacher__base_url=base_url,
        teacher__concurrency=concurrency,
        teacher__max_cost=max_cost,
        limit=limit,
        seed=seed,
    )
    preview_command(resolved, run_directory(run, resolved), count, as_json=as_json)


@app.command()
def rebuild(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Make a run's dataset again for nothing.

    From the answers of its ledger, with other thresholds if they are set; nothing can be sent.
    """
    from vtscot.cli.build import rebuild_command

    rebuild_command(run, assignments or [], as_json=as_json)


@app.command()
def index(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Read the annotations of a source once.

    Writes queries and mask tables into the run, and says every fault found on the way.
    """
    from vtscot.cli.tables import index_command

    resolved = recipe_of(source, root, split, None, None)
    index_command(resolved, run_directory(run, resolved), as_json=as_json)


@app.command()
def check(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame, not a sample.")] = False,
    limit_videos: Annotated[
        int | None, typer.Option("--limit-videos", min=1, help="Only the first N videos.", metavar="N")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes [default: one per core].", metavar="N")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a dataset.

    Files, masks, texts, and masks that do not fit their frames. Changes nothing.
    """
    from vtscot.cli.check import check_command

    resolved = recipe_of(source, root, split, None, None)
    check_command(resolved, deep=deep, limit=limit_videos, workers=workers, as_json=as_json)


@app.command()
def mine(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    run: RunDirectory = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plans there.", metavar="FILE")] = None,
) -> None:
    """Propose windows and keyframes.

    One plan per query and line, as JSON, in the order of the annotation file.
    """
    from vtscot.cli.tables import mine_command

    resolved = recipe_of(source, root, split, recipe, assignments, limit=limit)
    mine_command(resolved, run_directory(run, resolved), out)


@app.command("selftest-verify")
def selftest_verify(
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Measure the verifier.

    Plants errors into good episodes and counts those that are noticed. Alone, it does so on the demo.
    """
    from vtscot.cli.selftest import selftest_command

    selftest_command(recipe_of(source, root, split, recipe, assignments, seed=seed), split, as_json=as_json)


@app.command("demo-data")
def demo_data(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree is written.")],
    videos: Annotated[int, typer.Option("--videos", min=1, help="How many videos.", metavar="N")] = 24,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the world.", metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the demo world as a MeViS tree."""
    from vtscot.cli.tables import demo_command

    demo_command(directory, videos, seed, as_json=as_json)


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    no_open: Annotated[bool, typer.Option("--no-open", help="Write the report without opening it.")] = False,
) -> None:
    """Write the report of a run and open it.

    It is made from the run's ledger; nothing is asked or paid.
    """
    from vtscot.cli.runs import inspect_command

    inspect_command(run, show=not no_open)


@app.command()
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    repo: Annotated[str, typer.Option("--repo", help="Dataset repository on the Hub.", metavar="USER/NAME")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and say what would be sent.")] = False,
) -> None:
    """Upload a dataset to the Hugging Face Hub.

    Validates it first and shows what goes; the card goes last.
    """
    from vtscot.cli.runs import push_command

    push_command(run, repo, private=private, dry_run=dry_run)


@app.command("eval")
def evaluate(
    source: Annotated[
        str | None, typer.Option("--source", help="Dataset [default with --model: demo].", metavar="NAME")
    ] = None,
    root: Root = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Interchange JSON, or a folder or zip of PNGs.", metavar="PATH"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Policy that predicts; nano is a demonstration.", metavar="DIR|ID")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split [default: the one the set is scored on].", metavar="NAME")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for scores.json, .csv, .html and the index [with --model: runs/eval-SOURCE-SPLIT].",
            metavar="DIR",
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write one line per expression.", metavar="FILE")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with the worst cases.", metavar="FILE")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only N queries, drawn by their ids (--model).", metavar="N")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out (--model).")] = False,
    episodes_only: Annotated[
        bool, typer.Option("--episodes-only", help="No masks but the last of each episode: no J&F (--model).")
    ] = False,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Frames and pixels [default: the policy's].", metavar="NAME")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.", metavar="T")] = 0.0,
    top_p: Annotated[
        float, typer.Option("--top-p", min=1e-6, max=1, help="Draw from the likeliest tokens.", metavar="P")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.", metavar="N")] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Queries that are answered together.", metavar="N")
    ] = 8,
    propagate_from: Annotated[
        str, typer.Option("--propagate-from", help="The frame that was looked at (decoded), or that the answer names.")
    ] = "decoded",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")] = "auto",
    semi_supervised: Annotated[
        bool, typer.Option("--semi-supervised", help="As DAVIS: without first and last frame, with recall and decay.")
    ] = False,
    as_released: Annotated[
        bool, typer.Option("--as-released", help="Reproduce the slips of the released scripts.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that score [default: one per core].", metavar="N")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score predictions, or a policy that makes them.

    As the official scripts do: J, F, J&F, and what the set adds. With --model also whether episodes parse, answer and
    look at the target.
    """
    from vtscot.cli.scores import Reports, eval_command

    how: Any = {
        "semi_supervised": semi_supervised,
        "as_released": as_released,
        "workers": workers,
        "as_json": as_json,
    }
    if predictions is not None:
        if model is not None or resume or limit is not None or episodes_only:
            raise UsageError(
                "--predictions are scored as they are: leave out --model, --limit, --resume, --episodes-only"
            )
        eval_command(source, root, split, predictions, Reports(out, csv, html), **how)
        return
    from vtscot.cli.eval_model import Wanted, eval_model_command

    wanted = Wanted(
        model=model or "nano",
        source=source or "demo",
        root=root,
        split=split,
        out=out,
        limit=limit,
        resume=resume,
        episodes_only=episodes_only,
        budget=budget,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        batch_size=batch_size,
        propagate_from=propagate_from,
        device=device,
        dtype=dtype,
    )
    eval_model_command(wanted, csv, html, **how)


@app.command()
def submit(
    source: Annotated[str, typer.Option("--source", help="Dataset with a server.", metavar="NAME")],
    root: Annotated[Path, typer.Option("--root", help="Folder that holds the dataset.", metavar="DIR")],
    predictions: Annotated[
        Path, typer.Option("--predictions", help="Interchange JSON, or a folder or zip of PNGs.", metavar="PATH")
    ],
    out: Annotated[Path, typer.Option("--out", help="The archive to write.", metavar="FILE")],
    split: Annotated[
        str | None, typer.Option("--split", help="Split the server asks for [default: valid].", metavar="NAME")
    ] = None,
) -> None:
    """Pack predictions for the server of a set.

    An incomplete archive is refused, saying what is missing.
    """
    from vtscot.cli.scores import submit_command

    submit_command(source, root, split, predictions, out)


@app.command()
def predict(
    video: Annotated[Path, typer.Option("--video", help="A clip, or a folder of its frames.", metavar="FILE|DIR")],
    query: Annotated[list[str], typer.Option("--query", help="What to segment; may be repeated.", metavar="TEXT")],
    out: Annotated[Path, typer.Option("--out", help="New folder, or that of an earlier prediction.", metavar="DIR")],
    model: Annotated[
        str, typer.Option("--model", help="Policy; nano demonstrates on demo videos.", metavar="DIR|ID")
    ] = "nano",
    budget: Annotated[
        str | None, typer.Option("--budget", help="Frames and pixels [default: the policy's].", metavar="NAME")
    ] = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, help="Most turns [default: the budget's].", metavar="N")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.", metavar="T")] = 0.0,
    top_p: Annotated[
        float, typer.Option("--top-p", min=1e-6, max=1, help="Draw from the likeliest tokens.", metavar="P")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.", metavar="N")] = 0,
    propagate_from: Annotated[
        str, typer.Option("--propagate-from", help="The frame that was looked at (decoded), or that the answer names.")
    ] = "decoded",
    overlay: Annotated[str, typer.Option("--overlay", help="mp4, gif or none.")] = "mp4",
    fps: Annotated[
        float | None, typer.Option("--fps", help="Of the overlay [default: the clip's, or 10].", metavar="N")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Segment what a query means in a video.

    Prints the thoughts as they come; writes masks (RLE and PNG), an overlay and a page with the turns.
    """
    from vtscot.cli.predict import Asked, predict_command

    predict_command(
        Asked(
            video=video,
            queries=tuple(query),
            out=out,
            model=model,
            budget=budget,
            max_turns=max_turns,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            propagate_from=propagate_from,
            device=device,
            dtype=dtype,
            overlay=overlay,
            fps=fps,
            as_json=as_json,
        )
    )


@app.command("init-policy")
def init_policy(
    out: Annotated[Path, typer.Option("--out", help="Folder of the policy; new or empty.", metavar="DIR")],
    vlm: Annotated[str | None, typer.Option("--vlm", help="Qwen-VL checkpoint.", metavar="DIR|ID")] = None,
    sam2: Annotated[str | None, typer.Option("--sam2", help="SAM 2 checkpoint.", metavar="DIR|ID")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Build a small one with random weights.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Run or dataset for a tiny one's tokenizer [default: the demo].", metavar="DIR"),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Of all weights; auto is that of --vlm.", metavar="NAME")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of new weights.", metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Join Qwen-VL and SAM 2 into a policy.

    Adds the token [SEG] and the projector between the two.
    """
    from vtscot.cli.policy import init_policy_command

    init_policy_command(vlm, sam2, out, data, dtype, seed, tiny=tiny, as_json=as_json)
