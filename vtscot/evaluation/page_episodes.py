"""The part of `scores.html` about a policy's episodes: plain values for the template, nothing of it is HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vtscot.evaluation.answers import Answer, Episodes
from vtscot.evaluation.tables import MEASURED, counted, failures, percent
from vtscot.records import Turn

Data = dict[str, Any]
_TILES: Final = (
    ("parse", "parsed"),
    ("answer", "answered"),
    ("look at target", "keyframe_hit"),
    ("window IoU", "window_iou"),
    ("mask IoU", "decoded_iou"),
    ("absent empty", "absent_empty"),
)
_KIND_COLUMNS: Final = ("parsed", "answered", "keyframe_hit", "window_iou", "decoded_iou", "absent_empty")
_STEPS: Final = (("When", "temporal"), ("Where", "spatial"), ("Words", "linguistic"), ("Action", "action"))


def episode_part(episodes: Episodes) -> Data:
    """Tiles, the table of all measures, rounds as bars in a box of 100 x 40, and means per kind of expression."""
    figures = episodes.figures
    return {
        "about": _about(episodes),
        "failures": failures(figures),
        "tiles": [(label, percent(figures[name]["mean"]), _error(figures[name])) for label, name in _TILES],
        "measures": [
            (label.strip(), label.startswith(" "), percent(figures[name]["mean"]), percent(figures[name]["se"]), n)
            for name, label in MEASURED.items()
            if (n := figures[name]["n"])
        ],
        "rounds": _bars(figures["rounds"]),
        "ended": counted(figures["ended"]),
        "kind_columns": [MEASURED[name] for name in _KIND_COLUMNS],
        "kinds": [
            (kind, of["episodes"], [percent(of[name]["mean"]) for name in _KIND_COLUMNS])
            for kind, of in figures["kinds"].items()
        ],
    }


def replies_of(episodes: Episodes, query_id: str) -> list[Data]:
    """What a policy said, turn by turn; the raw text of a reply that does not parse, with what is wrong with it."""
    answer = episodes.answer(query_id)
    if answer is None:
        return []
    turns = answer.episode.turns if answer.episode is not None else ()
    said = [_turn(number, turn, answer) for number, turn in enumerate(turns)]
    rest = answer.replies[len(turns) :]
    return [*said, *(_reply("does not parse", error=answer.error or "", raw=raw) for raw in rest)]


def _about(episodes: Episodes) -> str:
    """Which policy, how it was used, and on how much."""
    about, figures = episodes.about, episodes.figures
    name = str(about["model"]).rstrip("/").rpartition("/")[2]
    sampling = about["sampling"]
    drawn = f"temperature {sampling['temperature']}, top-p {sampling['top_p']}, seed {sampling['seed']}"
    how = (drawn if sampling["temperature"] else "greedy") + (", guided" if sampling.get("guided") else "")
    limit = f", drawn by their ids (--limit {about['limit']})" if about["limit"] else ""
    turns = about["budget"]["max_turns"]
    return f"Policy {name}, {how}, at most {turns} turns. {figures['asked']:,} queries{limit}."


def _turn(number: int, turn: Turn, answer: Answer) -> Data:
    selection = turn.selection
    shown = answer.episode.observations[number].decoded if answer.episode is not None else 0
    action = "looks again" if turn.action == "select" else "answers"
    return _reply(
        f"Turn {number}: {action}",
        where=f"frames {selection.start} to {selection.end}, keyframe {selection.keyframe}; mask on frame {shown}",
        steps=[(label, getattr(turn.thought, part)) for label, part in _STEPS],
    )


def _reply(title: str, where: str = "", steps: Sequence[tuple[str, str]] = (), error: str = "", raw: str = "") -> Data:
    """What the page's template reads of a reply, whether it parses or not."""
    return {"title": title, "where": where, "steps": steps, "error": error, "raw": raw}


def _bars(rounds: Mapping[str, int]) -> list[Data]:
    most = max(rounds.values(), default=1)
    wide = 100 / max(len(rounds), 1)
    return [
        {"x": i * wide, "width": wide, "height": round(40 * count / most, 2), "label": label, "count": count}
        for i, (label, count) in enumerate(rounds.items())
    ]


def _error(found: Mapping[str, Any]) -> str:
    return "" if found["se"] is None else f"\u00b1 {percent(found['se'])}"
