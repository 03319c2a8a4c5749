"""Expressions as the datasets of the field write them: one reader for dicts and lists, every spelling of ids.

`obj_id` and `anno_id` come as int, str, "1, 2", list of either, or not at all. Text is normalised to single spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from vtscot.records import Query, Video
from vtscot.sources.base import Fault
from vtscot.sources.documents import JsonObject
from vtscot.sources.names import bad_name, encodable, printable

# Names the track of an object from (video, object id, entry); ValueError says what is wrong with the entry.
AnnoId: TypeAlias = Callable[[Video, str, dict[str, Any]], str]

MAX_EXPRESSION = 1000  # characters; longer ones are no referring expressions but a fault of the file
_TEXT_KEYS = ("exp", "exp_text", "expression")


@dataclass(frozen=True, slots=True)
class Read:
    """One expression of the file: its query, usable unless a fatal fault is among `faults`."""

    query: Query
    faults: tuple[Fault, ...] = ()

    @property
    def usable(self) -> bool:
        return not any(fault.fatal for fault in self.faults)


def parse_ids(value: object) -> tuple[str, ...] | None:
    """Ids of `obj_id` or `anno_id` in order, without repeats; None where there are none to be known (missing, null).

    Raises ValueError for anything that is not an int, a str or a list of these.
    """
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    ids: dict[str, None] = {}
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise ValueError(f"{printable(repr(value))} is no id")
        parts = re.split(r"[,\s]+", item.strip()) if isinstance(item, str) else [str(item)]
        if not all(parts) or not all(map(encodable, parts)):
            raise ValueError(f"{printable(repr(value))} is no id")
        ids.update(dict.fromkeys(parts))
    return tuple(ids)


def normalise(text: str) -> str:
    """`text` with single spaces, without control characters; empty where nothing visible is left."""
    if text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
        return text  # nearly all are
    words = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc").split()
    visible = any(unicodedata.category(c)[0] not in "CZ" for word in words for c in word)
    return " ".join(words) if visible else ""


def entries(value: object) -> list[tuple[str, object, bool]] | None:
    """(exp_id, entry, repeated) of a dict or list of expressions; None where `value` is neither."""
    if isinstance(value, JsonObject):
        return [(key, entry, False) for key, entry in value.items()] + [(*pair, True) for pair in value.repeated]
    if not isinstance(value, list):
        return None
    seen: set[str] = set()
    listed = []
    for position, entry in enumerate(value):
        exp_id = str(entry.get("exp_id", position)) if isinstance(entry, dict) else str(position)
        listed.append((exp_id, entry, exp_id in seen))
        seen.add(exp_id)
    return listed


def read_expression(
    video: Video,
    exp_id: str,
    entry: object,
    *,
    repeated: bool,
    needs_targets: bool,
    anno_id: AnnoId | None = None,
) -> Read:
    """One expression of `video`. `needs_targets`: the split has masks, so an expression has to say which it means.

    `anno_id` is given for datasets that name objects only (`obj_id`); what they say as anno_id is ignored.
    """
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    raw = next((fields[key] for key in _TEXT_KEYS if key in fields), None)
    text = normalise(raw) if isinstance(raw, str) and encodable(raw) else ""
    problems: list[tuple[str, str, bool]] = []
    if repeated:
        problems.append(("duplicate-id", "its id came before", True))
    if bad_name(exp_id):
        problems.append(("bad-name", f"expression id {printable(exp_id)!r} {bad_name(exp_id)}", True))
    problems += _text_problems(raw, text)
    objects, annos, target_problems = _targets(video, fields, needs_targets, anno_id)
    kind = fields.get("type", fields.get("kind"))
    query = Query(
        source=video.source,
        split=video.split,
        video=video.name,
        exp_id=exp_id if encodable(exp_id) and exp_id else "?",
        expression=text,
        object_ids=objects,
        anno_ids=annos,
        kind=kind if isinstance(kind, str) and encodable(kind) else None,
    )
    return Read(query, tuple(fault_of(query, *problem) for problem in problems + target_problems))


def fault_of(query: Query, kind: str, detail: str, fatal: bool = True) -> Fault:
    """A fault about one expression."""
    return Fault(kind, detail, video=query.video, exp_id=query.exp_id, fatal=fatal, query=query if fatal else None)


def _text_problems(raw: object, text: str) -> list[tuple[str, str, bool]]:
    if not isinstance(raw, str) or not encodable(raw):
        return [("wrong-type", "the expression is missing or no text", True)]
    if not text:
        return [("empty-expression", "the expression has no words", True)]
    if len(text) > MAX_EXPRESSION:
        detail = f"the expression has {len(text):,} characters; {MAX_EXPRESSION:,} are the most that is used"
        return [("expression-too-long", detail, True)]
    if text != raw:
        return [("odd-white-space", f"read as {printable(text)!r}", False)]
    return []


def _targets(
    video: Video, fields: dict[str, Any], needed: bool, anno_id: AnnoId | None
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, str, bool]]]:
    """(object_ids, anno_ids, problems). Explicit empty lists mean that nothing in the video fits the expression."""
    try:
        objects = parse_ids(fields.get("obj_id"))
        annos = parse_ids(fields.get("anno_id")) if anno_id is None else None
    except ValueError as error:
        return (), (), [("wrong-type", f"obj_id or anno_id: {error}", True)]
    if anno_id is not None and needed:
        return _made_targets(video, fields, objects, anno_id)
    problems = []
    if needed and annos is None:
        problems.append(("no-anno-id", "the split has masks, but the expression does not say which (anno_id)", True))
    elif needed and not annos and objects:
        problems.append(("no-anno-id", f"it names objects {', '.join(objects)} but no anno_id", True))
    elif objects is not None and annos and len(objects) != len(annos):
        problems.append(("target-count", f"{len(objects)} obj_id for {len(annos)} anno_id; anno_id counts", False))
    return objects or (), annos or (), problems


def _made_targets(
    video: Video, fields: dict[str, Any], objects: tuple[str, ...] | None, anno_id: AnnoId
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, str, bool]]]:
    """Targets of a dataset that names objects only."""
    if objects is None:
        detail = "the split has masks, but the expression does not say which object it means (obj_id)"
        return (), (), [("no-obj-id", detail, True)]
    try:
        return objects, tuple(anno_id(video, name, fields) for name in objects), []
    except ValueError as error:
        return objects, (), [("bad-target", str(error), True)]


def duplicates(reads: list[Read], *, keep_all: bool) -> Iterator[Read]:
    """The expressions of one video, marked where two say the same (case aside).

    With the same targets the first is kept; with different targets the text is ambiguous and none is.
    `keep_all`: the targets are held out and each expression will be asked for, so repeats are only noted.
    """
    groups: dict[str, list[Read]] = {}
    for read in reads:
        if read.usable:
            groups.setdefault(read.query.expression.casefold(), []).append(read)
    for read in reads:
        group = groups.get(read.query.expression.casefold(), []) if read.usable else []
        problem = _duplicate(read, group, keep_all) if len(group) > 1 else None
        yield Read(read.query, (*read.faults, problem)) if problem else read


def _duplicate(read: Read, group: list[Read], keep_all: bool) -> Fault | None:
    first = group[0].query
    if not keep_all and len({frozenset(other.query.anno_ids) for other in group}) > 1:
        ids = ", ".join(other.query.exp_id for other in group)
        return fault_of(
            read.query, "ambiguous-expression", f"expressions {ids} are the same text for different objects"
        )
    if read is group[0]:
        return None
    return fault_of(read.query, "duplicate-expression", f"the same text as expression {first.exp_id}", not keep_all)
