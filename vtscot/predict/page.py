"""`trace.html`: one file with the query, every turn (what was shown, thought, chosen and segmented) and the masks.

The page runs no script and loads nothing; all text is escaped. Frames appear as small pictures, so its size does not
grow with the video.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from vtscot.budget import fit
from vtscot.episode import spread
from vtscot.masks import Rle
from vtscot.predict.trace import Trace, TraceTurn
from vtscot.publish.album import Album
from vtscot.publish.outline import outline

if TYPE_CHECKING:
    from vtscot.frames import Frames

SMALL: Final = 176 * 99  # pixels of a picture in the film
LARGE: Final = 640 * 360  # of the frame a mask was decoded on
MIDDLE: Final = 320 * 180  # of a frame among the masks
SAMPLED: Final = 12  # frames among the masks
PARTS: Final = {"temporal": "When", "spatial": "Where", "linguistic": "Which words", "action": "What next"}
BADGES: Final = {"answered": "answered", "truncated": "no answer", "unparsed": "not understood", "too-long": "too long"}
Data = dict[str, Any]


def render_trace(title: str, frames: Frames, traces: Sequence[Trace], about: str, notes: Sequence[str] = ()) -> str:
    """The page of one video and the queries about it, under `title`; `about` says what predicted it."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    style = _text("vtscot.publish", "report.css") + _text("vtscot.predict", "trace.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    width, height = frames.size(0)
    pictures = _Pictures(frames)
    return environment.from_string(_text("vtscot.predict", "trace.html.j2")).render(
        title=title,
        style=style,
        style_hash=f"sha256-{digest}",
        about=about,
        notes=list(notes),
        width=width,
        height=height,
        frames=len(frames),
        queries=[_query(trace, pictures) for trace in traces],
    )


def _text(package: str, name: str) -> str:
    return files(package).joinpath("templates").joinpath(name).read_text(encoding="utf-8")


class _Pictures:
    """Frames as data addresses, and outlines of masks at the precision of the pictures."""

    def __init__(self, frames: Frames) -> None:
        self._album = Album(lambda _: frames)
        self.width, self.height = frames.size(0)

    def put(self, index: int, max_pixels: int) -> str:
        return "data:image/jpeg;base64," + self._album.pictures[self._album.put("", index, max_pixels)]

    def outline(self, mask: Rle | None, max_pixels: int) -> str:
        """Off by half a pixel of the picture at most."""
        loose = self.width / fit(self.width, self.height, max_pixels)[0] / 2
        return "" if mask is None else outline(mask, loose)


def _query(trace: Trace, pictures: _Pictures) -> Data:
    count = len(trace.track)
    spans = trace.track.spans()
    sampled = sorted({*spread(0, count - 1, SAMPLED), trace.keyframe})
    state = "absent" if trace.absent else trace.end
    return {
        "expression": trace.expression,
        "state": state,
        "badge": "says it is absent" if trace.absent and trace.answered else BADGES[trace.end],
        "reason": trace.reason,
        "lines": [f"query {trace.exp_id}", f"{len(trace.turns)} turn{'s' * (len(trace.turns) != 1)}"],
        "turns": [_turn(turn, pictures) for turn in trace.turns],
        "spans": spans,
        "keyframe": trace.keyframe,
        "told": f"in {trace.visible} of {count} frames, followed from frame {trace.keyframe}"
        if trace.visible
        else "in no frame",
        "wall": [_masked(i, trace.track.rle(i), pictures) for i in sampled],
    }


def _turn(turn: TraceTurn, pictures: _Pictures) -> Data:
    said = turn.turn
    window = said and [said.selection.start, said.selection.end, said.selection.keyframe]
    return {
        "does": "breaks off" if said is None else {"select": "looks again", "answer": "answers"}[said.action],
        "shown": _shown(turn, pictures),
        "frame": turn.frame,
        "sharp": _sharp(turn, pictures),
        "window": window,
        "thought": [] if said is None else [(label, getattr(said.thought, part)) for part, label in PARTS.items()],
        "error": turn.error or "",
        "text": turn.text,
    }


def _shown(turn: TraceTurn, pictures: _Pictures) -> list[Data]:
    """Each frame of the observation once, in order of time, in the sharpest role it is shown in."""
    roles = {shown.index: shown.role for shown in turn.observation.frames}  # the sharper roles come last
    return [{"index": i, "role": role, "picture": pictures.put(i, SMALL)} for i, role in sorted(roles.items())]


def _sharp(turn: TraceTurn, pictures: _Pictures) -> Data:
    lines = [f"frame {turn.frame}"]
    path = pictures.outline(turn.mask, LARGE)
    if turn.object_score is not None:
        lines.append(f"the target is here with probability {(1 + math.tanh(turn.object_score / 2)) / 2:.2f}")
    if turn.mask is None:
        lines.append("no [SEG], so no mask")
    elif not path:
        lines.append("an empty mask")
    alt = f"frame {turn.frame} with the mask of this turn"
    return {"picture": pictures.put(turn.frame, LARGE), "alt": alt, "outline": path, "lines": lines}


def _masked(index: int, mask: Rle | None, pictures: _Pictures) -> Data:
    return {
        "index": index,
        "picture": pictures.put(index, MIDDLE),
        "alt": f"frame {index} {'without a mask' if mask is None else 'with its mask'}",
        "outline": pictures.outline(mask, MIDDLE),
        "lines": [str(index)],
    }
