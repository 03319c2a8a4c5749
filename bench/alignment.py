"""How well `vtscot.doctor.alignment` finds masks that do not fit their frames, and what it says of masks that do.

Planted in tracks of the demo world (two seeds) and of the real videos beside the checkout, if they are there: masks
that belong to other frames (offsets, strides), masks that drift, masks shifted by a constant. Not to be reported are
the tracks as they are, and tracks drawn loosely: grown, shrunk, jittered, or boxes instead of outlines.

A plant counts as decidable where it can be seen at all: the outline of the object fits its frames in the first place,
the masks move, and in at least half of the looks (six or more) the outline is planted four pixels of the scene away on
average, one per cent of a frame's width: outlines drawn by hand are hardly better. What was found of the others is
shown beside. Exit code 1 where less than 0.95 of the decidable plants are found, or anything clean is reported.

    python bench/alignment.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vtscot.demo import write_demo
from vtscot.doctor.alignment import FITS, find_misfit
from vtscot.doctor.looks import clear_frames, look_at
from vtscot.doctor.scene import Scene
from vtscot.index import build_index
from vtscot.masks import Rle
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "mevis"
UNCERTAIN = 4.0  # pixels of the scene
MIN_FOUND = 0.95
Plant = Callable[[MaskTrack, float], MaskTrack]  # the angle (radians) is that of what has a direction


def _from(track: MaskTrack, frame: Callable[[int], float]) -> MaskTrack:
    """Mask i is that of another frame, at the ends of the video that of its first or last."""
    last = len(track) - 1
    picked = tuple(track.masks[min(max(int(frame(i)), 0), last)] for i in range(len(track)))
    return MaskTrack(track.height, track.width, picked)


def _drawn(track: MaskTrack, draw: Callable[[np.ndarray, int], np.ndarray]) -> MaskTrack:
    """Every mask drawn anew."""
    drawn = (None if m is None else draw(_pixels(track, i), i) > 0 for i, m in enumerate(track.masks))
    masks = tuple(None if m is None or not m.any() else Rle.from_array(m).counts for m in drawn)
    return MaskTrack(track.height, track.width, masks)


def _pixels(track: MaskTrack, i: int) -> np.ndarray:
    return track.decode(i, order="C").astype(np.uint8)


def _moved(mask: np.ndarray, dx: float, dy: float) -> np.ndarray:
    return cv2.warpAffine(
        mask, np.array([[1, 0, round(dx)], [0, 1, round(dy)]], np.float32), mask.shape[::-1], flags=cv2.INTER_NEAREST
    )


def offset(k: int) -> Plant:
    return lambda track, angle: _from(track, lambda i: i + k)


def stride(n: float) -> Plant:
    return lambda track, angle: _from(track, lambda i: n * i)


def drift(share: float) -> Plant:
    """Up to `share` of the frame's width at the end of the video."""

    def plant(track: MaskTrack, angle: float) -> MaskTrack:
        step = share * track.width / max(1, len(track) - 1)
        return _drawn(track, lambda m, i: _moved(m, step * i * math.cos(angle), step * i * math.sin(angle)))

    return plant


def shift(share: float) -> Plant:
    def plant(track: MaskTrack, angle: float) -> MaskTrack:
        far = share * track.width
        return _drawn(track, lambda m, i: _moved(m, far * math.cos(angle), far * math.sin(angle)))

    return plant


def loose(pixels: int) -> Plant:
    """Grown (or, where negative, shrunk) all around."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    return lambda track, angle: _drawn(track, lambda m, i: (cv2.dilate if pixels > 0 else cv2.erode)(m, kernel))


def jitter(share: float) -> Plant:
    """Off by up to `share` of the width, another way in every frame."""

    def plant(track: MaskTrack, angle: float) -> MaskTrack:
        rng = np.random.default_rng(round(angle * 1e6))
        steps = rng.uniform(-share * track.width, share * track.width, (len(track), 2))
        return _drawn(track, lambda m, i: _moved(m, *steps[i]))

    return plant


def boxes(track: MaskTrack, angle: float) -> MaskTrack:
    def box(mask: np.ndarray, i: int) -> np.ndarray:
        x, y, w, h = cv2.boundingRect(mask)
        return cv2.rectangle(np.zeros_like(mask), (x, y), (x + w - 1, y + h - 1), 1, -1)

    return _drawn(track, box)


PLANTS: dict[str, Plant] = {
    **{f"offset {k:+d}": offset(k) for k in (3, -4, 6, -8, 10)},
    **{f"stride {n}": stride(n) for n in (2, 3, 5, 30, 0.5)},
    **{f"drift {p}%": drift(p / 100) for p in (2, 4, 7, 10)},
    **{f"shift {p}%": shift(p / 100) for p in (2, 4, 7, 10)},
}
CLEAN: dict[str, Plant] = {
    "as it is": lambda track, angle: track,
    "grown 2 px": loose(2),
    "shrunk 2 px": loose(-2),
    "jitter 0.5%": jitter(0.005),
    "boxes": boxes,
}


def angle_of(*parts: str) -> float:
    """An angle that depends on names alone."""
    return int(hashlib.sha256("/".join(parts).encode()).hexdigest()[:8], 16) / 2**32 * 2 * math.pi


def away(track: MaskTrack, planted: MaskTrack, i: int, scene: Scene) -> float:
    """Mean distance of the planted outline to the object's, in pixels of the scene; infinite without an object."""
    true, false = (outline_of(scene.mask(which, i)) for which in (track, planted))
    if not true.any() or not false.any():
        return math.inf
    return float(cv2.distanceTransform((~true).astype(np.uint8), cv2.DIST_L2, 5)[false].mean())


def outline_of(mask: np.ndarray) -> np.ndarray:
    inside = (mask > 0.5).astype(np.uint8)
    return (inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=1)).astype(bool)


def decidable(track: MaskTrack, planted: MaskTrack, scene: Scene, visible: bool) -> bool:
    """True where a plant can be seen at all."""
    table = planted.table()
    frames = clear_frames(table, scene)
    if not visible or len(frames) < 6:
        return False
    sides = np.concatenate((table.box[frames, :2], table.box[frames, :2] + table.box[frames, 2:]), axis=1)
    moves = np.ptp(sides, axis=0).max() / scene.scale >= UNCERTAIN
    far = sum(away(track, planted, i, scene) >= UNCERTAIN for i in frames)
    return bool(moves and far >= len(frames) / 2)


@dataclass
class Tally:
    """What was found of one kind of plant: `sure` are the confidences of what was reported."""

    decidable: int = 0
    found: int = 0
    others: int = 0
    others_found: int = 0
    sure: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One track of one tree."""

    tree: str
    name: str
    track: MaskTrack
    scene: Scene


def cases(tree: str, source_name: str, root: Path, splits: list[str], work: Path) -> Iterator[Case]:
    for split in splits:
        source = open_source(source_name, root, split)
        index = build_index(source, work / tree / split)
        for video in index.videos.values():
            scene = Scene(source.frames(video), video.width or 0, video.height or 0)
            for anno_id in index.objects(video.name):
                yield Case(tree, f"{video.name}/{anno_id}", index.track(anno_id), scene)


def plant_all(case: Case, kinds: list[str], tallies: dict[str, Tally]) -> None:
    looks = look_at(case.track, case.track.table(), case.scene)
    visible = bool(looks) and statistics.median(look.here for look in looks) >= FITS
    for kind in kinds:
        planted = PLANTS[kind](case.track, angle_of(case.name, kind))
        misfit = find_misfit(planted, planted.table(), case.scene)
        tally = tallies[kind]
        if decidable(case.track, planted, case.scene, visible):
            tally.decidable += 1
            tally.found += misfit is not None
            tally.missed += [] if misfit else [f"{case.tree}: {case.name}"]
        else:
            tally.others += 1
            tally.others_found += misfit is not None
        tally.sure += [misfit.confidence] if misfit else []


def measure(trees: list[tuple[str, str, Path, list[str]]], work: Path, per_track: tuple[int, int]) -> dict[str, Any]:
    """All figures. Every track gets `per_track` of the plants, in turn: so many on demo videos, so many on real."""
    tallies = {kind: Tally() for kind in PLANTS}
    clean = {f"{tree}, {kind}": [0, 0] for tree, *_ in trees for kind in CLEAN}
    reported: list[str] = []
    seconds: list[float] = []
    names = list(PLANTS)
    for number, case in enumerate(case for tree in trees for case in cases(*tree, work)):
        for kind, draw in CLEAN.items():
            track = draw(case.track, angle_of(case.name, kind))
            begun = time.perf_counter()
            misfit = find_misfit(track, track.table(), case.scene)
            seconds += [time.perf_counter() - begun] if kind == "as it is" else []
            clean[f"{case.tree}, {kind}"][0] += 1
            clean[f"{case.tree}, {kind}"][1] += misfit is not None
            reported += [f"{case.tree}: {case.name} {kind}: {misfit}"] if misfit else []
        few = min(per_track[case.tree == "real"], len(names))
        kinds = [names[(number * few + i) % len(names)] for i in range(few)]
        plant_all(case, kinds, tallies)
    return {
        "plants": {kind: vars(tally) for kind, tally in tallies.items()},
        "clean": {name: {"tracks": n, "reported": k} for name, (n, k) in clean.items()},
        "false_alarms": reported,
        "seconds_per_clean_track": statistics.mean(seconds),
    }


def show(figures: dict[str, Any]) -> None:
    print(f"{'planted':14}{'decidable':>10}{'found':>7}{'share':>8}{'median sure':>13}   undecidable, found of them")
    for kind, tally in figures["plants"].items():
        share = f"{tally['found'] / tally['decidable']:.3f}" if tally["decidable"] else "-"
        sure = f"{statistics.median(tally['sure']):.2f}" if tally["sure"] else "-"
        print(f"{kind:14}{tally['decidable']:>10}{tally['found']:>7}{share:>8}{sure:>13}", end="")
        print(f"   {tally['others']:>6}{tally['others_found']:>6}")
    total, found = totals(figures)
    print(f"all decidable plants: {found} of {total} found, {found / total:.3f} (to reach >= {MIN_FOUND})")
    print(f"\n{'clean':26}{'tracks':>8}{'reported':>10}")
    for name, count in figures["clean"].items():
        print(f"{name:26}{count['tracks']:>8}{count['reported']:>10}")
    print(f"seconds per clean track: {figures['seconds_per_clean_track']:.3f}")
    for kind, tally in figures["plants"].items():
        for name in tally["missed"]:
            print(f"missed {kind}: {name}")
    for line in figures["false_alarms"]:
        print(f"false alarm: {line}")


def totals(figures: dict[str, Any]) -> tuple[int, int]:
    """(decidable, found) over all plants."""
    plants = figures["plants"].values()
    return sum(tally["decidable"] for tally in plants), sum(tally["found"] for tally in plants)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 demo videos, one plant per track")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        trees = []
        for seed in (0,) if options.quick else (0, 1):
            root = work / f"tree-{seed}"
            write_demo(root, videos=2 if options.quick else 24, seed=seed, workers=1)
            trees.append((f"demo seed {seed}", "demo", root, ["train", "valid_u"]))
        if REAL.is_dir():
            trees.append(("real", "mevis", REAL, ["train"]))
        figures = measure(trees, work, (1, 1) if options.quick else (3, 18))
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        show(figures)
    total, found = totals(figures)
    return 0 if found >= MIN_FOUND * total and not figures["false_alarms"] else 1


if __name__ == "__main__":
    sys.exit(main())
