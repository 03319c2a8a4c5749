"""The one episode that a card shows: which one it is, what is known of it, and its picture.

Pictures show frames only where the licence allows to pass them on; the caller says so by giving `frames`.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vtscot.episode import dialogue
from vtscot.records import Episode, Plan, Record

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from vtscot.frames import Frames
    from vtscot.tracks import MaskTrack

WIDTH: Final = 1200
QUALITY: Final = 88
STRIP: Final = 8  # frames of the first look in the upper row
_GAP: Final = 10
_FILM, _INK, _SOFT = (23, 24, 27), (233, 231, 225), (163, 168, 176)
_MASK: Final = (0, 208, 132)


@dataclass(frozen=True, eq=False)
class Example:
    """An episode to show; `frames` is None where they may not leave home."""

    source: str
    video: str
    expression: str
    episode: Episode
    plan: Plan
    keyframe_iou: float | None
    frames: Frames | None = None
    track: MaskTrack | None = None

    @property
    def dialogue(self) -> str:
        """The episode as a model reads and writes it: one paragraph per message, images as `<image>`."""
        lines = []
        for message in dialogue(self.episode)[1:]:
            parts = "".join("<image> " if part.type == "image" else part.text or "" for part in message.content)
            lines.append(f"[{message.role}]\n{parts.strip()}")
        return "\n\n".join(lines)


def pick_example(records: Sequence[Record], free: Collection[str] = ()) -> Record | None:
    """The kept record to show: of a source in `free` if there is any, with a target, of several turns, and of those
    the one with the best keyframe IoU."""
    ranked = ((rank(record, record.query.source in free), record) for record in records if record.verdict.kept)
    return min(ranked, key=lambda pair: pair[0], default=(None, None))[1]


def rank(record: Record, free: bool) -> tuple[bool, bool, bool, float, str]:
    """The order in which records would be shown."""
    query, verdict = record.query, record.verdict
    return ranked(query.id, free, bool(query.anno_ids), len(record.episode.turns), verdict.keyframe_iou)


def ranked(
    name: str, free: bool, target: bool, turns: int, keyframe_iou: float | None
) -> tuple[bool, bool, bool, float, str]:
    """Sorts what is best to show first, for an episode of which only this is known."""
    return not free, not target, turns < 2, -(keyframe_iou or 0.0), name


def draw_example(example: Example) -> bytes | None:
    """A JPEG: frames of the first look in a strip, below it the frame of each turn's mask; None without frames."""
    if example.frames is None:
        return None
    from PIL import Image

    episode = example.episode
    first = sorted(set(episode.observations[0].indices))
    strip = [first[i] for i in np.linspace(0, len(first) - 1, min(STRIP, len(first))).round().astype(int)]
    decoded = [observation.decoded for observation in episode.observations]
    rows = [_row(example, strip, [f"{i}" for i in strip]), _row(example, decoded, _captions(example))]
    height = sum(picture.height for picture in rows) + _GAP * (len(rows) + 1)
    canvas = Image.new("RGB", (WIDTH, height), _FILM)
    y = _GAP
    for picture in rows:
        canvas.paste(picture, (0, y))
        y += picture.height + _GAP
    out = io.BytesIO()
    canvas.save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


def _captions(example: Example) -> list[str]:
    captions = []
    for i, (observation, turn) in enumerate(zip(example.episode.observations, example.episode.turns, strict=True)):
        name = "answer" if turn.action == "answer" else f"look {i + 1}"
        there = example.track is not None and example.track.rle(observation.decoded) is not None
        captions.append(f"{name}: frame {observation.decoded}{'' if there else ', the target is not there'}")
    return captions


def _row(example: Example, indices: Sequence[int], captions: Sequence[str]) -> Image:
    """Frames side by side over the whole width, each with its caption below."""
    from PIL import Image, ImageDraw

    count = max(len(indices), 2)  # an only frame does not fill the width
    wide = (WIDTH - _GAP * (count + 1)) // count
    pictures = [_painted(example, i, wide) for i in indices]
    tall, line = max(picture.height for picture in pictures), 24 if wide > 200 else 20
    row = Image.new("RGB", (WIDTH, tall + line), _FILM)
    draw = ImageDraw.Draw(row)
    left = (WIDTH - len(pictures) * (wide + _GAP) + _GAP) // 2
    for picture, caption in zip(pictures, captions, strict=True):
        row.paste(picture, (left, 0))
        _write(draw, left, tall, line, caption)
        left += wide + _GAP
    return row


def _write(draw: ImageDraw, x: int, y: int, line: int, caption: str) -> None:
    from PIL import ImageFont

    font: Any = ImageFont.load_default(line - 7)
    draw.text((x + 2, y + 4), caption, fill=_INK if line > 20 else _SOFT, font=font)


def _painted(example: Example, index: int, width: int) -> Image:
    """Frame `index` at that width with its mask tinted and outlined, where it has one."""
    import cv2
    from PIL import Image

    from vtscot.masks import decode, resize

    assert example.frames is not None
    frame = example.frames.image(index)
    height = max(1, round(width * frame.height / frame.width))
    pixels = np.array(frame.resize((width, height), Image.Resampling.LANCZOS))
    rle = None if example.track is None else example.track.rle(index)
    if rle is not None:
        mask = decode(resize(rle, height, width), order="C")
        pixels[mask] = (0.6 * pixels[mask] + 0.4 * np.array(_MASK)).astype(np.uint8)
        borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(pixels, borders, -1, _MASK, 1 + width // 300, cv2.LINE_AA)
    return Image.fromarray(pixels)
