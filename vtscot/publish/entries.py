"""One query as the report shows it: its row in the list, its episode, and the pictures that go with it.

Everything is plain data for JSON. Texts stay texts: the page makes text nodes of them and never markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vtscot.publish.album import Album, Sizes
from vtscot.publish.context import PublishContext, RawAnswer
from vtscot.publish.figures import grader
from vtscot.publish.leaks import SECRET
from vtscot.publish.outline import outline
from vtscot.records import Episode, Grounding, Observation, Outcome, Record, Turn
from vtscot.tracks import MaskTrack

Data = dict[str, Any]
STATES: Final = ("kept", "rejected", "failed", "skipped")
WIDTH: Final = 640  # pixels across the page to which outlines are exact


def row(outcome: Outcome) -> list[Any]:
    """What list, filters and search need of a query, in as little as possible.

    [id, source, state, expression, reason, detail, retryable, turns, IoU, difficulty]; the IoU is None where there is
    no target to find, as in the figures.
    """
    query, record = outcome.query, outcome.record
    iou = record.verdict.keyframe_iou if record is not None and query.anno_ids else None
    return [
        query.id,
        query.source,
        STATES.index(outcome.state),
        query.expression,
        outcome.reason,
        outcome.detail,
        int(outcome.retryable),
        0 if record is None else len(record.episode.turns),
        None if iou is None else round(iou, 4),
        None if record is None else round(record.plan.difficulty, 3),
    ]


def entry(record: Record, sizes: Sizes, album: Album, context: PublishContext) -> Data:
    """An episode with its verdict; pictures go to the album, and stand here by their place in it."""
    episode, verdict = record.episode, record.verdict
    track = context.tracks(record.query)
    graded = {grounding.turn: grounding for grounding in verdict.groundings}
    album.ahead(record.query.video_id, _pictures(episode, sizes))
    strip = _Strip(record.query.video_id, sizes, album, track, context.boxes)
    return {
        "frames": episode.num_frames,
        "grader": grader(verdict),
        "teacher": record.provenance.teacher,
        "spans": _spans(record, track),
        "checks": [_plain_check(check.model_dump()) for check in verdict.checks],
        "turns": [strip.turn(episode, i, graded.get(i)) for i in range(len(episode.turns))],
    }


def _pictures(episode: Episode, sizes: Sizes) -> list[tuple[int, int]]:
    """(frame, most pixels) of the pictures that go with an episode, the thumbnail's among them."""
    small = [(index, sizes.small) for observation in episode.observations for index in observation.indices]
    large = [(observation.decoded, sizes.large) for observation in episode.observations]
    return [*small, *large, (episode.observations[-1].decoded, sizes.thumb)]


def thumbnail(record: Record, pixels: int, album: Album, context: PublishContext) -> list[Any]:
    """[JPEG in base64, width, height, outline of the target] of the frame that the answer's mask was decoded on."""
    video, index = record.query.video_id, record.episode.observations[-1].decoded
    width, height = album.frames(video).size(index)
    track = context.tracks(record.query)
    rle = track.rle(index) if track is not None else None
    return [album.picture(video, index, pixels), width, height, "" if rle is None else outline(rle, width / 100)]


def raw_answers(answers: Sequence[RawAnswer]) -> list[list[Any]]:
    """Answers as [turn, question, try, body]; what looks like a secret is struck out."""
    return [[one.turn, one.question, one.attempt, SECRET.sub("***", one.body)] for one in answers]


def _spans(record: Record, track: MaskTrack | None) -> list[list[int]] | None:
    """Where the target is visible, None where there is none; as mined, where the masks are not at hand."""
    if track is not None:
        return [list(span) for span in track.spans()]
    if not record.query.anno_ids:
        return None
    return [[fact.start, fact.end] for fact in record.plan.facts if fact.kind == "visible"]


def _plain_check(check: Data) -> Data:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in check.items()}


class _Strip:
    """The turns of one episode as the page draws them."""

    def __init__(self, video: str, sizes: Sizes, album: Album, track: MaskTrack | None, boxes: bool) -> None:
        self._video, self._sizes, self._album, self._track, self._boxes = video, sizes, album, track, boxes

    def turn(self, episode: Episode, number: int, grounding: Grounding | None) -> Data:
        turn, observation = episode.turns[number], episode.observations[number]
        return {
            **_said(turn),
            "shown": [[i, role, self._album.put(self._video, i, self._sizes.small)] for i, role in _once(observation)],
            "sharp": self._sharp(observation.decoded),
            "grounding": None if grounding is None else _grounding(grounding, self._boxes),
        }

    def _sharp(self, index: int) -> Data:
        width, height = self._album.frames(self._video).size(index)
        rle = self._track.rle(index) if self._track is not None else None
        return {
            "frame": index,
            "picture": self._album.put(self._video, index, self._sizes.large),
            "size": [width, height],
            "mask": "" if rle is None else outline(rle, tolerance=width / WIDTH),
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


def _grounding(grounding: Grounding, boxes: bool) -> Data:
    return {
        "boxes": [[round(value, 1) for value in box] for box in grounding.boxes] if boxes else None,
        "iou": round(grounding.iou, 4),
        "ceiling": round(grounding.ceiling, 4),
        "gradable": grounding.gradable,
    }
