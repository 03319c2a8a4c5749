"""Masks that do not fit their frames are found, with the law by which they would; nothing is said without evidence."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.alignment import CLEAN, PLANTS, drift, offset, shift, stride
from tests.cli import vtscot
from tests.formats import FORMATS, Format, load_world
from vtscot.doctor import examine
from vtscot.doctor.alignment import Misfit, find_misfit
from vtscot.doctor.edges import fit_map, image_edges, outline
from vtscot.doctor.laws import fit_line
from vtscot.doctor.looks import LOOKS, clear_frames, look_at
from vtscot.doctor.scene import PIXELS, Scene
from vtscot.index import Index, build_index
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

case = pytest.param
Track = Callable[[str, str], tuple[MaskTrack, Scene]]


@pytest.fixture(scope="module")
def track(request: pytest.FixtureRequest, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """Gives tracks by video and anno_id: of the demo tree (train), or of the real one (anno_id "real")."""
    scratch = tmp_path_factory.mktemp("alignment")

    @cache
    def opened(real: bool) -> tuple[Index, Callable[[str], Scene]]:
        root: Path = request.getfixturevalue("shared_data") / "mevis" if real else demo_root
        source = open_source("mevis", root, "train")
        index = build_index(source, scratch / f"real-{real}")

        @cache
        def scene(name: str) -> Scene:
            video = index.videos[name]
            return Scene(source.frames(video), video.width or 0, video.height or 0)

        return index, scene

    def get(video: str, anno_id: str) -> tuple[MaskTrack, Scene]:
        index, scene = opened(anno_id == "real")
        return index.track(index.objects(video)[0] if anno_id == "real" else anno_id), scene(video)

    return get


def judged(track: MaskTrack, scene: Scene) -> Misfit | None:
    return find_misfit(track, track.table(), scene)


MOVING = [("demo-0-0000", "0"), ("demo-0-0002", "23"), ("dog", "real"), ("car-shadow", "real")]


@pytest.mark.parametrize(
    ("video", "anno_id", "kind"),
    [
        case(video, anno_id, kind, id=f"{video} {kind}")
        for kind in ("offset +10", "stride 0.5", "drift 10%", "shift 4%")
        for video, anno_id in MOVING
        if (video, kind) not in (("demo-0-0002", "offset +10"), ("car-shadow", "offset +10"))  # they hardly move
    ],
)
def test_planted_misfits_are_found(video: str, anno_id: str, kind: str, track: Track) -> None:
    whole, scene = track(video, anno_id)
    misfit = judged(PLANTS[kind](whole, 0.7), scene)
    assert misfit is not None
    assert misfit.agreeing >= 4
    assert 0.3 < misfit.confidence <= 1
    assert judged(whole, scene) is None


@pytest.mark.parametrize(
    ("plant", "law"),
    [
        case(offset(6), "mask i fits frame i+6", id="offset"),
        case(offset(-4), "mask i fits frame i-4", id="offset back"),
        case(stride(0.5), "mask i fits frame 0.50 * i", id="stride"),
    ],
)
def test_the_law_in_time_is_told(plant: Callable[[MaskTrack, float], MaskTrack], law: str, track: Track) -> None:
    whole, scene = track("dog", "real")
    misfit = judged(plant(whole, 0.0), scene)
    assert misfit is not None
    assert misfit.law.startswith(law)
    assert misfit.confidence > 0.8


def test_the_law_in_space_is_told_in_pixels_of_the_frame(track: Track) -> None:
    whole, scene = track("dog", "real")
    misfit = judged(shift(0.04)(whole, 0.0), scene)  # 34 px to the right
    assert misfit is not None
    dx, dy = (int(part) for part in misfit.law.split("(")[1].split(")")[0].split(","))
    assert abs(dx + 34) <= 4
    assert abs(dy) <= 4
    drifting = judged(drift(0.1)(whole, math.pi / 2), scene)  # up to 85 px down
    assert drifting is not None
    assert drifting.law.startswith("the masks drift")
    last = drifting.law.split("and (")[1].split(")")[0].split(",")
    assert abs(int(last[1]) + 85) <= 8


@pytest.mark.parametrize(("video", "anno_id"), [*MOVING, ("blackswan", "real")])
@pytest.mark.parametrize("kind", CLEAN)
def test_tracks_drawn_loosely_are_not_reported(video: str, anno_id: str, kind: str, track: Track) -> None:
    whole, scene = track(video, anno_id)
    assert judged(CLEAN[kind](whole, 0.3), scene) is None


def test_nothing_is_said_where_nothing_can_be_told(track: Track) -> None:
    whole, scene = track("dog", "real")
    still = MaskTrack(whole.height, whole.width, (whole.masks[0],) * len(whole))
    one = [scene.frames.array(0)] * len(whole)

    class Still:
        """One picture as a video."""

        names = tuple(map(str, range(len(one))))

        def __len__(self) -> int:
            return len(one)

        def array(self, i: int, max_pixels: int | None = None) -> np.ndarray:
            return one[i]

    frozen = Scene(Still(), whole.width, whole.height)  # type: ignore[arg-type]
    assert judged(still, frozen) is None
    assert judged(shift(0.04)(still, 0.0), frozen) is None  # any number of looks at one picture is one look
    brief = offset(6)(whole, 0.0)
    masks = tuple(mask if i < 3 else None for i, mask in enumerate(brief.masks))
    assert judged(MaskTrack(whole.height, whole.width, masks), scene) is None
    assert judged(MaskTrack(whole.height, whole.width, (None,) * len(whole)), scene) is None


def test_a_grey_video_tells_nothing(tmp_path: Path, track: Track) -> None:
    whole, scene = track("dog", "real")

    class Grey:
        """Frames without edges."""

        names = scene.frames.names

        def __len__(self) -> int:
            return len(self.names)

        def array(self, i: int, max_pixels: int | None = None) -> np.ndarray:
            return np.full((120, 213, 3), 90, np.uint8)

    assert judged(offset(6)(whole, 0.0), Scene(Grey(), whole.width, whole.height)) is None  # type: ignore[arg-type]


def test_an_outline_scores_best_where_it_was_drawn() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(120, 20, (90, 140, 3)).astype(np.float32)
    mask = np.zeros((90, 140), np.float32)
    mask[30:60, 50:85] = 1
    image[mask > 0] += 60
    boundary = outline(mask)
    assert boundary is not None
    for dx, dy in ((0, 0), (7, -5), (-12, 3)):
        moved = np.roll(image, (dy, dx), axis=(0, 1))
        edges = np.pad(image_edges(moved), ((16, 16), (16, 16), (0, 0)))
        score, x, y = fit_map(boundary, edges, 16).peak
        assert (x, y) == (dx, dy)
        assert score > 5


def test_what_leaves_the_frame_has_no_outline_there() -> None:
    mask = np.zeros((60, 80), np.float32)
    mask[:30, :] = 1  # only its lower side is an edge
    boundary = outline(mask)
    assert boundary is not None
    assert boundary.y > 20
    assert boundary.edges.shape[0] < 10
    assert outline(np.ones((60, 80), np.float32)) is None


@given(
    start=st.integers(-20, 20),
    slope=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]),
    wrong=st.sets(st.integers(0, 11), max_size=4),
)
def test_a_line_is_found_through_most_points(start: int, slope: float, wrong: set[int]) -> None:
    frames = list(range(0, 60, 5))
    values = np.array([[start + slope * i] for i in frames])
    for i in wrong:
        values[i] += 100 * (i + 1) ** 2  # on no line
    line = fit_line(frames, values, 1.0)
    assert line is not None
    assert abs(float(line.slope[0]) - slope) < 1e-6
    assert abs(float(line.start[0]) - start) < 1e-6


def test_one_point_is_no_line() -> None:
    assert fit_line([3], np.zeros((1, 2)), 1.0) is None
    assert fit_line([], np.zeros((0, 2)), 1.0) is None


def test_looks_are_spread_over_the_time_the_object_is_seen(track: Track) -> None:
    whole, scene = track("dog", "real")
    frames = clear_frames(whole.table(), scene)
    assert len(frames) == LOOKS
    assert frames[0] == 0
    assert frames[-1] >= len(whole) - 4
    assert scene.size[0] * scene.size[1] <= PIXELS
    assert [look.frame for look in look_at(whole, whole.table(), scene)] == frames


@pytest.fixture(scope="module")
def late(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo tree whose train masks all belong to the frame six later."""
    root = tmp_path_factory.mktemp("late") / "tree"
    shutil.copytree(demo_root, root)
    path = root / "train" / "mask_dict.json"
    tracks = json.loads(path.read_bytes())
    path.write_text(json.dumps({key: track[6:] + track[-1:] * 6 for key, track in tracks.items()}))
    return root


def test_the_command_says_how_sure_it_is(late: Path) -> None:
    arguments = ("check", "--source", "demo", "--root", late, "--split", "train", "--limit-videos", "1")
    ended = vtscot(*arguments, "--workers", "1", "--json")
    assert ended.code == 0  # a note: nothing is lost by it
    report = ended.json()
    assert report["kinds"].keys() == {"misaligned"}
    assert {finding["video"] for finding in report["findings"]} == {"demo-0-0000"}
    told = [finding for finding in report["findings"] if "mask i fits frame i+6" in finding["detail"]]
    assert len(told) >= len(report["findings"]) / 2
    for finding in report["findings"]:
        assert 0 < finding["confidence"] <= 1
        assert not finding["fatal"]
        assert finding["anno_id"]


@pytest.mark.parametrize("form", FORMATS, ids=[form.source for form in FORMATS])
def test_frames_that_are_not_those_of_the_masks_are_found_in_every_format(
    form: Format, demo_root: Path, tmp_path: Path
) -> None:
    """Every second frame of the demo; then every frame file gets the picture of the frame four before it."""
    form.write(load_world(demo_root, step=2), tmp_path / "tree")
    folders = sorted({path.parent for path in (tmp_path / "tree").rglob("*.jpg")})
    for folder in folders:
        files = sorted(folder.glob("*.jpg"))
        pictures = [Image.open(path).convert("RGB") for path in files]
        for i, path in enumerate(files):
            pictures[max(0, i - 4)].save(path, quality=92)
    source = open_source(form.source, tmp_path / "tree", form.split)
    report = examine(source, tmp_path / "index")
    found = [finding for finding in report.findings if finding.kind == "misaligned"]
    assert len(found) >= 2
    assert sum("mask i fits frame i+4" in finding.detail for finding in found) >= 1
