"""How a policy answered one query, and what becomes of many such answers: predictions to score, scores of episodes.

An `Answer` is one line of `episodes.jsonl`; nothing else is needed to write predictions and scores again. No torch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from vtscot.evaluation.episodes import EpisodeScore, score_episode, summarize_episodes
from vtscot.evaluation.extras import HasActions
from vtscot.evaluation.truth import Truth, TruthReader, within
from vtscot.files import whole_file
from vtscot.masks import Rle
from vtscot.records import Episode, Frozen, Index, Query
from vtscot.tracks import MaskTrack

End = Literal["answered", "truncated", "unparsed", "too-long", "failed"]


class Answer(Frozen):
    """What came of one query. `episode` holds the turns that parse; the mask and the frames are those of the last.

    Without `masks` there is no prediction: the query failed, no turn parses, or the masks were not asked for.
    """

    query_id: str
    video: str
    exp_id: str
    kind: str | None = None
    end: End
    reason: str | None = None  # why it failed; with `detail`
    detail: str = ""
    seed: int = 0
    replies: tuple[str, ...] = ()  # as they were written
    error: str | None = None  # what is wrong with the last of them
    episode: Episode | None = None
    size: tuple[int, int] | None = None  # (height, width) of the masks
    decoded: Index | None = None  # the frame on which the last mask was decoded
    mask: str | None = None  # COCO counts there; None: empty
    object_score: float | None = None  # logit that the target is in that frame
    keyframe: Index | None = None  # the frame it was propagated from
    masks: tuple[str | None, ...] | None = None  # COCO counts per frame

    @property
    def failed(self) -> bool:
        """True where there was no episode for a reason that is not the policy's."""
        return self.end == "failed"

    @property
    def rle(self) -> Rle | None:
        """The last mask on the frame it was decoded on; None where it is empty."""
        return Rle(*self.size, self.mask.encode("ascii")) if self.mask is not None and self.size is not None else None


@dataclass(frozen=True)
class Episodes:
    """What a policy did, beside the scores of its masks."""

    about: Mapping[str, Any]  # the policy and how it was used
    figures: Mapping[str, Any]  # of all episodes, as JSON
    scores: Mapping[str, EpisodeScore]  # by id of the query
    asked: tuple[str, ...]  # ids of all queries, answered or not
    answer: Callable[[str], Answer | None]  # by id of the query

    def plain(self) -> dict[str, Any]:
        """What `--json` adds to the scores."""
        return {"policy": dict(self.about), "episodes": dict(self.figures)}


def episode_figures(answers: Iterable[Answer], scores: Sequence[EpisodeScore]) -> dict[str, Any]:
    """The summary of the episodes, how many queries were asked, how each ended, and why some failed."""
    ends: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for answer in answers:
        ends[answer.end] += 1
        reasons.update([answer.reason or "unknown"] if answer.failed else [])
    counts = {"asked": ends.total(), "ended": dict(sorted(ends.items())), "failed": dict(sorted(reasons.items()))}
    return {**counts, **summarize_episodes(scores)}


def score_answer(answer: Answer, target: MaskTrack | None) -> EpisodeScore:
    """The episode of an answer against the target; None where nothing is meant."""
    turns = len(answer.episode.turns) if answer.episode is not None else 0
    return score_episode(
        answer.episode,
        target,
        [*[None] * (turns - 1), answer.rle][:turns],
        parsed=answer.end in ("answered", "truncated"),
        query_id=answer.query_id,
        kind=answer.kind,
    )


def score_answers(answers: Iterable[Answer], truth: Truth) -> Iterator[EpisodeScore]:
    """Score the episodes of `answers`, but for those that failed, in their order.

    Where the ground truth is held out, nothing is known of targets: neither that they are there nor that they are not.
    """
    reader = TruthReader(truth.index.directory, None)
    queries = {query.id: query for query in truth.index.expressions}
    for answer in answers:
        if answer.failed:
            continue
        if truth.source.has_masks:
            yield score_answer(answer, _target(answer, queries[answer.query_id], truth, reader))
        else:
            yield replace(score_answer(answer, None), absent_empty=None)


def write_predictions(path: Path, answers: Iterable[Answer]) -> int:
    """Write the interchange JSON of `answers`, which come video by video; returns how many have masks."""
    count = 0
    with whole_file(path) as file:
        file.write(b"{")
        with_masks = (answer for answer in answers if answer.masks is not None)
        for place, (video, of_video) in enumerate(groupby(with_masks, key=lambda answer: answer.video)):
            file.write((",\n" * bool(place) + json.dumps(video) + ": {").encode())
            for i, answer in enumerate(of_video):
                file.write((",\n" * bool(i) + f"{json.dumps(answer.exp_id)}: {_entry(answer)}").encode())
                count += 1
            file.write(b"}")
        file.write(b"}\n")
    return count


def _entry(answer: Answer) -> str:
    size = list(answer.size or ())
    masks = [None if counts is None else {"size": size, "counts": counts} for counts in answer.masks or ()]
    return json.dumps({"prediction_masks": masks}, separators=(",", ":"))


def _target(answer: Answer, query: Query, truth: Truth, reader: TruthReader) -> MaskTrack | None:
    """The target's masks; outside the action that a query is about there is none."""
    video = truth.index.videos[query.video]
    size = truth.size(video, query) or answer.size
    if not query.anno_ids or size is None:
        return None
    target = reader.target(query.anno_ids, len(video.frames), size)
    return within(target, truth.source.action(query) if isinstance(truth.source, HasActions) else None)
