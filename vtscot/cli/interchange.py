"""`vtscot export`, `vtscot import`, `vtscot validate`: records in the forms of others, and what became of each."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from vtscot.cli.progress import progress
from vtscot.errors import DataError, UsageError
from vtscot.interchange import Exported, Imported, detect, export, findings, import_released
from vtscot.interchange.adopting import check_place, verified, write_imported
from vtscot.interchange.exporting import RELEASED
from vtscot.interchange.items import open_copy
from vtscot.interchange.losses import LOSSES, NOTES
from vtscot.interchange.opening import open_items
from vtscot.recipe import Recipe
from vtscot.records import count_states
from vtscot.work import cores


def export_command(
    name: str,
    format: str,  # noqa: A002
    out: Path,
    *,
    source: str | None,
    root: Path | None,
    rejected: bool,
    min_turns: int,
    mask_dict: Path | None,
    as_json: bool,
) -> None:
    """Write the episodes of a run or a dataset, and print what was written, refused and lost."""
    images = format not in RELEASED
    with progress() as say, open_items(name, rejected=rejected, images=images, root=root, source=source) as items:
        say.stage("export")
        result = export(items, format, out, min_turns=min_turns, mask_dict=mask_dict)
        for record, rule, detail in result.refused:
            say.note(f"refused  {record}: {rule}: {detail}")
    if as_json:
        typer.echo(json.dumps(_exported_json(result, format)))
        return
    typer.echo("\n".join(_export_lines(result)))
    if result.info is not None:
        typer.echo("dataset_info.json is there already; add to it:", err=True)
        typer.echo(json.dumps(result.info, indent=2), err=True)


def _exported_json(result: Exported, format: str) -> dict[str, Any]:  # noqa: A002
    return {
        "format": format,
        "path": str(result.path),
        "written": result.written,
        "refused": len(result.refused),
        "reasons": dict(Counter(rule for _, rule, _ in result.refused).most_common()),
        "losses": dict(result.losses),
        "notes": dict(result.notes),
        "files": [str(path) for path in result.files],
        "dataset_info": result.info,
    }


def _export_lines(result: Exported) -> list[str]:
    reasons = Counter(rule for _, rule, _ in result.refused)
    return [
        f"{'written':<28}{result.written:>6}",
        f"{'refused':<28}{len(result.refused):>6}",
        *(f"  {rule:<26}{count:>6}" for rule, count in reasons.most_common()),
        *_told("lost", result.losses, LOSSES),
        *_told("note", result.notes, NOTES),
        "",
        *(f"file  {path}" for path in result.files),
    ]


def _told(title: str, counts: Mapping[str, int], texts: Mapping[str, str]) -> Iterable[str]:
    return [f"{title}  {name:<22}{counts[name]:>6}  {text}" for name, text in texts.items() if counts.get(name)]


def import_command(
    file: Path,
    format: str,  # noqa: A002
    recipe: Recipe,
    out: Path | None,
    *,
    verify: bool,
    as_json: bool,
) -> None:
    """Read a released file into a dataset's folder; DataError where none of its records can be taken."""
    if format != "videoseg-o3":
        raise UsageError(f"no format {format!r} to read; there is videoseg-o3")
    if recipe.source.root is None:
        raise UsageError("an import needs --root: the folder that holds the source the records are about")
    directory = out or Path("runs") / f"imported-{file.stem}" / "dataset"
    check_place(directory)
    root = Path(recipe.source.root)
    with progress() as say, tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        say.stage("index")
        copy = open_copy(recipe.source.name, root, recipe.source.split, Path(scratch))
        say.stage("import")
        result = import_released(file, copy, recipe.budget, say.advance)
        for finding in result.refused:
            say.note(f"refused  {finding.line()}")
        if not result.outcomes:
            raise DataError(f"{file}: none of its {result.total} records can be imported{_first(result)}")
        if verify:
            say.stage("verify", len(result.outcomes))
            checked = verified(result.outcomes, recipe, root, Path(scratch), cores(recipe))
            result = replace(result, outcomes=[_counted(one, say.advance) for one in checked])
        say.stage("publish")
        write_imported(result.outcomes, copy, recipe, directory)
    typer.echo(
        json.dumps(_imported_json(result, directory)) if as_json else "\n".join(_import_lines(result, directory))
    )


def _counted(outcome: Any, count: Any) -> Any:
    count()
    return outcome


def _first(result: Imported) -> str:
    return f"; {result.refused[0].line()}" if result.refused else ""


def _imported_json(result: Imported, directory: Path) -> dict[str, Any]:
    return {
        "dataset": str(directory),
        "records": result.total,
        "imported": len(result.outcomes),
        "refused": len(result.refused),
        "reasons": result.reasons,
        "states": count_states(result.outcomes),
        "verdicts": _verdicts(result),
        "losses": dict(result.losses),
        "unknown_fields": sorted(result.unknown_fields),
        "refusals": [finding._asdict() for finding in result.refused],
    }


def _verdicts(result: Imported) -> dict[str, int]:
    """Why imported records were not kept; they are only judged with --verify."""
    return dict(Counter(one.reason for one in result.outcomes if one.reason is not None).most_common())


def _import_lines(result: Imported, directory: Path) -> list[str]:
    states = count_states(result.outcomes)
    fields = ", ".join(sorted(result.unknown_fields))
    return [
        f"{'records':<28}{result.total:>6}",
        f"  {'imported':<26}{len(result.outcomes):>6}",
        *(f"    {state:<24}{count:>6}" for state, count in states.items() if count and state != "kept"),
        *(f"      {reason:<22}{count:>6}" for reason, count in _verdicts(result).items()),
        f"  {'refused':<26}{len(result.refused):>6}",
        *(f"    {rule:<24}{count:>6}" for rule, count in result.reasons.items()),
        *_told("lost", result.losses, LOSSES),
        *([f"fields  {fields}"] if fields else []),
        "",
        f"dataset  {directory}",
    ]


def validate_command(file: Path, format: str | None, *, as_json: bool) -> None:  # noqa: A002
    """Print every fault of a file; DataError where there is one."""
    kind = format or detect(file)
    found = []
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    for finding in findings(file, kind, one_more):
        found.append(finding)
        if not as_json:
            typer.echo(finding.line())
    broken = len({finding.record for finding in found})
    if as_json:
        faults = [finding._asdict() for finding in found]
        typer.echo(json.dumps({"format": kind, "records": count, "broken": broken, "faults": faults}))
    else:
        typer.echo(f"{count} records of {kind}, {broken} with faults")
    if found:
        raise DataError(f"{file}: {len(found)} faults in {broken} of {count} records")
