"""Do the masks of a track fit the frames they are said to belong to? If not: how far are they off, and how sure is it?

Twelve masks of the track are each laid on their own frame, at every shift (`edges`). A mask that sits on its object
scores best at its place. A track is suspect where a quarter of the masks do not; then up to 36 are looked at, those
that do not fit are tried on the other frames as well, and the one law (`laws`) is sought by which most of them fit:
they are shifted by `a + b * i` pixels, or mask i belongs to frame `a + b * i`.

A track is reported only where at least four masks, and a fifth of all looked at (half, where masks are mere boxes),
fit by that law and clearly not at their place; where three quarters of those that tell either way say so; where the
masks move (any number of looks at one still picture is one look); and where motion does not say the opposite: pixels
change most along the outline of what moves, so at the right place more changes along the outline.

All else cannot be decided and is not reported: still masks, objects without visible edges, tracks seen too briefly, and
masks that are off by no more than outlines are anyway (4 pixels of a frame of 413 x 232, one per cent of its width).
The confidence is the lower end of the 80 % interval of the share of masks that say so, lowered where they say it by
less than four standard deviations on average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vtscot.doctor.edges import change_along
from vtscot.doctor.laws import Line, fit_line
from vtscot.doctor.looks import LOOKS, MORE_LOOKS, TOLERANCE, Look, best_frames, look_at, score_at
from vtscot.doctor.scene import Scene
from vtscot.tracks import MaskTrack, TrackTable

FITS: Final = 4.0  # score from which a mask is said to fit: clean tracks have 5.2 and more in 99 of 100 looks
FITS_BESIDE: Final = 5.0  # the same for a place that is the best of thousands: chance alone gives 4
WORSE: Final = 0.6  # a mask does not fit where it scores less than this share of what it scores elsewhere
ALIKE: Final = 0.8  # it does fit where it scores more than this share
MIN_LOOKS: Final = 4
MIN_PART: Final = 0.2  # of all looks must say that the law fits
MIN_PART_BOXES: Final = 0.5  # the same for masks that fill their boxes: a rectangle finds straight edges anywhere
FILLED: Final = 0.95
MIN_SHARE: Final = 0.75  # of the looks that tell either way
MIN_MOVED: Final = 3.0  # pixels of the scene
_SLACK: Final = 3.0  # pixels, or frames, that a look may be off the law's line
_CLEARLY: Final = 1.3  # so many times as much motion
_MARGIN: Final = 4.0  # mean gain in score from which the margin does not lower the confidence


@dataclass(frozen=True, slots=True)
class Misfit:
    """A track whose masks do not fit: how they would (`law` in words), and how sure it is (0..1)."""

    law: str
    agreeing: int
    against: int
    gain: float
    confidence: float

    def __str__(self) -> str:
        told = self.agreeing + self.against
        return f"{self.law}; so say {self.agreeing} of {told} masks that tell, by {self.gain:.1f} standard deviations"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a law puts one mask: on which frame, shifted by how much, and what it scores there."""

    frame: int
    dx: float
    dy: float
    score: float
    needed: float = FITS


_NOWHERE: Final = _Place(0, 0.0, 0.0, -math.inf)  # beyond the video
_Law = tuple[str, list[_Place]]  # in words; one place per look


def find_misfit(track: MaskTrack, table: TrackTable, scene: Scene) -> Misfit | None:
    """What is wrong with the alignment of a track, or None where nothing is or nothing can be told."""
    looks = look_at(track, table, scene)
    if len(looks) < MIN_LOOKS or _moved(table, looks, scene) < MIN_MOVED or not _suspect(looks):
        return None
    looks = look_at(track, table, scene, MORE_LOOKS)
    laws = [law for law in (_in_time(looks, scene), _in_space(looks, scene)) if law is not None]
    needed = math.ceil(len(looks) * (MIN_PART_BOXES if _boxes(table, looks) else MIN_PART))
    judged = [found for law in laws if (found := _judge(law, looks, scene, needed)) is not None]
    return max(judged, key=lambda found: found.agreeing * found.gain, default=None)


def _moved(table: TrackTable, looks: Sequence[Look], scene: Scene) -> float:
    """How far the edges of the box have moved between the looks, in pixels of the scene."""
    boxes = table.box[[look.frame for look in looks]]
    sides = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1) / scene.scale
    return float(np.ptp(sides, axis=0).max())


def _boxes(table: TrackTable, looks: Sequence[Look]) -> bool:
    """True where most masks are boxes."""
    frames = [look.frame for look in looks]
    return bool(np.median(table.area[frames] / np.maximum(table.box[frames, 2:].prod(axis=1), 1)) >= FILLED)


def _suspect(looks: Sequence[Look]) -> bool:
    """True where a quarter of the masks fit better elsewhere on their frame, or fit nowhere in particular."""
    return sum(map(_fine, looks)) < 0.75 * len(looks)


def _fine(look: Look) -> bool:
    """True where a mask fits at its place, and nowhere else much better."""
    return look.here >= max(FITS, ALIKE * look.fits.peak[0])


def _in_space(looks: Sequence[Look], scene: Scene) -> _Law | None:
    peaks = [(look.frame, *look.fits.peak) for look in looks if not _fine(look)]
    clear = [(frame, dx, dy) for frame, score, dx, dy in peaks if score >= FITS]
    shifts = np.array([peak[1:] for peak in clear], np.float64).reshape(-1, 2)
    line = fit_line([peak[0] for peak in clear], shifts, _SLACK)
    if line is None:
        return None
    places = []
    for look in looks:
        dx, dy = (float(value) for value in line.at(look.frame))
        places.append(_Place(look.frame, dx, dy, look.fits.near(dx, dy, TOLERANCE), FITS_BESIDE))
    return _shift_in_words(line, looks, scene), places


def _shift_in_words(line: Line, looks: Sequence[Look], scene: Scene) -> str:
    first, last = (line.at(look.frame) * scene.scale for look in (looks[0], looks[-1]))
    if np.abs(first - last).max() <= _SLACK * scene.scale:
        dx, dy = (first + last) / 2
        return f"the masks fit {_pixels(dx, dy)} away"
    begun, ended = f"{_pixels(*first)} away in frame {looks[0].frame}", f"{_pixels(*last)} in frame {looks[-1].frame}"
    return f"the masks drift: they fit {begun} and {ended}"


def _pixels(dx: float, dy: float) -> str:
    return f"({dx:+.0f}, {dy:+.0f}) px"


def _in_time(looks: Sequence[Look], scene: Scene) -> _Law | None:
    unfit = [look for look in looks if not _fine(look)]
    step = max(1, -(-len(unfit) // LOOKS))  # some of them show the line; how many are on it is counted over all
    some = unfit[::step]
    found = zip(some, best_frames(some, scene), strict=True)
    clear = [(look.frame, j) for look, (j, score) in found if score >= FITS]
    line = fit_line([i for i, _ in clear], np.array([[j] for _, j in clear], np.float64).reshape(-1, 1), _SLACK)
    if line is None:
        return None
    places = []
    for look in looks:
        meant = round(float(line.at(look.frame)[0]))
        near = [j for j in range(meant - 1, meant + 2) if 0 <= j < len(scene)]
        places += [
            max(
                (_Place(j, 0.0, 0.0, score_at(look, j, scene)) for j in near), key=lambda at: at.score, default=_NOWHERE
            )
        ]
    return _frames_in_words(line, looks), places


def _frames_in_words(line: Line, looks: Sequence[Look]) -> str:
    slope = float(line.slope[0])
    if abs(slope - 1) < 0.1:
        middle = looks[len(looks) // 2].frame
        return f"mask i fits frame i{round(float(line.at(middle)[0]) - middle):+d}"
    return f"mask i fits frame {slope:.2f} * i {float(line.start[0]):+.0f}"


def _judge(law: _Law, looks: Sequence[Look], scene: Scene, needed: int) -> Misfit | None:
    words, places = law
    agreeing = [(look, at) for look, at in zip(looks, places, strict=True) if _better(look, at)]
    against = sum(_worse(look, at) for look, at in zip(looks, places, strict=True))
    told = len(agreeing) + against
    if len(agreeing) < max(MIN_LOOKS, needed, MIN_SHARE * told):
        return None
    if _motion(agreeing, scene) < -len(agreeing) / 2:
        return None
    gain = float(np.mean([at.score - max(look.here, 0.0) for look, at in agreeing]))
    return Misfit(words, len(agreeing), against, gain, _wilson(len(agreeing), told) * min(1.0, gain / _MARGIN))


def _better(look: Look, at: _Place) -> bool:
    """True where the law's place fits, and the mask's own does not."""
    return at.score >= at.needed and look.here < WORSE * at.score


def _worse(look: Look, at: _Place) -> bool:
    """True where the mask's own place fits, and the law's, if the video has it, does not."""
    return _fine(look) and at is not _NOWHERE and at.score < WORSE * look.here


def _motion(agreeing: Sequence[tuple[Look, _Place]], scene: Scene) -> int:
    """Looks at which more moves along the outline at the law's place, less those at which more moves at its own."""
    votes = 0
    for look, at in agreeing:
        own, other = scene.motion(look.frame), scene.motion(at.frame)
        if own is not None and other is not None:
            here, there = change_along(look.boundary, own, 0, 0), change_along(look.boundary, other, at.dx, at.dy)
            votes += (there > _CLEARLY * here) - (here > _CLEARLY * there)
    return votes


def _wilson(hits: int, total: int, z: float = 1.28) -> float:
    """Lower end of the 80 % Wilson interval of a share: what few looks can say at the least."""
    share = hits / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - spread) / (1 + z * z / total)
