"""The rules of the released files (docs/interchange.md), as a strict reader sees them: what breaks one, and where.

Records are untrusted JSON values. A record that breaks no rule can be read by `released.read_turns`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from vtscot.grammar import SEG
from vtscot.sources.names import bad_name, encodable, printable

SELECT: Final = re.compile(r"<select><VTG>(.*?)</VTG>.*?</select>")  # `.` takes no line break: the loader's neither
ANSWER: Final = re.compile(r"<answer>\s*<VTG>(.*?)</VTG>.*?</answer>", re.DOTALL)
IMAGE: Final = "<image>"
TRACE: Final = {"start": "start_frame", "end": "end_frame", "keyframe": "key_frame"}
"""Key in the text -> key in `cot_trace`."""


class Broken(NamedTuple):
    """A rule that a field breaks."""

    field: str
    rule: str
    detail: str


Check = Callable[[Any], Iterator[Broken]]


def whole(value: object) -> bool:
    """Whether a JSON value is a whole number; true and false are none."""
    return type(value) is int


def short(value: object) -> str:
    """A value for a message."""
    try:
        return printable(value if isinstance(value, str) else json.dumps(value)[:200])
    except (ValueError, TypeError, RecursionError):  # thousands of digits, nested without end
        return f"a value of type {type(value).__name__}"


def _text(field: str, value: object) -> Iterator[Broken]:
    if not isinstance(value, str):
        yield Broken(field, "type", f"{short(value)} is no text")
    elif not encodable(value):
        yield Broken(field, "text", "it holds half a character (a lone surrogate)")


def _video_name(value: object) -> Iterator[Broken]:
    yield from _text("video_name", value)
    if isinstance(value, str) and (why := bad_name(value, slashes=True)):
        yield Broken("video_name", "path", f"{printable(value)!r} {why}")


def _frames(value: object) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("frames", "type", f"{short(value)} is no list of frame names")
        return
    if not value:
        yield Broken("frames", "empty", "there is no frame")
    for i, name in enumerate(value):
        if not isinstance(name, str):
            yield Broken(f"frames[{i}]", "type", f"{short(name)} is no text")
        elif why := bad_name(name):
            yield Broken(f"frames[{i}]", "path", f"{printable(name)!r} {why}")


def _exp(value: object) -> Iterator[Broken]:
    yield from _text("exp", value)
    if isinstance(value, str) and not value.strip():
        yield Broken("exp", "empty", "the expression has no words")


def _anno_id(value: object) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("anno_id", "type", f"{short(value)} is no list of ids")
        return
    if not value:
        yield Broken("anno_id", "empty", "there is no object")
    for i, one in enumerate(value):
        if not (whole(one) or (isinstance(one, str) and one and encodable(one))):
            yield Broken(f"anno_id[{i}]", "type", f"{short(one)} is no id")


def _sample(value: object) -> Iterator[Broken]:
    field = "sample_frame_indice"
    if not isinstance(value, list):
        yield Broken(field, "type", f"{short(value)} is no list of frame indices")
        return
    if not value:
        yield Broken(field, "empty", "there is no spatial frame")
    for i, one in enumerate(value):
        if not whole(one):
            yield Broken(f"{field}[{i}]", "type", f"{short(one)} is no whole number")


def _trace(value: object) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("cot_trace", "type", f"{short(value)} is no list")
        return
    for i, one in enumerate(value):
        if not isinstance(one, dict):
            yield Broken(f"cot_trace[{i}]", "type", f"{short(one)} is no object")
            continue
        for name in TRACE.values():
            if name not in one:
                yield Broken(f"cot_trace[{i}].{name}", "missing", "the field is not there")
            elif not whole(one[name]):
                yield Broken(f"cot_trace[{i}].{name}", "type", f"{short(one[name])} is no whole number")


def _conversations(value: object) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("conversations", "type", f"{short(value)} is no list")
        return
    for i, one in enumerate(value):
        field = f"conversations[{i}]"
        if not isinstance(one, dict) or not {"from", "value"} <= one.keys():
            yield Broken(field, "type", "it is no object with `from` and `value`")
            continue
        wanted = "system" if i == 0 else "human" if i % 2 else "gpt"
        if one["from"] != wanted:
            yield Broken(f"{field}.from", "roles", f"{short(one['from'])} where {wanted} has to speak")
        yield from _text(f"{field}.value", one["value"])
    if len(value) < 3 or len(value) % 2 == 0:
        yield Broken("conversations", "roles", f"{len(value)} messages: system, human, gpt, and then pairs are needed")


def _existence(value: object) -> Iterator[Broken]:
    if not isinstance(value, list):
        yield Broken("mask_existence", "type", f"{short(value)} is no list")
        return
    for i, one in enumerate(value):
        if not whole(one) or one not in (0, 1):
            yield Broken(f"mask_existence[{i}]", "type", f"{short(one)} is neither 0 nor 1")


_SHARED: Final[dict[str, Check]] = {"video_name": _video_name, "frames": _frames, "exp": _exp, "anno_id": _anno_id}
FIELDS: Final[dict[str, Check]] = {
    **_SHARED,
    "sample_frame_indice": _sample,
    "cot_trace": _trace,
    "conversations": _conversations,
}
RL_FIELDS: Final[dict[str, Check]] = {**_SHARED, "mask_existence": _existence}
OPTIONAL: Final = ("round_num",)


def check_released(record: object) -> Iterator[Broken]:
    """The rules that a record of the cold start breaks, field by field, then those of the dialogue."""
    found = list(_shape(record, FIELDS))
    yield from found
    if found or not isinstance(record, dict):
        return  # what the dialogue says can only be judged where its fields are what they should be
    if "round_num" in record and not (whole(record["round_num"]) and record["round_num"] >= 0):
        yield Broken("round_num", "type", f"{short(record['round_num'])} is no number of rounds")
    yield from _ranges("sample_frame_indice", record["sample_frame_indice"], len(record["frames"]))
    yield from _dialogue(record)


def check_rl(record: object) -> Iterator[Broken]:
    """The rules that an entry of the RL file breaks: a list whose first item is the query."""
    if not isinstance(record, list) or not record:
        yield Broken("", "type", "an entry is a list whose first item is the query")
        return
    for broken in _shape(record[0], RL_FIELDS):
        yield broken._replace(field=f"[0].{broken.field}" if broken.field else "[0]")
    first = record[0]
    if isinstance(first, dict) and all(isinstance(first.get(name), list) for name in ("frames", "mask_existence")):
        frames, marks = len(first["frames"]), len(first["mask_existence"])
        if frames != marks:
            yield Broken("[0].mask_existence", "length", f"{marks} marks for {frames} frames")


def _shape(record: object, fields: dict[str, Check]) -> Iterator[Broken]:
    if not isinstance(record, dict):
        yield Broken("", "type", f"{short(record)} is no object")
        return
    for name, check in fields.items():
        if name not in record:
            yield Broken(name, "missing", "the field is not there")
        else:
            yield from check(record[name])


def _ranges(field: str, indices: Sequence[int], frames: int) -> Iterator[Broken]:
    for i, index in enumerate(indices):
        if not 0 <= index < frames:
            yield Broken(f"{field}[{i}]", "range", f"{short(index)} is no frame of {frames}")


def _dialogue(record: dict[str, Any]) -> Iterator[Broken]:
    said = [message["value"] for message in record["conversations"]]
    humans, replies = said[1::2], said[2::2]
    for i, text in enumerate(humans):
        yield from _images(f"conversations[{2 * i + 1}].value", text, 1 if i else 0)
    for i, text in enumerate(said):
        wanted = int(i > 0 and i % 2 == 0)
        if text.count(SEG) != wanted:
            yield Broken(f"conversations[{i}].value", "seg", f"{text.count(SEG)} [SEG] where {wanted} is needed")
    last = len(record["frames"]) - 1
    for turn, text in enumerate(replies[:-1]):
        yield from _select(turn, text, record["cot_trace"], last)
    yield from _answer(len(replies) - 1, replies[-1], last)
    if len(record["cot_trace"]) > len(replies):
        yield Broken("cot_trace", "length", f"{len(record['cot_trace'])} steps for {len(replies)} turns")


def _images(field: str, text: str, wanted: int) -> Iterator[Broken]:
    if text.count(IMAGE) != wanted:
        where = "once in every later human turn" if wanted else "never in the first human turn"
        yield Broken(field, "image-word", f"<image> stands there {text.count(IMAGE)} times; it stands {where}")


def _select(turn: int, text: str, trace: list[dict[str, int]], last: int) -> Iterator[Broken]:
    field = f"conversations[{2 * turn + 2}].value"
    match = SELECT.search(text)
    if match is None:
        yield Broken(field, "select", "no <select><VTG>{...}</VTG>...</select>, without space between the tags")
        return
    numbers, why = read_numbers(match[1])
    if numbers is None:
        yield Broken(field, "vtg", why)
        return
    if turn >= len(trace):
        yield Broken("cot_trace", "length", f"no step for the select of turn {turn}")
        return
    for key, name in TRACE.items():
        if numbers[key] != trace[turn][name]:
            detail = f"{short(trace[turn][name])} where the select of turn {turn} says {short(numbers[key])}"
            yield Broken(f"cot_trace[{turn}].{name}", "trace", detail)
    if not 0 <= numbers["start"] < numbers["end"] <= last:
        window = f"{short(numbers['start'])}..{short(numbers['end'])}"
        yield Broken(field, "window", f"{window} is no window with 0 <= start < end <= {last}")
    if not 0 <= numbers["keyframe"] <= last:
        yield Broken(field, "keyframe", f"{short(numbers['keyframe'])} is no frame of 0..{last}")


def _answer(turn: int, text: str, last: int) -> Iterator[Broken]:
    field = f"conversations[{2 * turn + 2}].value"
    match = ANSWER.search(text)
    if match is None or "<select>" in text:
        yield Broken(field, "answer", "the last gpt turn is no <answer> with a <VTG>")
        return
    numbers, why = read_numbers(match[1])
    if numbers is None:
        yield Broken(field, "vtg", why)
        return
    if not 0 <= numbers["start"] <= numbers["end"] <= last:
        window = f"{short(numbers['start'])}..{short(numbers['end'])}"
        yield Broken(field, "window", f"{window} is no window with 0 <= start <= end <= {last}")
    if not 0 <= numbers["keyframe"] <= last:
        yield Broken(field, "keyframe", f"{short(numbers['keyframe'])} is no frame of 0..{last}")


def read_numbers(text: str) -> tuple[dict[str, int] | None, str]:
    """The three whole numbers inside a <VTG>, or None and what is wrong with them."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, f"the VTG is no JSON: {' '.join(str(error).split())[:120]}"
    if not isinstance(value, dict) or not TRACE.keys() <= value.keys():
        return None, "the VTG lacks start, end or keyframe"
    if not all(whole(value[key]) for key in TRACE):
        return None, "start, end and keyframe of the VTG must be whole numbers"
    return value, ""
