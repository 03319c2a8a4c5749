"""The commands for datasets that were built, and their options; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtscot.cli.options import AsJson

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
