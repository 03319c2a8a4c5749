"""A made-up run of any size, for benches of what is published: videos of a ring that drifts over a textured ground.

Frames are made when they are asked for; the same number gives the same query and the same pixels anywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from vtscot.budget import Budget, fit
from vtscot.episode import episode_of
from vtscot.masks import Rle
from vtscot.publish.context import PublishContext
from vtscot.records import Check, Grounding, Outcome, Plan, Provenance, Query, Record, Selection, Step, Thought, Verdict
from vtscot.sources.base import Licence
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT, FRAMES, PER_VIDEO = 320, 180, 48, 20
BUDGET: Final = Budget(temporal_frames=20, spatial_frames=5, window_frames=5)
WORDS: Final = (
    "ring",
    "square",
    "moves",
    "left",
    "right",
    "behind",
    "large",
    "small",
    "blue",
    "red",
    "first",
    "hidden",
)


class Synthetic:
    """The frames of one video: a ring that drifts over waves; made when they are asked for."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._ground = self._random.normal(110, 22, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
        self._phase, self._colour = self._random.uniform(0, 6), self._random.uniform(40, 255, 3)

    def __len__(self) -> int:
        return FRAMES

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{i:05d}" for i in range(FRAMES))

    def size(self, i: int) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def mask(self, i: int) -> np.ndarray:
        """(H, W) bool: the ring."""
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        distance = np.hypot(
            x - WIDTH * (0.15 + 0.7 * i / FRAMES), y - HEIGHT * (0.5 + 0.2 * np.sin(i / 5 + self._phase))
        )
        ring: np.ndarray = (distance < 30) & (distance > 11)
        return ring

    def array(self, i: int, max_pixels: int | None = None) -> np.ndarray:
        return np.array(self.image(i, max_pixels))

    @lru_cache(maxsize=64)  # noqa: B019 - one video is open at a time
    def _whole(self, i: int) -> Image:
        from PIL import Image

        pixels = np.roll(self._ground, i, axis=1).copy()
        pixels[self.mask(i)] = self._colour
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def image(self, i: int, max_pixels: int | None = None) -> Image:
        whole = self._whole(i)
        return whole if max_pixels is None else whole.resize(fit(WIDTH, HEIGHT, max_pixels))

    def digest(self, i: int) -> str:
        return f"{i:064x}"


@lru_cache(maxsize=2)
def frames_of(video: str) -> Synthetic:
    return Synthetic(int(video.rsplit("/", 1)[1]))


@lru_cache(maxsize=2)
def track_of(video: str) -> MaskTrack:
    frames = frames_of(video)
    hidden = range(7, 12)
    return MaskTrack.from_coco([None if i in hidden else Rle.from_array(frames.mask(i)).coco() for i in range(FRAMES)])


def outcome_of(number: int) -> Outcome:
    """Query number `number`: nine of ten are kept, the others rejected or failed."""
    video, place = divmod(number, PER_VIDEO)
    random = np.random.default_rng(number)
    expression = "the " + " ".join(random.choice(WORDS, 6))
    query = Query(
        source="demo", split="train", video=f"{video:04d}", exp_id=str(place), expression=expression, anno_ids=("1",)
    )
    if number % 50 == 7:
        return Outcome(query=query, state="failed", reason="timeout", detail="no answer in 60 s", retryable=True)
    record = record_of(query, 1 + number % 3, None if number % 13 else "keyframe-iou", random)
    return Outcome(
        query=query, state="rejected" if record.verdict.reason else "kept", reason=record.verdict.reason, record=record
    )


def record_of(query: Query, turns: int, reason: str | None, random: np.random.Generator) -> Record:
    """An episode that looks closer in every turn, with some sentences of thought."""
    starts = [int(random.integers(0, 8 * (turn + 1))) for turn in range(turns)]
    windows = [Selection(start=start, end=start + 24, keyframe=start + 12) for start in starts]
    plan = Plan(
        query_id=query.id,
        num_frames=FRAMES,
        difficulty=turns / 3,
        steps=tuple(Step(selection=window, keyframes=(window.keyframe,)) for window in windows),
    )
    episode = episode_of(query, plan, [_thought(window, random) for window in windows], BUDGET)
    iou = 0.1 if reason else float(random.uniform(0.5, 1))
    groundings = tuple(
        Grounding(turn=i, frame=o.decoded, boxes=((120.0, 50.0, 60.0, 60.0),), iou=iou, ceiling=0.95, gradable=True)
        for i, o in enumerate(episode.observations)
    )
    checks = tuple(Check(name=f"check-{i}", passed=True, value=0.5, threshold=0.3) for i in range(15))
    failed = () if reason is None else (Check(name=reason, passed=False, value=iou, threshold=0.35),)
    verdict = Verdict(
        kept=reason is None,
        reason=reason,
        checks=checks + failed,
        groundings=groundings,
        grounder="words",
        segmenter="grabcut",
    )
    provenance = Provenance(vtscot="0", teacher="oracle", recipe="0" * 16, prompts="0" * 16, seed=0)
    return Record(query=query, plan=plan, episode=episode, verdict=verdict, provenance=provenance)


def _thought(window: Selection, random: np.random.Generator) -> Thought:
    def say(start: str) -> str:
        return start + " " + ". ".join(" ".join(random.choice(WORDS, 11)) for _ in range(4))

    named = f"Frames {window.start} to {window.end} matter."
    return Thought(temporal=say(named), spatial=say("There."), linguistic=say("Words."), action=say("Look."))


def context() -> PublishContext:
    licence = Licence(
        "cc0-1.0", "Creative Commons Zero 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", True
    )
    return PublishContext(
        licences={"demo": licence},
        frames=frames_of,
        tracks=lambda query: track_of(query.video_id),
        settings={},
        seconds={},
        prompts="0" * 16,
        version="0",
        teacher="oracle",
    )
