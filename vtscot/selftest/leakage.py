"""The leak filter's recall and false alarms: hand-written sentences, alone and inside the oracle's own thoughts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vtscot.selftest.planting import Case
from vtscot.selftest.sentences import INNOCENT, LEAKS
from vtscot.selftest.unseen_sentences import UNSEEN_INNOCENT, UNSEEN_LEAKS
from vtscot.verify.leaks import Known, find_leak
from vtscot.verify.text import check_leakage

SLOTS: Final = {"future": 37, "shown": 20, "x": 120, "y": 45, "w": 60, "h": 33, "area": 1544}
KNOWN: Final = Known("the dog that runs to the left", frozenset({0, 10, 20, 30, 41}), box=frozenset({120, 45, 60, 33}))
_PARTS: Final = ("temporal", "spatial", "linguistic")


@dataclass(frozen=True)
class Share:
    """How many of how many were hit, and the texts that are on the wrong side."""

    hits: int
    total: int
    wrong: tuple[str, ...]

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else 0.0


def alone(sentences: Sequence[str], *, leaks: bool) -> Share:
    """The filter on single sentences, with nothing around them."""
    texts = [sentence.format(**SLOTS) for sentence in sentences]
    hit = [find_leak(text, Known(KNOWN.expression, KNOWN.frames, text, KNOWN.box)) is not None for text in texts]
    wrong = tuple(text for text, found in zip(texts, hit, strict=True) if found != leaks)
    return Share(sum(hit), len(texts), wrong)


def sentence_figures() -> dict[str, Share]:
    """Recall by kind, then false alarms; `unseen` is of the sentences that the filter was not made for."""
    made = {kind: alone(sentences, leaks=True) for kind, sentences in LEAKS.items()}
    unseen = tuple(sentence for sentences in UNSEEN_LEAKS.values() for sentence in sentences)
    return {
        **made,
        "unseen": alone(unseen, leaks=True),
        "innocent": alone(INNOCENT, leaks=False),
        "unseen innocent": alone(UNSEEN_INNOCENT, leaks=False),
    }


def planted(cases: Iterable[Case], leaks: Mapping[str, Sequence[str]] = LEAKS) -> dict[str, Share]:
    """Per kind: one sentence of it put into each thought of the oracle, at a place that comes from the query's id."""
    tallies: dict[str, list[tuple[str, bool]]] = {kind: [] for kind in leaks}
    for case in cases:
        for kind, sentences in leaks.items():
            spoilt, sentence = plant(case, kind, sentences)
            tallies[kind].append((f"{case.task.query.id}: {sentence}", not check_leakage(spoilt.episode).passed))
    return {
        kind: Share(sum(hit for _, hit in tally), len(tally), tuple(text for text, hit in tally if not hit))
        for kind, tally in tallies.items()
    }


def plant(case: Case, kind: str, sentences: Sequence[str]) -> tuple[Case, str]:
    """The case with a sentence put at the end of one part of one thought, and that sentence."""
    seed = int.from_bytes(hashlib.sha256(f"{case.task.query.id}/{kind}".encode()).digest()[:8], "big")
    turn = seed % len(case.episode.turns)
    sentence = sentences[seed // 8 % len(sentences)].format(**_slots(case, turn))
    name = _PARTS[seed // 4096 % 3]
    text = getattr(case.episode.turns[turn].thought, name)
    return case.with_thought(turn, **{name: f"{text} {sentence}"}), sentence


def _slots(case: Case, turn: int) -> dict[str, int]:
    """A frame that was not shown, one that was, and the box of the target where it is seen, else a made-up one."""
    shown = case.episode.shown_until(turn)
    hidden = sorted(set(range(11, case.episode.num_frames)) - shown) or [case.episode.num_frames + 3]
    slots = {**SLOTS, "future": hidden[len(hidden) // 2], "shown": max(shown)}
    target, frame = case.task.target, case.episode.observations[turn].decoded
    if target is None or not target.visible[frame]:
        return slots
    x, y, width, height = (round(float(value)) for value in target.boxes[frame])
    return {**slots, "x": x, "y": y, "w": width, "h": height, "area": int(target.areas[frame])}


def false_alarms(cases: Iterable[Case]) -> Share:
    """Hits on the oracle's clean thoughts."""
    checks = [(case.task.query.id, check_leakage(case.episode, case.task.target)) for case in cases]
    wrong = tuple(f"{name}: {check.detail}" for name, check in checks if not check.passed)
    return Share(len(wrong), len(checks), wrong)
