"""`export`: episodes into one of the formats, one by one; what is not written has a reason, what is lost a name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from vtscot.errors import DataError, UsageError
from vtscot.files import whole_file, write_text
from vtscot.interchange.chat import DATASET_INFO, sharegpt_record, trl_record
from vtscot.interchange.items import Found, Item, Lost, shown
from vtscot.interchange.losses import Refused
from vtscot.interchange.masks import Masks, open_masks
from vtscot.interchange.pictures import Pictures
from vtscot.interchange.released import bracketed, released_query, released_record, short_windows

Record = Any
_ALWAYS: Final = {
    "videoseg-o3": ("identity", "observations", "verdict"),
    "videoseg-o3-rl": ("identity", "turns", "verdict"),
    "sharegpt": ("identity", "masks", "selections", "verdict"),
    "trl": ("identity", "masks", "selections", "verdict"),
}
"""What a format never has a place for."""
RELEASED: Final = ("videoseg-o3", "videoseg-o3-rl")


@dataclass
class Exported:
    """What an export wrote: `losses` and `notes` count records by name, `refused` is (id, reason, detail) of each."""

    path: Path
    written: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    info: dict[str, Any] | None = None  # the entry for a dataset_info.json that was there already


def export(
    items: Iterable[Found],
    format: str,  # noqa: A002
    path: Path,
    *,
    min_turns: int = 1,
    mask_dict: Path | None = None,
) -> Exported:
    """Write `items` to `path` as `format`, and the masks of their objects to `mask_dict` as MeViS has them.

    UsageError for an unknown format or a path that does not suit it, DataError where nothing can be written.
    """
    if format not in WRITERS:
        raise UsageError(f"no format {format!r} to write; there are {', '.join(WRITERS)}")
    if mask_dict is not None and format not in RELEASED:
        raise UsageError(f"masks are written beside {' and '.join(RELEASED)}; {format} has no use for them")
    result = Exported(path)
    with open_masks(mask_dict) as masks:
        WRITERS[format](_Selected(items, format, min_turns, result, masks), path, result)
    if mask_dict is not None:
        result.files.append(mask_dict)
    return result


def nothing_written(result: Exported) -> DataError:
    """Why there is no file: every record was refused, or there was none."""
    reasons = Counter(rule for _, rule, _ in result.refused)
    why = ", ".join(f"{count} {rule}" for rule, count in reasons.most_common()) or "no kept episode"
    first = f"; {result.refused[0][0]}: {result.refused[0][2]}" if result.refused else ""
    return DataError(f"{result.path} is not written, there is nothing to export: {why}{first}")


@dataclass(frozen=True)
class _Selected:
    """The items that are written, and the books: a record counts once it is made."""

    items: Iterable[Found]
    format: str
    min_turns: int
    result: Exported
    masks: Masks

    def records(self, make: Callable[[Item], Record]) -> Iterator[Record]:
        for item in self.items:
            name = item.id if isinstance(item, Lost) else item.query.id
            try:
                yield self._counted(item, make)
            except Refused as refused:
                self.result.refused.append((name, refused.rule, refused.detail))
            except DataError as error:  # a frame, a mask or a whole copy that cannot be read
                self.result.refused.append((name, "unreadable", str(error)))
        if not self.result.written:
            raise nothing_written(self.result)

    def _counted(self, item: Found, make: Callable[[Item], Record]) -> Record:
        if isinstance(item, Lost):
            raise Refused(item.rule, item.detail)
        if len(item.episode.turns) < self.min_turns:
            raise Refused("few-turns", f"{len(item.episode.turns)} of {self.min_turns} turns")
        record = make(item)
        self.masks.add(item)
        self.result.written += 1
        self.result.losses.update(_losses(item, self.format))
        self.result.notes.update(_notes(item, self.format))
        return record


def _losses(item: Item, format: str) -> Iterator[str]:  # noqa: A002
    yield from _ALWAYS[format]
    if format == "videoseg-o3" and short_windows(item.episode):
        yield "last-frame"
    if format in ("videoseg-o3", "sharegpt") and bracketed(item.query.expression)[1]:
        yield "image-word"


def _notes(item: Item, format: str) -> Iterator[str]:  # noqa: A002
    if format == "videoseg-o3" and len(item.episode.turns) == 1:
        yield "one-turn"
    if format in ("sharegpt", "trl") and not item.free:
        yield "third-party-images"


def _write_released(selected: _Selected, path: Path, result: Exported) -> None:
    _write_list(path, selected.records(lambda item: released_record(item.query, item.episode, item.names())))
    result.files.append(path)


def _write_rl(selected: _Selected, path: Path, result: Exported) -> None:
    _write_list(path, selected.records(_rl_record))
    result.files.append(path)


def _rl_record(item: Item) -> Record:
    track = item.target()
    visible = [] if track is None else track.visible.tolist()
    return released_query(item.query, item.names(), visible)


def _write_sharegpt(selected: _Selected, path: Path, result: Exported) -> None:
    """PATH is a file, or a folder for the file; images and `dataset_info.json` stand beside the file."""
    path = path if path.suffix == ".json" else path / "vts_cot.json"
    pictures = Pictures(path)
    _write_list(
        path, selected.records(lambda item: sharegpt_record(item.query, item.episode, _pictures(item, pictures)))
    )
    entry = {path.stem: {"file_name": path.name, **DATASET_INFO}}
    about = path.parent / "dataset_info.json"
    if about.exists():
        result.info = entry  # it may describe other data: whose file it is decides
    else:
        write_text(about, json.dumps(entry, indent=2) + "\n")
        result.files.append(about)
    result.path = path
    result.files += [path, pictures.folder]


def _write_trl(selected: _Selected, path: Path, result: Exported) -> None:
    """A `.parquet` file with the images in it, or a `.jsonl` file with paths relative to it."""
    from vtscot.interchange.parquet import write_rows

    result.files.append(path)
    if path.suffix == ".parquet":
        write_rows(path, selected.records(lambda item: trl_record(item.query, item.episode, _embedded(item))))
    elif path.suffix == ".jsonl":
        pictures = Pictures(path)
        records = selected.records(lambda item: trl_record(item.query, item.episode, _pictures(item, pictures)))
        with whole_file(path) as file:
            for record in records:
                file.write(_line(record) + b"\n")
        result.files.append(pictures.folder)
    else:
        raise UsageError(f"{path}: trl is written as .parquet (images inside) or .jsonl (images beside)")


def _pictures(item: Item, pictures: Pictures) -> list[str]:
    frames = shown(item.episode)
    return [pictures.put(item.query, frame, partial(item.jpeg, n)) for n, frame in enumerate(frames)]


def _embedded(item: Item) -> list[dict[str, Any]]:
    return [{"bytes": item.jpeg(n), "path": None} for n in range(len(shown(item.episode)))]


def _write_list(path: Path, records: Iterable[Record]) -> None:
    """A JSON list, one record per line."""
    with whole_file(path) as file:
        before = b"[\n"
        for record in records:
            file.write(before + _line(record))
            before = b",\n"
        file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


WRITERS: Final[dict[str, Callable[[_Selected, Path, Exported], None]]] = {
    "videoseg-o3": _write_released,
    "videoseg-o3-rl": _write_rl,
    "sharegpt": _write_sharegpt,
    "trl": _write_trl,
}
"""Formats that can be written."""
