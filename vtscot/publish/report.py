"""`report.html`: every query of a run, to look at; it opens from disk and shows each episode as film and thoughts.

The page holds the list of all queries. Their episodes and pictures are in it, too, while they fit into one file
(`parts.ONE_FILE`); of a larger run they are scripts in the folder `report/` beside it, which the page loads when it
shows them. Page and folder name each other, so that neither is taken for that of another build.

All data is JSON in which `<`, `>` and `&` are escaped; the page builds its DOM from it with text nodes only. Its
content policy allows its own script and, where there is a folder, scripts that this one loads; no address is named.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from vtscot.files import write_text
from vtscot.publish.album import choose_sizes
from vtscot.publish.card import plain_settings
from vtscot.publish.context import PublishContext
from vtscot.publish.entries import STATES, row
from vtscot.publish.figures import Figures
from vtscot.publish.parts import ONE_FILE, Contents, Store, script_json, write_parts
from vtscot.records import Outcome

SCRIPTS: Final = ("dom", "load", "summary", "search", "list", "episode", "main")  # report_NAME.js, in this order
STYLES: Final = ("report.css", "report_pages.css")
FOLDER: Final = "report"
Data = dict[str, Any]


def write_report(
    outcomes: Sequence[Outcome],
    numbers: Figures,
    context: PublishContext,
    directory: Path,
    *,
    one_file: int = ONE_FILE,
) -> Path:
    """Write `directory/report.html`, and `directory/report/` where its data are more than `one_file` characters.

    Outcomes appear in the given order. Page and folder appear whole; a folder that is not needed any more goes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    page, target = directory / "report.html", directory / FOLDER
    with tempfile.TemporaryDirectory(dir=directory, prefix=f".{FOLDER}.") as name:
        fresh, old = Path(name) / "new", Path(name) / "old"
        text, store = render_report(outcomes, numbers, context, fresh, one_file=one_file)
        if store.spilled:
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        write_text(page, text)
        if target.exists() and not store.spilled:
            target.rename(old)
    return page


def render_report(
    outcomes: Sequence[Outcome], numbers: Figures, context: PublishContext, folder: Path, *, one_file: int = ONE_FILE
) -> tuple[str, Store]:
    """The page, and the store of its parts, which are below `folder` where they do not fit into the page."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    page = page_data(outcomes, numbers, context)
    key = _digest(script_json(page)).hex()[:32]
    store = Store(folder, key, one_file)
    sizes = choose_sizes((o.query.video_id, o.record.episode) for o in outcomes if o.record is not None)
    contents = write_parts(outcomes, sizes, context, store)
    script, style = page_script(), "".join(_template(name) for name in STYLES)
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    text = environment.from_string(_template("report.html.j2")).render(
        title=page["title"],
        script=script,
        style=style,
        script_hash=_source(script),
        style_hash=_source(style),
        nonce=key if store.spilled else None,
        page=script_json(page | _directory(contents, store)),
        blocks=store.blocks,
    )
    return text, store


def page_data(outcomes: Sequence[Outcome], numbers: Figures, context: PublishContext) -> Data:
    """What the page shows of the whole run, and a row of every query."""
    sources = sorted({outcome.query.source for outcome in outcomes})
    return {
        "title": f"VTS-CoT: {', '.join(sources) or 'nothing'}",
        "figures": _figures(numbers, context),
        "private": [s for s in sources if s in context.licences and not context.licences[s].redistributable],
        "settings": [[key, str(value)] for key, value in plain_settings(context.settings).items()],
        "states": STATES,
        "rows": [row(outcome) for outcome in outcomes],
    }


def page_script() -> str:
    """The page's script: its files, one after the other, in a scope of their own."""
    parts = "\n".join(_template(f"report_{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _directory(contents: Contents, store: Store) -> Data:
    folder = FOLDER if store.spilled else None
    return {"key": store.key, "folder": folder, "begins": contents.begins, "answered": contents.answered}


def _template(name: str) -> str:
    return files("vtscot.publish").joinpath("templates").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _source(text: str) -> str:
    """A text as a content policy names it."""
    return "sha256-" + base64.b64encode(_digest(text)).decode("ascii")


def _figures(numbers: Figures, context: PublishContext) -> Data:
    return {
        "queries": numbers.queries,
        "states": numbers.states,
        "reasons": numbers.reasons,
        "turns": [[turns, count] for turns, count in numbers.turns.items()],
        "windows": list(numbers.windows.items()),
        "share": numbers.window_share,
        "iou": numbers.keyframe_iou,
        "ceiling": numbers.ceiling,
        "histogram": list(numbers.histogram),
        "graders": list(numbers.graders),
        "leaks": [numbers.leaks, numbers.traced],
        "teachers": list(numbers.teachers) or [context.teacher],
        "recipes": list(numbers.recipes),
        "prompts": context.prompts,
        "version": context.version,
        "seconds": [[stage, round(seconds, 3)] for stage, seconds in context.seconds.items()],
    }
