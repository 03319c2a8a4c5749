"""An episode as a drawing: where the target is visible, what was shown before each turn, windows and keyframes.

It is drawn from plan and episode alone, so it holds no pixel and no mask of the video and may be published for any
source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vtscot.publish.plots import panel, rect, text
from vtscot.records import Episode, Fact, Observation, Plan, Turn

WIDTH: Final = 860
LEFT: Final = 104.0
RIGHT: Final = 24.0
_TOP: Final = 66.0
_LANE: Final = 46.0
_TICKS: Final = 6


def draw_timeline(episode: Episode, plan: Plan) -> str:
    """The drawing as SVG, 860 pixels wide, one lane for the target and one per turn."""
    scale = _Scale(episode.num_frames)
    lanes = len(episode.turns) + 1
    body = [*_target(scale, plan.facts)]
    for number, (observation, turn) in enumerate(zip(episode.observations, episode.turns, strict=True)):
        body += _turn(scale, number, observation, turn)
    bottom = _TOP + lanes * _LANE
    body += [*_axis(scale, bottom), *_legend(bottom + 44)]
    turns = f"{len(episode.turns)} turn{'' if len(episode.turns) == 1 else 's'}"
    note = f"{episode.num_frames} frames, {turns}: what was shown, and which window was chosen"
    return panel("One episode along its video", note, body, WIDTH, int(bottom + 66))


class _Scale:
    """Frames as places from left to right; a frame is as wide as its share of the video."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.frame = (WIDTH - LEFT - RIGHT) / num_frames

    def start(self, frame: int) -> float:
        return LEFT + frame * self.frame

    def middle(self, frame: int) -> float:
        return LEFT + (frame + 0.5) * self.frame

    def span(self, y: float, height: float, start: int, end: int, css: str, round_: float = 3) -> str:
        wide = max((min(end, self.num_frames - 1) - start + 1) * self.frame, 2)
        return rect(self.start(start), y, wide, height, css, round_)


def _target(scale: _Scale, facts: tuple[Fact, ...]) -> Iterator[str]:
    yield text(LEFT - 14, _TOP + 28, "target", "i", "end")
    yield rect(LEFT, _TOP + 18, WIDTH - LEFT - RIGHT, 12, "w", 3)
    for fact in facts:
        if fact.kind == "visible" and fact.start <= fact.end < scale.num_frames:
            yield scale.span(_TOP + 18, 12, fact.start, fact.end, "g")


def _turn(scale: _Scale, number: int, observation: Observation, turn: Turn) -> Iterator[str]:
    top = _TOP + (number + 1) * _LANE
    window = turn.selection
    name = "answer" if turn.action == "answer" else f"look {number + 1}"
    yield text(LEFT - 14, top + 28, name, "i", "end")
    yield rect(LEFT, top + 23, WIDTH - LEFT - RIGHT, 2, "w", 1)
    yield scale.span(top + 9, 30, window.start, window.end, "o", 5)
    sharp = set(observation.sharp)
    for index in sorted(set(observation.indices)):
        tall = 18.0 if index in sharp else 8.0
        yield rect(scale.middle(index) - 1.25, top + 24 - tall / 2, 2.5, tall, "f", 1)
    yield rect(scale.middle(window.keyframe) - 2, top + 5, 4, 38, "k", 2)


def _axis(scale: _Scale, y: float) -> Iterator[str]:
    last = scale.num_frames - 1
    steps = min(_TICKS, last) or 1
    for frame in sorted({round(last * i / steps) for i in range(steps + 1)}):
        yield text(scale.middle(frame), y + 12, frame, "s", "middle")


def _legend(y: float) -> Iterator[str]:
    x = LEFT
    yield rect(x, y - 10, 22, 11, "g", 3)
    yield text(x + 29, y, "target visible", "s")
    yield rect(x + 140, y - 12, 22, 15, "o", 4)
    yield text(x + 169, y, "window chosen", "s")
    yield rect(x + 292, y - 14, 4, 19, "k", 2)
    yield text(x + 303, y, "keyframe", "s")
    yield rect(x + 388, y - 10, 2.5, 8, "f", 1)
    yield rect(x + 394, y - 14, 2.5, 18, "f", 1)
    yield text(x + 404, y, "frame shown before the turn, small and sharp", "s")
