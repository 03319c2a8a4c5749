"""The command line as a whole: its name, its commands in the order of the help, the options before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from vtscot.cli.data_commands import (
    build,
    check,
    demo_data,
    index,
    inspect,
    mine,
    preview,
    rebuild,
    selftest_verify,
)
from vtscot.cli.dataset_commands import export, hydrate, import_file, merge, push, split, stats, validate
from vtscot.cli.policy_commands import evaluate, init_policy, predict, submit
from vtscot.cli.train import train

app = typer.Typer(
    name="vtscot",
    help="Turn video-segmentation annotations into verified multi-turn reasoning episodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "build": build,
    "preview": preview,
    "rebuild": rebuild,
    "index": index,
    "check": check,
    "mine": mine,
    "selftest-verify": selftest_verify,
    "demo-data": demo_data,
    "inspect": inspect,
    "push": push,
    "hydrate": hydrate,
    "export": export,
    "import": import_file,
    "validate": validate,
    "stats": stats,
    "merge": merge,
    "split": split,
    "eval": evaluate,
    "submit": submit,
    "predict": predict,
    "init-policy": init_policy,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
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
