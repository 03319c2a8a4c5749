"""Looks: a mask of a track on the frame it is said to belong to, and how well it fits there, beside, and elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vtscot.doctor.edges import FitMap, Outline, fit_here, fit_map
from vtscot.doctor.scene import Scene
from vtscot.tracks import MaskTrack, TrackTable

LOOKS: Final = 12  # masks per track that are looked at first
MORE_LOOKS: Final = 36  # masks of a suspect track
TOLERANCE: Final = 2  # pixels of the scene that outlines may be off, as drawn by hand
_MIN_AREA, _MAX_SHARE = 60, 0.7  # pixels of the scene; share of the frame
_GRID: Final = 24  # tracks of one video prefer the same frames, which are then decoded once
_NEAR: Final = 12  # frames to both sides that a mask is tried on
_ALL: Final = 96  # frames of a video all of which a mask is tried on
_STRIDES: Final = (2, 3, 4, 5, 6, 8, 10, 12, 15, 24, 25, 30)


@dataclass(frozen=True, slots=True)
class Look:
    """One mask: its frame, its boundary, and its scores at all shifts on that frame."""

    frame: int
    boundary: Outline
    fits: FitMap

    @property
    def here(self) -> float:
        """Score at its place."""
        return self.fits.near(0, 0, TOLERANCE)


def look_at(track: MaskTrack, table: TrackTable, scene: Scene, most: int = LOOKS) -> list[Look]:
    """Looks at `most` masks that are large enough to tell, evenly over the time in which the object is seen."""
    found = []
    for i in clear_frames(table, scene, most):
        boundary = scene.outline(track, i)
        if boundary is not None:
            found.append(Look(i, boundary, fit_map(boundary, scene.edges(i), scene.reach)))
    return found


def clear_frames(table: TrackTable, scene: Scene, most: int = LOOKS) -> list[int]:
    """At most so many frames in which the mask is neither tiny nor most of the frame."""
    pixels = table.area / scene.scale**2
    share = table.area / (table.height * table.width)
    clear = np.flatnonzero((pixels >= _MIN_AREA) & (share <= _MAX_SHARE))
    shared = np.intersect1d(clear, np.arange(0, len(table), max(1, len(table) // _GRID)))
    chosen = shared if len(shared) >= most else clear
    places = np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int))
    return [int(i) for i in chosen[places]] if len(chosen) else []


def other_frames(i: int, total: int) -> list[int]:
    """The frames that mask i is tried on: all of a short video, else its neighbours and those of usual strides."""
    if total <= _ALL:
        return list(range(total))
    near = {*range(i - _NEAR, i + _NEAR + 1)}
    strides = {i * n for n in _STRIDES} | {i // n for n in _STRIDES}
    return sorted(j for j in near | strides if 0 <= j < total)


def score_at(look: Look, j: int, scene: Scene) -> float:
    """Score of the mask, at its place, on frame j."""
    return fit_here(look.boundary, scene.edges(j), scene.reach, look.fits, TOLERANCE)


def best_frames(looks: Sequence[Look], scene: Scene) -> list[tuple[int, float]]:
    """(frame, score) per look: the frame of the video on which its mask fits best at its place."""
    tried = [set(other_frames(look.frame, len(scene))) for look in looks]
    best = [(0, -math.inf)] * len(looks)
    for j in sorted(set().union(*tried)):  # frame by frame, so that the edges of each are found once
        for k, look in enumerate(looks):
            if j in tried[k] and (score := score_at(look, j, scene)) > best[k][1]:
                best[k] = (j, score)
    return best
