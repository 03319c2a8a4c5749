"""Outcomes made of real parts for the tests of publishing: frames on disk, masks, episodes, verdicts.

Two sources: `demo` may be passed on, `mevis` may not. Every state occurs, episodes of one, two and three turns, a
query without target, and expressions that are markup in HTML, Markdown or YAML.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from vtscot.budget import Budget
from vtscot.episode import episode_of
from vtscot.frames import FolderFrames, Frames
from vtscot.publish import PublishContext
from vtscot.records import (
    Box,
    Check,
    Fact,
    Grounding,
    Outcome,
    Plan,
    Provenance,
    Query,
    Record,
    Selection,
    State,
    Step,
    Thought,
    Verdict,
)
from vtscot.sources.base import Licence
from vtscot.tracks import MaskTrack

BUDGET = Budget(temporal_frames=8, spatial_frames=3, window_frames=5)
VIDEOS = {
    "demo/train/meadow": (24, 320, 180),
    "demo/train/street/night": (40, 240, 240),
    "mevis/train/a1b2": (16, 200, 120),
}
MARKUP = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script> *bold* | `code` ```'
LICENCES = {
    "demo": Licence("cc0-1.0", "Creative Commons Zero 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", True),
    "mevis": Licence("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/", False),
}
SETTINGS = {
    "source": {"name": "demo", "root": "/home/someone/data"},
    "seed": 0,
    "verify": {"min_iou": 0.35, "min_ratio": 0.6, "grounder": "words", "segmenter": "grabcut"},
    "budget": BUDGET.model_dump(),
    "teacher": {"name": "oracle", "base_url": "http://127.0.0.1:1/v1"},
}


def disc(video: str, i: int) -> tuple[float, float, float]:
    """Centre and radius of the target in frame i."""
    frames, width, height = VIDEOS[video]
    return width * (0.15 + 0.7 * i / frames), height * (0.5 + 0.25 * np.sin(i / 4)), height * 0.16


def _mask(video: str, i: int) -> np.ndarray:
    _, width, height = VIDEOS[video]
    x, y, radius = disc(video, i)
    grid_y, grid_x = np.mgrid[0:height, 0:width]
    distance = np.hypot(grid_x - x, grid_y - y)
    return (distance < radius) & (distance > radius * 0.35)  # a ring: its path has a hole


def _frame(video: str, i: int) -> np.ndarray:
    _, width, height = VIDEOS[video]
    grid_y, grid_x = np.mgrid[0:height, 0:width]
    tint = hashlib.sha256(video.encode()).digest()[:3]
    waves = 40 * np.sin(grid_x / 17 + i / 5) * np.cos(grid_y / 23)
    image = np.stack([waves + 70 + channel / 4 for channel in tint], axis=-1)
    image[_mask(video, i)] = (226, 84, 60)
    square = (abs(grid_x - width * 0.75) < height * 0.1) & (abs(grid_y - height * 0.3 - i) < height * 0.1)
    image[square] = (60, 120, 230)
    return image.clip(0, 255).astype(np.uint8)


def write_frames(root: Path) -> None:
    for video, (frames, _, _) in VIDEOS.items():
        (root / video).mkdir(parents=True)
        for i in range(frames):
            Image.fromarray(_frame(video, i)).save(root / video / f"{i:05d}.jpg", quality=90)


@cache
def track(video: str) -> MaskTrack:
    """The target of a video; it is hidden in the first two frames and in frames 9 and 10."""
    from vtscot.masks import Rle

    frames, _, _ = VIDEOS[video]
    hidden = {0, 1, 9, 10}
    return MaskTrack.from_coco([None if i in hidden else Rle.from_array(_mask(video, i)).coco() for i in range(frames)])


def thought(turn: int, expression: str) -> Thought:
    plain = expression.replace("<", "(").replace(">", ")")
    return Thought(
        temporal=f"In look {turn + 1} the red ring drifts from left to right and is hidden for a moment near frame 9.",
        spatial="It sits left of the blue square, about a third of the height tall, over a wavy ground.",
        linguistic=f"The words {plain.strip() or 'nothing'} leave out the square, which never moves sideways.",
        action="The window shows the ring clearly." if turn else "A closer look should tell when it stops.",
    )


def make_record(
    video: str, exp_id: str, expression: str, turns: int, *, reason: str | None, target: bool = True
) -> Record:
    source, split, name = video.split("/", 2)
    frames = VIDEOS[video][0]
    query = Query(
        source=source,
        split=split,
        video=name,
        exp_id=exp_id,
        expression=expression,
        object_ids=("1",) if target else (),
        anno_ids=("7",) if target else (),
    )
    windows = [(0, frames - 1, frames // 2), (3, frames - 4, 6), (4, 8, 5)][-turns:] if turns > 1 else [(2, 8, 6)]
    steps = tuple(
        Step(
            selection=Selection(start=a, end=b, keyframe=k),
            keyframes=(k,),
            facts=(Fact(kind="visible", start=a, end=b),),
        )
        for a, b, k in windows
    )
    plan = Plan(query_id=query.id, num_frames=frames, difficulty=turns / 3, steps=steps)
    episode = episode_of(query, plan, [thought(i, expression) for i in range(turns)], BUDGET)
    groundings = tuple(_grounding(video, i, o.decoded, reason, target) for i, o in enumerate(episode.observations))
    verdict = Verdict(
        kept=reason is None,
        reason=reason,
        checks=(
            Check(name="format", passed=True),
            Check(
                name="keyframe-iou",
                passed=reason is None,
                value=groundings[-1].iou,
                threshold=0.35,
                detail="of the last turn",
            ),
        ),
        groundings=groundings,
        grounder="words",
        segmenter="grabcut",
    )
    provenance = Provenance(
        vtscot="0.1.0", teacher="oracle", recipe="0123456789abcdef", prompts="fedcba9876543210", seed=0
    )
    return Record(query=query, plan=plan, episode=episode, verdict=verdict, provenance=provenance)


def _grounding(video: str, turn: int, frame: int, reason: str | None, target: bool) -> Grounding:
    x, y, r = disc(video, frame)
    shift = 0.0 if reason is None else 2.5 * r
    boxes: tuple[Box, ...] = ((x - r + shift, y - r, 2 * r, 2 * r),) if target else ()
    return Grounding(
        turn=turn, frame=frame, boxes=boxes, iou=0.8125 if reason is None else 0.05, ceiling=0.875, gradable=True
    )


def graded(
    video: str, exp_id: str, expression: str, turns: int, *, reason: str | None = None, target: bool = True
) -> Outcome:
    record = make_record(video, exp_id, expression, turns, reason=reason, target=target)
    return Outcome(query=record.query, state="rejected" if reason else "kept", reason=reason, record=record)


def ended(
    video: str, exp_id: str, expression: str, state: State, reason: str, detail: str, retryable: bool = False
) -> Outcome:
    source, split, name = video.split("/", 2)
    query = Query(source=source, split=split, video=name, exp_id=exp_id, expression=expression)
    return Outcome(query=query, state=state, reason=reason, detail=detail, retryable=retryable)


def rename(outcome: Outcome, exp_id: str) -> Outcome:
    """The same outcome, with its record, under another expression id."""
    query = outcome.query.model_copy(update={"exp_id": exp_id})
    record = outcome.record.model_copy(update={"query": query}) if outcome.record is not None else None
    return outcome.model_copy(update={"query": query, "record": record})


def all_outcomes() -> list[Outcome]:
    """One of every kind, in no particular order."""
    meadow, street, third = VIDEOS
    return [
        graded(street, "2", "the ring that is hidden and comes back", 3),
        graded(meadow, "0", "the red ring", 1),
        graded(meadow, "1", "the ring that overtakes the square", 2),
        graded(meadow, "2", MARKUP, 2),
        graded(meadow, "3", "the green triangle", 1, target=False),
        graded(meadow, "4", "the thing that never moves", 2, reason="keyframe-iou"),
        graded(street, "0", "der rote Ring: ünïcode – 環", 1, reason="leakage"),
        ended(street, "1", "the ring at night", "failed", "timeout", "no answer in 60 s", retryable=True),
        ended(street, "3", "   ", "skipped", "empty-expression", "expression 3 has no words"),
        ended(meadow, "5", "x " * 5000, "skipped", "long-expression", "10,000 characters; 1,000 are read"),
        graded(third, "0", "the ring of a third party", 2),
        graded(third, "1", "another ring of a third party", 1, reason="keyframe-iou"),
    ]


@dataclass(frozen=True)
class World:
    """Frames on disk and the context that leads to them."""

    root: Path

    def frames(self, video: str) -> Frames:
        return FolderFrames(self.root / video, [f"{i:05d}" for i in range(VIDEOS[video][0])])

    def context(self, sources: tuple[str, ...] = ("demo", "mevis")) -> PublishContext:
        return PublishContext(
            licences={name: LICENCES[name] for name in sources},
            frames=self.frames,
            tracks=lambda query: track(query.video_id) if query.anno_ids else None,
            settings=SETTINGS,
            seconds={"index": 0.25, "mine": 0.125, "trace": 3.5, "verify": 12.25},
            prompts="fedcba9876543210",
            version="0.1.0",
            teacher="oracle",
        )


def make_world(root: Path) -> World:
    write_frames(root)
    return World(root)
