"""The commands for datasets that were built, and their options; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtscot.cli.options import AsJson, Assignments, Root, SourceName, Split, recipe_of

Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="Run, folder of a dataset, or dataset of the Hub (user/name).")
]


def hydrate(
    dataset: Dataset,
    source: Annotated[str, typer.Option("--source", help="Whose frames, for example mevis.", metavar="NAME")],
    root: Annotated[Path, typer.Option("--root", help="Folder that holds your copy of the source.", metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder for the rows [default: DATASET-hydrated].", metavar="DIR")
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put resized frames and the masks into the rows, for local training.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Join a dataset with your own frames.

    Compares every frame's digest, says what differs, and writes rows to train on. They stay at home.
    """
    from vtscot.cli.hydrate import hydrate_command

    hydrate_command(dataset, source, root, out, embed=embed, as_json=as_json)


FileFormat = Annotated[
    str, typer.Option("--format", help="videoseg-o3, videoseg-o3-rl, sharegpt or trl.", metavar="NAME")
]


def export(
    dataset: Dataset,
    format: FileFormat,  # noqa: A002
    out: Annotated[Path, typer.Option("--out", help="File to write (sharegpt: file or folder).", metavar="PATH")],
    source: SourceName = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Your copy of the source, for what rows do not hold.", metavar="DIR"),
    ] = None,
    min_turns: Annotated[int, typer.Option("--min-turns", min=1, help="Leave out shorter episodes.", metavar="N")] = 1,
    rejected: Annotated[bool, typer.Option("--rejected", help="Rejected episodes as well.")] = False,
    mask_dict: Annotated[
        Path | None,
        typer.Option("--mask-dict", help="Write the masks as well, as the released loader reads them.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write episodes in a form that others read.

    Says what was refused, and names and counts what the format has no place for.
    """
    from vtscot.cli.interchange import export_command

    export_command(
        dataset,
        format,
        out,
        source=source,
        root=root,
        rejected=rejected,
        min_turns=min_turns,
        mask_dict=mask_dict,
        as_json=as_json,
    )


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A released VTS-CoT file (a JSON list).")],
    format: Annotated[  # noqa: A002
        str, typer.Option("--format", help="Of the file: videoseg-o3.", metavar="NAME")
    ] = "videoseg-o3",
    source: SourceName = None,
    root: Root = None,
    split: Split = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the dataset [default: runs/imported-FILE/dataset].", metavar="DIR"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Which low-resolution frames are shown [default: the recipe's].", metavar="NAME"),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify blind and offline; its verdict decides what is kept.")
    ] = False,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Read a released file into a dataset.

    Joins its records with your copy of the source; every record is imported or refused with a reason.
    """
    from vtscot.cli.interchange import import_command

    recipe = recipe_of(source, root, split, None, assignments, budget=budget)
    import_command(file, format, recipe, out, verify=verify, as_json=as_json)


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of records in one of the formats.")],
    format: Annotated[  # noqa: A002
        str | None, typer.Option("--format", help="Of the file [default: told by its records].", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a file of records, strictly.

    One line per fault: the record (from 0), the field, the rule. Exit code 1 where there is one.
    """
    from vtscot.cli.interchange import validate_command

    validate_command(file, format, as_json=as_json)


def push(
    dataset: Annotated[Path, typer.Argument(metavar="RUN", help="Run, or folder of a dataset.")],
    repo: Annotated[str, typer.Option("--repo", help="Dataset repository on the Hub.", metavar="USER/NAME")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    branch: Annotated[
        str | None, typer.Option("--branch", help="Commit onto this branch, and leave main as it is.", metavar="NAME")
    ] = None,
    open_pr: Annotated[
        bool, typer.Option("--open-pr", help="Leave the pull request open, and print its address.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and say what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
) -> None:
    """Upload a dataset to the Hugging Face Hub.

    Validates it, shows what goes and asks. Nothing shows on main before all of it is there; the same command goes on
    with a push that was stopped.
    """
    from vtscot.cli.push import push_command
    from vtscot.publish.sending import Target

    push_command(dataset, Target(repo, private=private, branch=branch, open_pr=open_pr), dry_run=dry_run, yes=yes)


def stats(dataset: Dataset, as_json: AsJson = False) -> None:
    """Print the numbers of a card.

    Of a run from its ledger, of a dataset from its rows: states, reasons, turns, windows, IoU, leak rate.
    """
    from vtscot.cli.stats import stats_command

    stats_command(dataset, as_json=as_json)


def merge(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Runs or datasets, the best first.")],
    out: Annotated[Path, typer.Option("--out", help="New or empty folder.", metavar="DIR")],
    as_json: AsJson = False,
) -> None:
    """Put runs or datasets together.

    A row that several have stays as the first one has it. Card and figures are made anew; splits stay.
    """
    from vtscot.cli.regroup import merge_command

    merge_command(datasets, out, as_json=as_json)


def split(
    dataset: Dataset,
    out: Annotated[Path, typer.Option("--out", help="New or empty folder.", metavar="DIR")],
    valid: Annotated[float, typer.Option("--valid", min=0, max=1, help="Share of the videos.", metavar="SHARE")] = 0.1,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of the videos.", metavar="SHARE")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Divide a dataset by video.

    Into train, validation and test. A video's name decides: it lands in the same split whatever else is there.
    """
    from vtscot.cli.regroup import split_command

    split_command(dataset, out, valid, test, as_json=as_json)
