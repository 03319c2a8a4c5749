"""`import_released`: a released file as records of a dataset, joined with the user's copy of its source.

Every record is imported or refused with a reason. An imported one is kept and says so in its checks: the checks that
need nobody to point at the target are made and recorded, but decide nothing. With `verify` the blind grounder of the
recipe reads the thoughts (offline), and its verdict decides what is kept. Low-resolution frames, which the format does
not name, are those of the budget.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from vtscot import __version__
from vtscot.budget import Budget
from vtscot.errors import EpisodeError
from vtscot.interchange.documents import Unreadable, records
from vtscot.interchange.items import Copy
from vtscot.interchange.losses import Refused
from vtscot.interchange.released import read_episode
from vtscot.interchange.rules import FIELDS, OPTIONAL, check_released
from vtscot.interchange.validating import Finding
from vtscot.prompts import prompts_digest
from vtscot.records import Check, Episode, Outcome, Plan, Provenance, Query, Record, Selection, Step, Verdict
from vtscot.sources.names import printable
from vtscot.tracks import MaskTrack
from vtscot.verify import text
from vtscot.verify.acts import check_action
from vtscot.verify.base import VerifySettings
from vtscot.verify.verifier import check_keyframe, check_window

TEACHER: Final = "imported"
NOBODY: Final = "none"  # as grounder and segmenter of a record that nobody graded


@dataclass
class Imported:
    """What became of the records of a file: `outcomes` of those imported, `refused` for each of the others.

    `losses` count records by the name of what had no place.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    unknown_fields: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return len(self.outcomes) + len(self.refused)

    @property
    def reasons(self) -> dict[str, int]:
        """Refused records by rule, most frequent first."""
        counts = Counter(finding.rule for finding in self.refused)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def import_released(path: Path, copy: Copy, budget: Budget, count: Callable[[], None] = lambda: None) -> Imported:
    """Read a file of released records about the videos of `copy`; DataError where it is no list of records."""
    result = Imported()
    reader = _Reader(copy, budget, _digest(path), result)
    for number, value in enumerate(records(path)):
        try:
            result.outcomes.append(reader.read(number, value))
        except _Rejected as rejected:
            result.refused.append(rejected.finding)
        count()
    return result


class _Rejected(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.line())
        self.finding = finding


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class _Reader:
    """Reads records one by one and remembers whose turn it was already."""

    def __init__(self, copy: Copy, budget: Budget, digest: str, result: Imported) -> None:
        self._copy, self._budget, self._digest, self._result = copy, budget, digest, result
        self._known = _Known(copy)
        self._seen: dict[str, int] = {}  # query id -> number of the record that was imported

    def read(self, number: int, value: object) -> Outcome:
        """The outcome of a record; `_Rejected` says which rule it breaks."""
        if isinstance(value, Unreadable):
            raise _Rejected(Finding(number, "", "json", value.why))
        broken = next(check_released(value), None)
        if broken is not None:
            raise _Rejected(Finding(number, *broken))
        assert isinstance(value, dict)
        try:
            return self._outcome(number, value)
        except Refused as refused:
            raise _Rejected(Finding(number, "", refused.rule, refused.detail)) from None

    def _outcome(self, number: int, value: dict[str, Any]) -> Outcome:
        query, listed = self._known.query(value)
        if query.id in self._seen:
            raise Refused("duplicate", f"record {self._seen[query.id]} is of the same query")
        try:
            episode = read_episode(value, query, self._budget)
            record = self._record(number, query, episode)
        except EpisodeError as error:
            raise Refused("grammar", str(error)) from None
        except ValidationError as error:
            raise Refused("episode", error.errors()[0]["msg"]) from None
        self._seen[query.id] = number
        unknown = value.keys() - FIELDS.keys() - set(OPTIONAL)
        self._result.unknown_fields |= unknown
        self._result.losses.update(["unknown-fields"] if unknown else [])
        self._result.losses.update([] if listed else ["new-expression"])
        return Outcome(query=query, state="kept", record=record)

    def _record(self, number: int, query: Query, episode: Episode) -> Record:
        provenance = Provenance(
            vtscot=__version__, teacher=TEACHER, recipe=self._digest, prompts=prompts_digest(), seed=0
        )
        target = self._copy.index.target(query)
        return Record(
            query=query,
            plan=plan_of(episode),
            episode=episode,
            verdict=unverified(number, episode, target),
            provenance=provenance,
        )


class _Known:
    """What the source says: its videos, what is wrong with them, and its expressions."""

    def __init__(self, copy: Copy) -> None:
        index = copy.index
        self._index, self._source = index, copy.source
        self._skipped = {query.id: (reason, detail) for query, reason, detail in index.skipped}
        self._faults = {
            fault.video: fault
            for fault in reversed(index.faults)
            if fault.fatal and fault.video is not None and fault.exp_id is None and fault.anno_id is None
        }
        self._queries: dict[tuple[str, str, tuple[str, ...]], Query] = {}
        for query in index.expressions:
            self._queries.setdefault(_key(query.video, query.expression, query.anno_ids), query)

    def query(self, record: dict[str, Any]) -> tuple[Query, bool]:
        """The query of a record and whether the source lists it; Refused where the source does not have its data."""
        self._check_video(record["video_name"], record["frames"])
        annos = tuple(map(str, record["anno_id"]))
        found = self._queries.get(_key(record["video_name"], record["exp"], annos))
        if found is not None and found.id in self._skipped:
            raise Refused(*self._skipped[found.id])
        lacking = [anno for anno in annos if anno not in self._index.objects(record["video_name"])]
        if lacking:
            raise Refused("unknown-anno", f"the source has no usable masks of {printable(lacking[0])} in that video")
        query = found or self._new(record["video_name"], record["exp"], annos)
        target = self._index.target(query)
        if target is None or not target.visible.any():
            raise Refused("never-visible", "its objects are in no frame of the video")
        # The record's own words and order: what was imported is what is exported again.
        objects = dict(zip(query.anno_ids, query.object_ids, strict=False))
        own = {
            "expression": record["exp"],
            "anno_ids": annos,
            "object_ids": tuple(objects[a] for a in annos if a in objects),
        }
        return query.model_copy(update=own), found is not None

    def _check_video(self, name: str, frames: list[str]) -> None:
        video = self._index.videos.get(name)
        fault = self._faults.get(name)
        if fault is not None:
            raise Refused(fault.kind, fault.detail)
        if video is None:
            raise Refused(
                "unknown-video", f"split {self._source.split} of {self._source.name} has no {printable(name)}"
            )
        if video.frames != tuple(frames):
            detail = f"{len(frames)} frames where the source has {len(video.frames)}"
            if len(frames) == len(video.frames):
                i = next(i for i, (a, b) in enumerate(zip(frames, video.frames, strict=True)) if a != b)
                detail = f"frame {i} is {printable(frames[i])} where the source has {video.frames[i]}"
            raise Refused("frames-differ", detail)

    def _new(self, video: str, expression: str, annos: tuple[str, ...]) -> Query:
        """A query that the source does not list; its id follows from what it says about which objects."""
        digest = hashlib.sha256("\0".join((expression, *annos)).encode()).hexdigest()[:12]
        return Query(
            source=self._source.name,
            split=self._source.split,
            video=video,
            exp_id=f"imported-{digest}",
            expression=expression,
            object_ids=(),
            anno_ids=annos,
        )


def _key(video: str, expression: str, annos: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    return video, " ".join(expression.split()).casefold(), tuple(sorted(annos))


def plan_of(episode: Episode) -> Plan:
    """The plan that an episode followed: its own windows, stretched to a keyframe outside, and no facts."""
    steps = []
    for turn in episode.turns:
        own = turn.selection
        window = Selection(start=min(own.start, own.keyframe), end=max(own.end, own.keyframe), keyframe=own.keyframe)
        steps.append(Step(selection=window, keyframes=(own.keyframe,)))
    difficulty = min(1.0, (len(steps) - 1) / 2)  # as mining would need to be to plan so many looks
    return Plan(query_id=episode.query_id, num_frames=episode.num_frames, difficulty=difficulty, steps=tuple(steps))


def unverified(number: int, episode: Episode, target: MaskTrack | None) -> Verdict:
    """Kept, with the checks that need no grounder on record: they say how an episode would fare, and decide nothing."""
    checks = (Check(name="imported", passed=True, detail=f"record {number} of the file; not verified"),)
    return Verdict(kept=True, checks=(*checks, *_checks(episode, target)), grounder=NOBODY, segmenter=NOBODY)


def _checks(episode: Episode, target: MaskTrack | None) -> Iterator[Check]:
    settings = VerifySettings()
    yield text.check_format(episode.turns)
    yield text.check_length(episode.turns, settings)
    yield text.check_language(episode.turns, settings)
    yield text.check_leakage(episode, target)
    yield text.check_repetition(episode.turns, settings)
    yield text.check_expression(episode, settings)
    yield check_action(episode.turns)
    if target is not None:
        yield check_window(episode.turns[-1].selection, target, settings)
        yield check_keyframe(episode, target)
