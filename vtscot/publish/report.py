"""`report.html`: one file that opens from disk and shows every query, with its episode as a film strip.

All data goes into JSON blocks in which `<`, `>` and `&` are escaped; the page builds its DOM from them with text
nodes only, and its content policy allows no script but its own and no address outside the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from vtscot.publish.album import Album, Sizes, choose_sizes
from vtscot.publish.card import plain_settings
from vtscot.publish.context import PublishContext
from vtscot.publish.figures import Figures, grader
from vtscot.publish.outline import outline
from vtscot.records import Episode, Grounding, Observation, Outcome, Record, Turn
from vtscot.tracks import MaskTrack

PICTURED: Final = 400
"""Episodes that are shown with pictures; of more, as many are taken evenly, and the page says so."""
Data = dict[str, Any]


def render_report(outcomes: Sequence[Outcome], numbers: Figures, context: PublishContext) -> str:
    """The page. Outcomes appear in the given order."""
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    page, pictures = report_data(outcomes, numbers, context)
    root = files("vtscot.publish").joinpath("templates")
    environment = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(lambda name: root.joinpath(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        autoescape=True,
    )
    script = root.joinpath("report.js").read_text(encoding="utf-8")
    style = root.joinpath("report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        title=page["title"],
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        page=script_json(page),
        pictures=script_json(pictures),
    )


def script_json(value: object) -> str:
    """JSON that is inert inside a `<script>` element of HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def report_data(outcomes: Sequence[Outcome], numbers: Figures, context: PublishContext) -> tuple[Data, list[str]]:
    """What the page shows, and its pictures, which the episodes name by their place in the list."""
    pictured = pick_pictured(outcomes)
    episodes = [(o.query.video_id, o.record.episode) for o in outcomes if o.record and o.query.id in pictured]
    sizes = choose_sizes(episodes)
    album = Album(context.frames)
    items = [_item(outcome, sizes if outcome.query.id in pictured else None, album, context) for outcome in outcomes]
    sources = sorted({outcome.query.source for outcome in outcomes})
    page = {
        "title": f"VTS-CoT: {', '.join(sources) or 'nothing'}",
        "figures": _figures(numbers, context),
        "pictured": [len(episodes), sum(outcome.record is not None for outcome in outcomes)],
        "private": [s for s in sources if s in context.licences and not context.licences[s].redistributable],
        "settings": [[key, str(value)] for key, value in plain_settings(context.settings).items()],
        "items": items,
    }
    return page, album.pictures


def pick_pictured(outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Ids of the episodes that get pictures: all, or `PICTURED` of them spread evenly."""
    ids = [outcome.query.id for outcome in outcomes if outcome.record is not None]
    if len(ids) <= PICTURED:
        return frozenset(ids)
    return frozenset(ids[i * len(ids) // PICTURED] for i in range(PICTURED))


def _figures(numbers: Figures, context: PublishContext) -> Data:
    return {
        "queries": numbers.queries,
        "states": numbers.states,
        "reasons": numbers.reasons,
        "turns": [[turns, count] for turns, count in numbers.turns.items()],
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


def _item(outcome: Outcome, sizes: Sizes | None, album: Album, context: PublishContext) -> Data:
    """One query as the page lists it; `turns` only where there is an episode, pictures only with `sizes`."""
    query = outcome.query
    item: Data = {
        "id": query.id,
        "source": query.source,
        "video": query.video,
        "expression": query.expression,
        "state": outcome.state,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "retryable": outcome.retryable,
    }
    if outcome.record is not None:
        item |= _episode(outcome.record, sizes, album, context)
    return item


def _episode(record: Record, sizes: Sizes | None, album: Album, context: PublishContext) -> Data:
    episode, verdict = record.episode, record.verdict
    track = context.tracks(record.query)
    graded = {grounding.turn: grounding for grounding in verdict.groundings}
    strip = _Strip(record.query.video_id, sizes, album, track)
    return {
        "frames": episode.num_frames,
        "iou": verdict.keyframe_iou,
        "grader": grader(verdict),
        "teacher": record.provenance.teacher,
        "difficulty": round(record.plan.difficulty, 3),
        "spans": None if track is None else [list(span) for span in track.spans()],
        "checks": [_plain_check(check.model_dump()) for check in verdict.checks],
        "turns": [strip.turn(episode, i, graded.get(i)) for i in range(len(episode.turns))],
    }


def _plain_check(check: Data) -> Data:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in check.items()}


class _Strip:
    """The turns of one episode as the page draws them."""

    def __init__(self, video: str, sizes: Sizes | None, album: Album, track: MaskTrack | None) -> None:
        self._video, self._sizes, self._album, self._track = video, sizes, album, track

    def turn(self, episode: Episode, number: int, grounding: Grounding | None) -> Data:
        turn, observation = episode.turns[number], episode.observations[number]
        return {
            **_said(turn),
            "shown": [self._shown(index, role) for index, role in _once(observation)],
            "sharp": self._sharp(observation.decoded),
            "grounding": None if grounding is None else _grounding(grounding),
        }

    def _shown(self, index: int, role: str) -> list[Any]:
        picture = self._sizes and self._album.put(self._video, index, self._sizes.small)
        return [index, role, picture]

    def _sharp(self, index: int) -> Data:
        if self._sizes is None:
            return {"frame": index, "picture": None}
        width, height = self._album.frames(self._video).size(index)
        rle = self._track.rle(index) if self._track is not None else None
        return {
            "frame": index,
            "picture": self._album.put(self._video, index, self._sizes.large),
            "size": [width, height],
            "mask": "" if rle is None else outline(rle, tolerance=width / 640),
        }


def _once(observation: Observation) -> list[tuple[int, str]]:
    """Each frame of an observation once, in order of time, in the sharpest role it is shown in."""
    roles = {shown.index: shown.role for shown in observation.frames}  # the sharper roles come last
    return sorted(roles.items())


def _said(turn: Turn) -> Data:
    window = turn.selection
    return {
        "action": turn.action,
        "window": [window.start, window.end, window.keyframe],
        "thought": turn.thought.model_dump(),
    }


def _grounding(grounding: Grounding) -> Data:
    return {
        "boxes": [[round(value, 1) for value in box] for box in grounding.boxes],
        "iou": round(grounding.iou, 4),
        "ceiling": round(grounding.ceiling, 4),
        "gradable": grounding.gradable,
    }
