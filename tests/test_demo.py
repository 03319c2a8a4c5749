"""The demo tree: format, determinism, masks, shares of kinds, reuse."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from vtscot.demo import write_demo
from vtscot.demo.expressions import KINDS
from vtscot.demo.palette import COLOURS
from vtscot.demo.raster import MIN_PIXELS
from vtscot.demo.video import direct
from vtscot.errors import DataError

SPLITS = ("train", "valid_u")


@dataclass(frozen=True)
class Split:
    """One split as it lies on disk."""

    folder: Path
    videos: dict[str, Any]
    masks: dict[str, list[dict[str, Any] | None]]

    def ids(self, name: str) -> list[int]:
        rows = self.videos[name]["expressions"].values()
        return sorted({anno for row in rows for anno in row["anno_id"]})

    def decoded(self, anno: int, frame: int) -> np.ndarray | None:
        rle = self.masks[str(anno)][frame]
        return None if rle is None else coco.decode(rle).astype(bool)


def _read(folder: Path) -> Split:
    videos = json.loads((folder / "meta_expressions.json").read_text())["videos"]
    return Split(folder, videos, json.loads((folder / "mask_dict.json").read_text()))


@pytest.fixture(scope="module")
def tree(demo_root: Path) -> dict[str, Split]:
    return {split: _read(demo_root / split) for split in SPLITS}


def _expressions(tree: dict[str, Split]) -> list[tuple[Split, str, dict[str, Any]]]:
    return [
        (split, name, row)
        for split in tree.values()
        for name, video in split.videos.items()
        for row in video["expressions"].values()
    ]


def _digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- the tree


def test_every_fourth_video_is_valid_u(tree: dict[str, Split]) -> None:
    assert list(tree["train"].videos) == [f"demo-0-{n:04d}" for n in (0, 1, 2, 4, 5, 6)]
    assert list(tree["valid_u"].videos) == [f"demo-0-{n:04d}" for n in (3, 7)]


def test_frames_on_disk_are_those_listed(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for name, video in split.videos.items():
            stems = sorted(path.name for path in (split.folder / "JPEGImages" / name).iterdir())
            assert stems == [f"{frame}.jpg" for frame in video["frames"]]
            assert 40 <= len(stems) <= 120


def test_annotation_ids_belong_to_one_video_of_one_split(tree: dict[str, Split]) -> None:
    owners = Counter(anno for split in tree.values() for name in split.videos for anno in split.ids(name))
    assert set(owners.values()) == {1}
    assert {str(anno) for anno in owners} == {key for split in tree.values() for key in split.masks}


def test_object_and_annotation_ids_run_in_step(tree: dict[str, Split]) -> None:
    for split, name, row in _expressions(tree):
        first = split.ids(name)[0]
        assert [anno - first for anno in row["anno_id"]] == row["obj_id"] == sorted(set(row["obj_id"]))


def test_every_object_is_named_by_an_expression(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for name in split.videos:
            film, _ = direct(0, int(name[-4:]))
            assert len(split.ids(name)) == len(film.world.actors)


# --- masks


def test_masks_fit_their_frames(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for name, video in split.videos.items():
            height, width = cv2.imread(str(split.folder / "JPEGImages" / name / "00000.jpg")).shape[:2]
            for anno in split.ids(name):
                track = split.masks[str(anno)]
                assert len(track) == len(video["frames"])
                assert all(rle["size"] == [height, width] for rle in track if rle)


def test_masks_are_disjoint_and_large_enough_to_count(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for name, video in split.videos.items():
            for frame in range(0, len(video["frames"]), 5):
                masks = [mask for anno in split.ids(name) if (mask := split.decoded(anno, frame)) is not None]
                assert all(mask.sum() >= MIN_PIXELS for mask in masks)
                assert not masks or np.sum(masks, axis=0).max() == 1


def test_an_object_without_pixels_is_null(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for name in split.videos:
            film, _ = direct(0, int(name[-4:]))
            for actor, anno in enumerate(split.ids(name)):
                owned = (film.owners == actor + 1).sum(axis=(1, 2))
                shown = [rle is not None for rle in split.masks[str(anno)]]
                assert shown == [pixels >= MIN_PIXELS for pixels in owned]


def test_pixels_within_a_mask_have_the_named_colour(tree: dict[str, Split]) -> None:
    """In a frame of the first third and one of the last, for those that keep their colour, unless too little shows."""
    names, palette = list(COLOURS), np.array(list(COLOURS.values()), dtype=float)
    checked = 0
    for split in tree.values():
        for name, video in split.videos.items():
            film, _ = direct(0, int(name[-4:]))
            for frame in (len(video["frames"]) // 4, 3 * len(video["frames"]) // 4):
                image = cv2.imread(str(split.folder / "JPEGImages" / name / f"{frame:05d}.jpg"))[..., ::-1]
                for actor, anno in zip(film.world.actors, split.ids(name), strict=True):
                    mask = split.decoded(anno, frame)
                    if mask is None or mask.sum() < 200 or (actor.change and actor.change.colour):
                        continue
                    mean = image[mask].mean(axis=0)
                    assert names[int(np.linalg.norm(palette - mean, axis=1).argmin())] == actor.look.colour
                    checked += 1
    assert checked > 20


# --- expressions


def test_expressions_of_a_video_differ_and_hold_no_digits(tree: dict[str, Split]) -> None:
    for split in tree.values():
        for video in split.videos.values():
            texts = [row["exp"] for row in video["expressions"].values()]
            assert len(set(texts)) == len(texts)
            assert 8 <= len(texts) <= 11
            assert not any(character.isdigit() for text in texts for character in text)
            assert list(video["expressions"]) == [str(k) for k in range(len(texts))]


@pytest.mark.parametrize(
    ("of", "low", "high"),
    [
        (lambda row: row["kind"] in ("motion", "order", "change"), 0.25, 0.6),
        (lambda row: not row["anno_id"], 0.08, 0.125),
        (lambda row: len(row["anno_id"]) > 1, 0.12, 0.22),
    ],
    ids=["time-dependent", "no target", "several targets"],
)
def test_shares(tree: dict[str, Split], of: Any, low: float, high: float) -> None:
    assert low <= np.mean([of(row) for _, _, row in _expressions(tree)]) <= high


def test_kinds(tree: dict[str, Split]) -> None:
    rows = [row for _, _, row in _expressions(tree)]
    assert {row["kind"] for row in rows} == set(KINDS)
    for row in rows:
        assert (row["kind"] == "none") == (not row["obj_id"])
        assert (row["kind"] == "multiple") == (len(row["obj_id"]) > 1)


def test_some_targets_are_short_lived_and_some_come_late(tree: dict[str, Split]) -> None:
    tracks = [track for split in tree.values() for track in split.masks.values()]
    assert any(np.mean([rle is not None for rle in track]) < 0.35 for track in tracks)
    assert any(track[0] is None for track in tracks)


# --- determinism, reuse, errors


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    write_demo(root, videos=4, seed=5, workers=1)
    return root


def test_workers_do_not_change_a_byte(small: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, videos=4, seed=5, workers=2)
    assert _digests(tmp_path) == _digests(small)


def test_a_video_does_not_depend_on_how_many_there_are(small: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, videos=2, seed=5, workers=1)
    fewer, more = _read(tmp_path / "train"), _read(small / "train")
    for name in ("demo-5-0000", "demo-5-0001"):
        assert fewer.videos[name] == more.videos[name]
        assert _digests(tmp_path / "train/JPEGImages" / name) == _digests(small / "train/JPEGImages" / name)
    assert fewer.masks.items() <= more.masks.items()


def test_seeds_differ(small: Path, demo_root: Path) -> None:
    ours, others = (_read(root / "train").videos for root in (small, demo_root))
    assert next(iter(ours.values()))["expressions"] != next(iter(others.values()))["expressions"]


def test_fewer_than_four_videos_leave_valid_u_empty(tmp_path: Path) -> None:
    summary = write_demo(tmp_path, videos=1, seed=5, workers=1)
    assert _read(tmp_path / "valid_u").videos == {}
    assert (summary.videos, summary.queries["valid_u"]) == (1, 0)


def test_progress_counts_up_to_the_number_of_videos(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_demo(tmp_path, videos=2, seed=5, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


def _stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_complete_tree_is_reused(tmp_path: Path) -> None:
    first = write_demo(tmp_path, videos=1, seed=5, workers=1)
    before = _stamps(tmp_path)
    assert write_demo(tmp_path, videos=1, seed=5, workers=1) == first
    assert _stamps(tmp_path) == before


@pytest.mark.parametrize(
    "damage",
    ["demo.json", "train/mask_dict.json", "train/JPEGImages/demo-5-0000/00003.jpg"],
)
def test_an_incomplete_tree_is_written_anew(tmp_path: Path, damage: str) -> None:
    write_demo(tmp_path, videos=1, seed=5, workers=1)
    whole = _digests(tmp_path)
    (tmp_path / damage).unlink()
    write_demo(tmp_path, videos=1, seed=5, workers=1)
    assert _digests(tmp_path) == whole


def test_other_settings_replace_the_tree(small: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, videos=2, seed=6, workers=1)
    write_demo(tmp_path, videos=4, seed=5, workers=1)
    assert _digests(tmp_path) == _digests(small)


def test_foreign_videos_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "train/JPEGImages/0123abc/00000.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(DataError, match="0123abc"):
        write_demo(tmp_path, videos=1)
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize(("name", "value"), [("videos", 0), ("videos", -3), ("workers", 0)])
def test_nothing_to_write(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        write_demo(tmp_path / "new", **{name: value})
    assert not (tmp_path / "new").exists()


def test_the_package_itself_imports_nothing_heavy() -> None:
    code = "import sys, vtscot.demo; print([name for name in ('cv2', 'numpy', 'torch') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
