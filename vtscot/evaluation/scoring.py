"""Scores of one expression: J and F per frame, their means, and what its benchmark adds.

All values are 0 .. 1. A prediction that is missing scores zero in everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from vtscot.errors import MaskError
from vtscot.evaluation.benchmarks import Benchmark
from vtscot.evaluation.predictions import Prediction
from vtscot.masks import Bools, Floats
from vtscot.metrics import statistics, t_iou, track_accuracy, track_robustness, track_scores, v_iou
from vtscot.tracks import MaskTrack

WORST: Final = 3  # frames of each expression that a page may show


@dataclass(frozen=True)
class Rules:
    """A benchmark and how it is applied: `semi_supervised` as DAVIS does it, `as_released` with the scripts' slips."""

    benchmark: Benchmark
    semi_supervised: bool = False
    as_released: bool = False


class Truths(NamedTuple):
    """Ground truth of the counted frames: the target, its objects one by one, and (ReVOS) all that is annotated."""

    target: MaskTrack
    objects: tuple[MaskTrack, ...] = ()
    foreground: MaskTrack | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """What came out for one expression; `worst` are counted frames, the worst of each third of the video."""

    J: float
    F: float
    more: dict[str, float] = field(default_factory=dict)
    empty: bool = False  # nothing was predicted in any frame
    worst: tuple[int, ...] = ()


def names(rules: Rules) -> tuple[str, ...]:
    """What is reported beside J and F."""
    benchmark = rules.benchmark
    found = (("A", "R") if benchmark.pixels else ()) + (("tIoU", "vIoU") if benchmark.temporal else ())
    davis = ("J-recall", "J-decay", "F-recall", "F-decay") if rules.semi_supervised else ()
    return found + davis


def missing(rules: Rules) -> Scores:
    """The scores of an expression for which nothing was predicted."""
    return Scores(0.0, 0.0, dict.fromkeys(names(rules), 0.0))


def score(truths: Truths, prediction: Prediction, rules: Rules) -> Scores:
    """Score one prediction; MaskError for tracks of different sizes or lengths."""
    target, track = truths.target, prediction.track
    region, boundary = track_scores(target, track)
    more: dict[str, float] = {}
    if rules.benchmark.pixels:
        more |= _pixels(truths, prediction, rules)
    if rules.benchmark.temporal:
        seen = target.visible, track.visible
        more |= {"tIoU": t_iou(*seen), "vIoU": v_iou(region, *seen)}
    means = float(region.mean()), float(boundary.mean())
    if rules.semi_supervised:
        means, more = _semi_supervised(region, boundary, rules)
    return Scores(*means, more, not track.visible.any(), _worst(region + boundary))


def _worst(values: Floats) -> tuple[int, ...]:
    """The worst frame of each third of the video: neighbours look alike."""
    parts = np.array_split(np.arange(len(values)), WORST)
    return tuple(int(part[values[part].argmin()]) for part in parts if len(part))


def _semi_supervised(region: Floats, boundary: Floats, rules: Rules) -> tuple[tuple[float, float], dict[str, float]]:
    """Means without the first frame, which is given, and the last; recall and decay."""
    if len(region) < 3:
        raise MaskError(f"{len(region)} frames are too few: the first and the last are left out")
    j, f = (statistics(values[1:-1], as_released=rules.as_released) for values in (region, boundary))
    return (j.mean, f.mean), {"J-recall": j.recall, "J-decay": j.decay, "F-recall": f.recall, "F-decay": f.decay}


def _pixels(truths: Truths, prediction: Prediction, rules: Rules) -> dict[str, float]:
    """A and R of ReVOS."""
    target, track = truths.target, prediction.track
    foreground = target if truths.foreground is None else truths.foreground
    if not rules.as_released:
        a, r = track_accuracy(target, track), track_robustness(target, track, foreground)
        return {"A": float(a.mean()), "R": float(r.mean())}
    frames = [_as_released(truths.objects, foreground, prediction, i) for i in range(len(track))]
    a_mean, r_mean = np.array(frames, np.float64).mean(axis=0).tolist()
    return {"A": a_mean, "R": r_mean}


def _as_released(
    objects: tuple[MaskTrack, ...], foreground: MaskTrack, prediction: Prediction, frame: int
) -> tuple[float, float]:
    """A and R of a frame in the released script's arithmetic, which is modulo 256.

    Objects are summed, so that where two overlap the ground truth is 2, and a prediction keeps the value of its file
    (255 in most PNGs): such pixels never count as equal, and each wrong one weighs up to 255 times as much.
    """
    predicted: Bools = prediction.track.decode(frame)
    truth = np.zeros(predicted.shape, np.uint8)
    for track in objects:
        truth += track.decode(frame).view(np.uint8)
    values = predicted * np.uint8(prediction.value)
    wrong = int(((np.uint8(1) - truth) * values).sum())
    annotated = int(foreground.areas[frame])
    return float((truth == values).mean()), max(1 - wrong / (annotated + 1e-6), 0.0)
