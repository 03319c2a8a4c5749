"""`scores.html`: one file with the scores, and the worst cases with ground truth, prediction and an error map.

The page runs no script and loads nothing; all text is escaped. Same scores and frames, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from vtscot.budget import fit
from vtscot.errors import FrameError
from vtscot.evaluation.answers import Episodes
from vtscot.evaluation.evaluation import Evaluation, Row, item_of
from vtscot.evaluation.page_episodes import episode_part, replies_of
from vtscot.evaluation.summary import Summary, beside_published, worst
from vtscot.evaluation.tables import notes, percent, score_rows
from vtscot.masks import Rle
from vtscot.metrics import j_and_f
from vtscot.publish.outline import outline
from vtscot.sources.base import Source
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from vtscot.frames import Frames

CASES: Final = 12  # expressions that are shown
PIXELS: Final = 416 * 234  # of a picture
BINS: Final = 10
Data = dict[str, Any]


def render_page(evaluation: Evaluation, summary: Summary, source: Source, episodes: Episodes | None = None) -> str:
    """The page; with what a policy did in its `episodes`, where the predictions are its own."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    template = _text("vtscot.evaluation", "scores.html.j2")
    style = _text("vtscot.publish", "report.css") + _text("vtscot.evaluation", "scores.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    pictures = _Pictures(source)
    cases = [
        _case(evaluation, row, pictures) | {"replies": replies_of(episodes, row.query.id) if episodes else []}
        for row in worst(evaluation, CASES)
    ]
    return environment.from_string(template).render(
        title=f"Scores: {evaluation.source} {evaluation.split}",
        style=style,
        style_hash=f"sha256-{digest}",
        about=_about(evaluation),
        notes=notes(evaluation),
        tiles=[(name, percent(value)) for name, value in summary.means.items()],
        columns=list(summary.means),
        rows=[(name, [percent(means.get(c)) for c in summary.means]) for name, means in score_rows(summary)],
        benchmark=evaluation.rules.benchmark,
        published=beside_published(evaluation, summary),
        histogram=_histogram(evaluation),
        episodes=episode_part(episodes) if episodes else None,
        cases=cases,
        pictures=pictures.found,
    )


def _text(package: str, name: str) -> str:
    return files(package).joinpath("templates").joinpath(name).read_text(encoding="utf-8")


def _about(evaluation: Evaluation) -> str:
    frames = sum(row.frames for row in evaluation.rows)
    how = " semi-supervised: without first and last frame." * evaluation.rules.semi_supervised
    how += " As the released scripts compute it, slips included." * evaluation.rules.as_released
    return f"{len(evaluation.rows):,} expressions, {frames:,} frames. Scores in per cent.{how}"


def _histogram(evaluation: Evaluation) -> list[Data]:
    """Bars of expressions per tenth of J&F, in a box of 100 x 40."""
    counts = [0] * BINS
    for row in evaluation.rows:
        counts[min(int((row.scores.J + row.scores.F) / 2 * BINS), BINS - 1)] += 1
    most = max(counts, default=0) or 1
    return [
        {"x": i * 100 / BINS, "height": round(40 * count / most, 2), "count": count, "low": i * 10}
        for i, count in enumerate(counts)
    ]


class _Pictures:
    """Frames as JPEGs in base64, each once; `found` are (id, data, width, height) in the order of their use."""

    def __init__(self, source: Source) -> None:
        self.found: list[tuple[str, str, int, int]] = []
        self._source = source
        self._known: dict[tuple[str, int], str] = {}
        self._opened: dict[str, Frames] = {}

    def put(self, evaluation: Evaluation, video: str, frame: int, size: tuple[int, int]) -> str | None:
        """The id of a picture; None where the frame is not on disk or cannot be read."""
        from vtscot.frames import encode_jpeg

        key = video, frame
        if key in self._known:
            return self._known[key]
        try:
            if video not in self._opened:
                self._opened[video] = self._source.frames(evaluation.truth.index.videos[video])
            image = self._opened[video].image(frame, PIXELS)
        except FrameError:
            return None
        data = base64.b64encode(encode_jpeg(image, 70)).decode("ascii")
        self._known[key] = f"p{len(self.found)}"
        self.found.append((self._known[key], data, size[1], size[0]))
        return self._known[key]


def _case(evaluation: Evaluation, row: Row, pictures: _Pictures) -> Data:
    """One expression with its worst frames."""
    truth, place, query = evaluation.truth, evaluation.place, row.query
    video = truth.index.videos[query.video]
    item = item_of(truth, place.predictions, place.rules, video, query)
    pair = place.bench().pair(item)
    counted = item.asked.counted or range(len(video.frames))
    frames = [] if pair is None else [_frame(pair[0].target, pair[1], i) for i in row.scores.worst]
    for frame, i in zip(frames, row.scores.worst, strict=False):
        frame["name"] = video.frames[counted[i]]
        frame["picture"] = pictures.put(evaluation, query.video, counted[i], (frame["height"], frame["width"]))
    scores = [(name, percent(value)) for name, value in (("J", row.scores.J), ("F", row.scores.F))]
    scores += [(name, percent(value)) for name, value in row.scores.more.items()]
    j_and_f = percent((row.scores.J + row.scores.F) / 2)
    return {"query": query, "j_and_f": j_and_f, "scores": scores, "frames": frames, "no_target": not query.anno_ids}


def _frame(target: MaskTrack, prediction: MaskTrack, i: int) -> Data:
    """Outlines of ground truth, prediction, and of what both share, what was missed and what is wrong."""
    truth, predicted = target.decode(i), prediction.decode(i)
    region, boundary = j_and_f(truth, predicted)
    loose = target.width / fit(target.width, target.height, PIXELS)[0] / 2  # half a pixel of the picture
    parts = {
        "truth": truth,
        "predicted": predicted,
        "shared": truth & predicted,
        "missed": truth & ~predicted,
        "wrong": predicted & ~truth,
    }
    paths = {name: outline(Rle.from_array(mask), loose) for name, mask in parts.items()}
    size = {"width": target.width, "height": target.height}
    return {"J": percent(region), "F": percent(boundary), **size, **paths}
