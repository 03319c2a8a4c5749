"""A record as one row of the dataset: plain values in the columns of `columns.FEATURES`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from vtscot.episode import dialogue
from vtscot.publish.context import PublishContext
from vtscot.publish.jpegs import Jpegs
from vtscot.records import Episode, Frozen, Record, Verdict

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.tracks import MaskTrack

Row = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


class RowMaker:
    """Makes rows; remembers the frames of the video it is at, since its expressions share them."""

    def __init__(self, context: PublishContext) -> None:
        self._context = context
        self._video: str | None = None
        self._frames: Frames | None = None
        self._jpegs: Jpegs | None = None
        self._digests: dict[int, str] = {}

    def row(self, record: Record) -> Row:
        """The row of `record`; raises FrameError where a frame that was shown cannot be read any more."""
        frames = self._open(record.query.video_id)
        licence = self._context.licences[record.query.source]
        free = licence.redistributable
        track = self._context.tracks(record.query)
        return {
            **_query_columns(record),
            **_size_columns(record.episode, frames),
            **_episode_columns(record.episode),
            "frames": self._references(record.episode, frames),
            "images": self._images(record.episode) if free else None,
            **mask_columns(record.episode, track if free else None),
            "masks_digest": None if track is None else masks_digest(track),
            **_verdict_columns(record.verdict, len(record.episode.turns)),
            "plan": _json(record.plan.model_dump(mode="json")),
            "licence": licence.id,
            "redistributable": free,
            **record.provenance.model_dump(mode="json"),
        }

    def _open(self, video: str) -> Frames:
        if self._frames is None or video != self._video:
            self._video, self._frames = video, self._context.frames(video)
            self._jpegs, self._digests = Jpegs(self._frames), {}
        return self._frames

    def _references(self, episode: Episode, frames: Frames) -> list[Row]:
        return [
            {
                "turn": turn,
                "index": shown.index,
                "name": frames.names[shown.index],
                "role": shown.role,
                "max_pixels": shown.max_pixels,
                "digest": remembered(self._digests, shown.index, frames.digest),
            }
            for turn, observation in enumerate(episode.observations)
            for shown in observation.frames
        ]

    def _images(self, episode: Episode) -> list[Row]:
        assert self._jpegs is not None
        keys = [(shown.index, shown.max_pixels) for o in episode.observations for shown in o.frames]
        return [{"bytes": jpeg, "path": None} for jpeg in self._jpegs.made(keys)]


def remembered(memory: dict[K, V], key: K, make: Callable[[K], V]) -> V:
    """The value of `key`, made where it is not in `memory`."""
    if key not in memory:
        memory[key] = make(key)
    return memory[key]


def _query_columns(record: Record) -> Row:
    query = record.query.model_dump(mode="json")
    return {"id": record.query.id, **query, "difficulty": record.plan.difficulty}


def _size_columns(episode: Episode, frames: Frames) -> Row:
    width, height = frames.size(episode.observations[0].decoded)
    return {"num_frames": episode.num_frames, "width": width, "height": height}


def _episode_columns(episode: Episode) -> Row:
    return {
        "turns": len(episode.turns),
        "actions": [turn.action for turn in episode.turns],
        "selections": [turn.selection.model_dump() for turn in episode.turns],
        "messages": [message.model_dump() for message in dialogue(episode)],
        "decoded_frames": [observation.decoded for observation in episode.observations],
    }


def masks_digest(track: MaskTrack) -> str:
    """SHA-256 (hex) of the size of a track's masks and of the counts of every frame."""
    digest = hashlib.sha256(f"{track.height}x{track.width}".encode())
    for counts in track.masks:
        digest.update(b"\n" if counts is None else b"\n" + counts)
    return digest.hexdigest()


def mask_columns(episode: Episode, track: MaskTrack | None) -> Row:
    """The columns that hold masks: all null for no track."""
    if track is None:
        return {"decoded_masks": None, "track": None, "mask_height": None, "mask_width": None}
    masks = [None if counts is None else counts.decode("ascii") for counts in track.masks]
    return {
        "decoded_masks": [masks[observation.decoded] for observation in episode.observations],
        "track": masks,
        "mask_height": track.height,
        "mask_width": track.width,
    }


def _verdict_columns(verdict: Verdict, turns: int) -> Row:
    by_turn = {grounding.turn: grounding for grounding in verdict.groundings}
    graded = [by_turn.get(turn) for turn in range(turns)]
    return {
        "keyframe_iou": verdict.keyframe_iou,
        "ceiling": verdict.groundings[-1].ceiling if verdict.groundings else None,
        "ious": [grounding and grounding.iou for grounding in graded],
        "ceilings": [grounding and grounding.ceiling for grounding in graded],
        "window_iou": verdict.groundings[-1].window_iou if verdict.groundings else None,
        "window_ceiling": verdict.groundings[-1].window_ceiling if verdict.groundings else None,
        "kept": verdict.kept,
        "reason": verdict.reason,
        "checks": _json([_plain(check) for check in verdict.checks]),
        "grounder": verdict.grounder,
        "segmenter": verdict.segmenter,
    }


def _plain(model: Frozen) -> Row:
    return model.model_dump(mode="json")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
