"""The commands that use a policy or score one, and their options; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vtscot.cli.options import (
    AsJson,
    BudgetName,
    Device,
    Dtype,
    Guided,
    PropagateFrom,
    Root,
    SamplingSeed,
    Temperature,
    TopP,
)
from vtscot.errors import UsageError


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
    budget: BudgetName = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    guided: Guided = False,
    seed: SamplingSeed = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Queries that are answered together.", metavar="N")
    ] = 8,
    propagate_from: PropagateFrom = "decoded",
    device: Device = "auto",
    dtype: Dtype = "auto",
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
        guided=guided,
        seed=seed,
        batch_size=batch_size,
        propagate_from=propagate_from,
        device=device,
        dtype=dtype,
    )
    eval_model_command(wanted, csv, html, **how)


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


def predict(
    video: Annotated[Path, typer.Option("--video", help="A clip, or a folder of its frames.", metavar="FILE|DIR")],
    query: Annotated[list[str], typer.Option("--query", help="What to segment; may be repeated.", metavar="TEXT")],
    out: Annotated[Path, typer.Option("--out", help="New folder, or that of an earlier prediction.", metavar="DIR")],
    model: Annotated[
        str, typer.Option("--model", help="Policy; nano demonstrates on demo videos.", metavar="DIR|ID")
    ] = "nano",
    budget: BudgetName = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, help="Most turns [default: the budget's].", metavar="N")
    ] = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    guided: Guided = False,
    seed: SamplingSeed = 0,
    propagate_from: PropagateFrom = "decoded",
    overlay: Annotated[str, typer.Option("--overlay", help="mp4, gif or none.")] = "mp4",
    fps: Annotated[
        float | None, typer.Option("--fps", help="Of the overlay [default: the clip's, or 10].", metavar="N")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
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
            guided=guided,
            seed=seed,
            propagate_from=propagate_from,
            device=device,
            dtype=dtype,
            overlay=overlay,
            fps=fps,
            as_json=as_json,
        )
    )


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
