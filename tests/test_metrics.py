"""vtscot.metrics against the official scores, against a slow oracle, and on what must be refused."""

from __future__ import annotations

import doctest
import importlib.util
import json
import sys
import tracemalloc
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rlemasklib import RLEMask

from tests import reference_metrics as oracle
from vtscot import metrics
from vtscot.errors import DataError, MaskError, UsageError
from vtscot.masks import Rle
from vtscot.metrics import backend as backends
from vtscot.tracks import MaskTrack

EXACT = 1e-9
Mask = npt.NDArray[np.bool_]


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> metrics.Backend:
    if request.param == "numba" and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    return request.param


@cache
def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def golden(shared_data: Path) -> dict[str, Any]:
    return read(shared_data / "golden.json")


def real_tracks(root: Path, video: str, expression: str) -> tuple[MaskTrack, MaskTrack]:
    """Ground truth and prediction of one expression of the real MeViS tree."""
    meta = read(root / "mevis/train/meta_expressions.json")["videos"][video]
    (anno_id,) = meta["expressions"][expression]["anno_id"]
    predicted = read(root / "predictions/mevis_predictions.json")[video][expression]["prediction_masks"]
    truth = MaskTrack.from_coco(read(root / "mevis/train/mask_dict.json")[str(anno_id)], frames=len(meta["frames"]))
    return truth, MaskTrack.from_coco(predicted, frames=len(truth))


# The official scores


def test_scores_per_expression_equal_the_official_ones(
    shared_data: Path, golden: dict[str, Any], backend: metrics.Backend
) -> None:
    rows = golden["per_expression_J_F"]
    assert len(rows) == 12
    for name, expected in rows.items():
        scores = metrics.track_scores(*real_tracks(shared_data, *name.rsplit("_", 1)), backend=backend)
        assert [scores.J.mean(), scores.F.mean()] == pytest.approx(expected, abs=EXACT), name


def test_scores_per_frame_equal_the_official_ones_on_the_png_predictions(
    shared_data: Path, golden: dict[str, Any], backend: metrics.Backend
) -> None:
    for video, expected in golden["davis16_vs_osvos"].items():
        truth, _ = real_tracks(shared_data, video, "0")
        paths = sorted((shared_data / "predictions/osvos" / video).iterdir())[:10]
        scores = np.array(
            [
                metrics.j_and_f(truth.rle(i), np.asarray(Image.open(path)) > 0, backend=backend)
                for i, path in enumerate(paths)
            ]
        )
        assert scores[:, 0] == pytest.approx(expected["J_per_frame_first10"], abs=1e-10)  # ten decimals are given
        assert scores[:, 1] == pytest.approx(expected["F_per_frame_first10"], abs=1e-10)


def test_means_without_first_and_last_frame_equal_the_official_ones(shared_data: Path, golden: dict[str, Any]) -> None:
    for video, expected in golden["davis16_vs_osvos"].items():
        scores = metrics.track_scores(*real_tracks(shared_data, video, "0"))
        assert metrics.statistics(scores.J[1:-1]).mean == pytest.approx(expected["J_mean_skip_first_last"], abs=EXACT)
        assert metrics.statistics(scores.F[1:-1]).mean == pytest.approx(expected["F_mean_skip_first_last"], abs=EXACT)


def test_temporal_scores_equal_the_official_ones(shared_data: Path, golden: dict[str, Any]) -> None:
    for name, expected in golden["per_expression_J_tIoU_vIoU"].items():
        truth, predicted = real_tracks(shared_data, *name.rsplit("_", 1))
        region = metrics.track_scores(truth, predicted).J
        found = [
            region.mean(),
            metrics.t_iou(truth.visible, predicted.visible),
            metrics.v_iou(region, truth.visible, predicted.visible),
        ]
        assert found == pytest.approx(expected, abs=EXACT), name


def test_accuracy_and_robustness_equal_the_official_ones(shared_data: Path, golden: dict[str, Any]) -> None:
    foregrounds = read(shared_data / "revos/mask_dict_foreground.json")
    for row in golden["revos_rows"]:
        truth, predicted = real_tracks(shared_data, row["video_name"], row["exp_id"])
        foreground = MaskTrack.from_coco(foregrounds[f"DAVIS/val/{row['video_name']}"]["masks_rle"])
        a = metrics.track_accuracy(truth, predicted).mean()
        r = metrics.track_robustness(truth, predicted, foreground).mean()
        assert [round(100 * a, 2), round(100 * r, 2)] == [float(row["A"]), float(row["R"])], row["videxp"]


def test_bound_pix_equals_the_official_one(golden: dict[str, Any]) -> None:
    for size, expected in golden["bound_pix"].items():
        assert metrics.bound_pix(*map(int, size.split("x"))) == expected


def edge_case(name: str) -> Mask:
    mask = np.zeros((48, 64), bool)
    match name:
        case "full":
            mask[:] = True
        case "left_half":
            mask[:, :32] = True
        case "sq":
            mask[10:20, 10:20] = True
        case "shift(+2row,+1col)":
            mask[12:22, 11:21] = True
        case "one_px(5,5)":
            mask[5, 5] = True
        case "bottomright_px":
            mask[-1, -1] = True
        case _:
            assert name == "empty"
    return mask


def test_edge_cases_equal_the_official_ones(golden: dict[str, Any], backend: metrics.Backend) -> None:
    cases = {name: case for name, case in golden["edge_cases_48x64"].items() if not name.startswith("_")}
    assert len(cases) == 9
    for name, expected in cases.items():
        truth, predicted = (edge_case(part) for part in name.removeprefix("gt_").split("_pred_"))
        assert metrics.j_and_f(truth, predicted, backend=backend) == pytest.approx(
            (expected["J"], expected["F"]), abs=EXACT
        ), name


# The oracle


@cache
def random_pairs() -> list[tuple[dict[str, Any], dict[str, Any], float, float]]:
    """2,000 pairs with J and F of the oracle."""
    rows = []
    for seed in range(2000):
        a, b = oracle.pair(np.random.default_rng(seed))
        rows.append((Rle.from_array(a).coco(), Rle.from_array(b).coco(), oracle.jaccard(a, b), oracle.boundary_f(a, b)))
    return rows


def test_random_pairs_equal_the_oracle(backend: metrics.Backend) -> None:
    for seed, (a, b, j, f) in enumerate(random_pairs()):
        assert metrics.j_and_f(a, b, backend=backend) == pytest.approx((j, f), abs=EXACT), seed
        assert metrics.boundary_f(b, a, backend=backend) == pytest.approx(f, abs=EXACT), seed


def test_random_pairs_are_of_many_kinds() -> None:
    pairs = random_pairs()
    scores = np.array([row[2:] for row in pairs])
    between = (scores > 0) & (scores < 1)
    assert len({tuple(row[0]["size"]) for row in pairs}) > 500
    assert between.sum(axis=0).min() > 400
    assert (scores == 0).sum(axis=0).min() > 50
    assert (scores == 1).sum(axis=0).min() > 50


@pytest.mark.parametrize("radius", [*range(1, 11), 13, 18, 31, 40, 70, 100])
def test_matches_equal_the_oracle_at_every_radius(radius: int, backend: metrics.Backend) -> None:
    rng = np.random.default_rng(radius)
    for height, width in ((1, 90), (90, 1), (5, 5), (40, 70), (64, 33), (130, 60)):
        a, b = (rng.random((2, height, width)) < rng.choice([0.004, 0.03])).copy()
        a[0, 0] = b[-1, -1] = True
        found = backends.matcher(backend)(RLEMask.from_array(a), RLEMask.from_array(b), radius)
        assert found == oracle.matches(a, b, radius), (height, width)


@pytest.mark.parametrize(("height", "width"), [(480, 854), (853, 480), (1080, 1920)])
def test_large_frames_equal_the_oracle(height: int, width: int, backend: metrics.Backend) -> None:
    y, x = np.mgrid[:height, :width]
    a = np.hypot(y - 0.6 * height, x - 0.8 * width) < 0.3 * width  # cut off by two sides of the frame
    b = np.roll(a, (9, -14), (0, 1)) ^ (np.hypot(y - 0.2 * height, x - 0.2 * width) < 20)
    expected = (oracle.jaccard(a, b), oracle.boundary_f(a, b))
    assert 0 < expected[1] < 1
    assert metrics.j_and_f(a, b, backend=backend) == pytest.approx(expected, abs=EXACT)


@given(seed=st.integers(0, 2**32))
def test_area_metrics_equal_the_oracle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = oracle.pair(rng)
    foreground = truth | oracle.shape(rng, *truth.shape)
    assert metrics.region_similarity(truth, predicted) == oracle.jaccard(truth, predicted)
    assert metrics.accuracy(truth, predicted) == pytest.approx(oracle.accuracy(truth, predicted), abs=EXACT)
    expected = oracle.robustness(truth, predicted, foreground)
    assert metrics.robustness(truth, predicted, foreground) == pytest.approx(expected, abs=EXACT)


# Inputs


def forms(mask: Mask) -> dict[str, metrics.Mask]:
    rle = Rle.from_array(mask)
    runs = RLEMask.from_array(mask).counts.tolist()
    padded = np.zeros((mask.shape[0], 2 * mask.shape[1]), bool)
    padded[:, ::2] = mask
    return {
        "Rle": rle,
        "counts as str": rle.coco(),
        "counts as bytes": {"size": list(mask.shape), "counts": rle.counts},
        "list of runs": {"size": list(mask.shape), "counts": runs},
        "list with runs of no pixels": {"size": list(mask.shape), "counts": [runs[0], 0, 0, *runs[1:], 0, 0]},
        "array": mask,
        "column-major array": np.asfortranarray(mask),
        "view": padded[:, ::2],
    }


@pytest.mark.parametrize("form", list(forms(edge_case("sq"))))
def test_every_form_of_a_mask_gives_the_same_scores(form: str, backend: metrics.Backend) -> None:
    truth, predicted = edge_case("sq"), edge_case("shift(+2row,+1col)")
    for a, b in ((forms(truth)[form], predicted), (truth, forms(predicted)[form])):
        assert metrics.j_and_f(a, b, backend=backend) == (0.5625, pytest.approx(0.525, abs=EXACT))


def test_no_mask_is_an_empty_mask() -> None:
    assert metrics.j_and_f(None, edge_case("empty")) == (1, 1)
    assert metrics.j_and_f(edge_case("sq"), None) == (0, 0)
    assert metrics.j_and_f(None, edge_case("full")) == (0, 1)


def test_runs_without_pixels_change_nothing(backend: metrics.Backend) -> None:
    def mask(*runs: int) -> RLEMask:
        return RLEMask.from_counts(np.array(runs, np.uint32), (10, 10))

    plain, other = mask(23, 4, 73), mask(33, 4, 63)
    odd = mask(0, 0, 23, 2, 0, 2, 3, 0, 70, 0)
    count = backends.matcher(backend)
    assert count(odd, other, 1) == count(plain, other, 1)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        pytest.param(edge_case("sq"), edge_case("sq").T, r"truth \(48, 64\), prediction \(64, 48\)", id="turned"),
        pytest.param(Rle.from_array(edge_case("sq")).coco(), edge_case("sq")[:, 1:], r"\(48, 63\)", id="one column"),
        pytest.param(None, None, "size of the frame is not known", id="no size"),
        pytest.param(np.ones((3, 4), np.uint8), None, "ground truth: a mask array is boolean, not uint8", id="uint8"),
        pytest.param(None, np.full((3, 4), np.nan), "prediction: a mask array is boolean, not float64", id="nan"),
        pytest.param(None, np.ones((3, 4, 1), bool), "prediction: .*two dimensions, not 3", id="3-d"),
        pytest.param([[True]], None, "ground truth: a mask is a COCO RLE dict.* not list", id="list"),
        pytest.param({"size": [3, 4], "counts": [3]}, None, "ground truth: .*3 x 4", id="runs"),
        pytest.param({"counts": "0"}, None, "ground truth: ", id="no size given"),
        pytest.param(Rle(3, 4, b"3"), None, "3 x 4", id="broken Rle"),
    ],
)  # fmt: skip
def test_what_is_not_a_pair_of_masks_is_refused(truth: Any, predicted: Any, message: str) -> None:
    for function in (metrics.j_and_f, metrics.region_similarity, metrics.boundary_f, metrics.accuracy):
        with pytest.raises(MaskError, match=message):
            function(truth, predicted)


def test_a_foreground_of_another_size_is_refused() -> None:
    mask = edge_case("sq")
    with pytest.raises(MaskError, match=r"foreground \(48, 63\)"):
        metrics.robustness(mask, mask, mask[:, 1:])


# Tracks


def track(*frames: Mask | None) -> MaskTrack:
    height, width = next(frame.shape for frame in frames if frame is not None)
    return MaskTrack(height, width, tuple(None if frame is None else Rle.from_array(frame).counts for frame in frames))


def test_track_scores_are_those_of_the_frames(backend: metrics.Backend) -> None:
    square, moved, full = edge_case("sq"), edge_case("shift(+2row,+1col)"), edge_case("full")
    truth, predicted = track(square, None, None, full, square), track(moved, None, square, None, square)
    scores = metrics.track_scores(truth, predicted, backend=backend)
    assert scores.J.tolist() == [0.5625, 1, 0, 0, 1]
    assert scores.F.tolist() == pytest.approx([0.525, 1, 0, 1, 1], abs=EXACT)
    assert metrics.t_iou(truth.visible, predicted.visible) == 2 / 4
    assert metrics.v_iou(scores.J, truth.visible, predicted.visible) == 1.5625 / 4


def test_temporal_scores_are_one_where_nothing_is_ever_visible() -> None:
    nothing = np.zeros(3, bool)
    assert metrics.t_iou(nothing, nothing) == metrics.v_iou(np.ones(3), nothing, nothing) == 1
    assert metrics.t_iou(~nothing, nothing) == metrics.v_iou(np.zeros(3), ~nothing, nothing) == 0


def test_tracks_of_other_lengths_or_sizes_are_refused() -> None:
    square = edge_case("sq")
    for other in (track(square, square, square), track(square[1:], square[1:])):
        with pytest.raises(MaskError, match=r"ground truth \(48, 64, 2\), prediction"):
            metrics.track_scores(track(square, square), other)
        with pytest.raises(MaskError, match=r"foreground"):
            metrics.track_robustness(track(square, None), track(square, None), other)


def test_a_broken_mask_in_a_track_is_named_by_its_frame() -> None:
    broken = MaskTrack(48, 64, (None, b"3"))
    with pytest.raises(MaskError, match=r"frame 1: .*48 x 64"):
        metrics.track_scores(broken, track(None, edge_case("sq")))


def test_memory_does_not_grow_with_the_length_of_the_track(backend: metrics.Backend) -> None:
    def peak(frames: int) -> int:
        truth, predicted = (track(*[edge_case(name)] * frames) for name in ("sq", "shift(+2row,+1col)"))
        tracemalloc.start()
        metrics.track_scores(truth, predicted, backend=backend)
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    peak(2)  # what is made once
    assert peak(400) - peak(20) < 380 * 48 * 64 / 8  # less than one packed frame for each frame more


# Statistics


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0.4], 0.0, id="one frame is in all bins"),
        pytest.param([0.9, 0.5, 0.1], 0.7 - 0.1, id="halves are rounded up"),
        pytest.param([1, 1, 1, 1, 0, 0, 0, 0], 1.0, id="eight frames"),
        pytest.param([10, 20, 30, 0, 0, 0, 0, 1, 2, 3], 20.0 - 2.0, id="ten frames: three in each outer bin"),
    ],
)
def test_decay_is_the_first_bin_less_the_last(values: list[float], expected: float) -> None:
    assert metrics.decay(values) == pytest.approx(expected, abs=EXACT)
    assert metrics.decay(values, as_released=True) == metrics.decay(values)


def test_decay_as_released_wraps_frame_numbers_in_eight_bits() -> None:
    values = np.linspace(1, 0, 300)
    assert metrics.decay(values) == pytest.approx(0.75, abs=0.01)
    assert np.isnan(metrics.decay(values, as_released=True))
    assert metrics.decay(values[:256], as_released=True) == metrics.decay(values[:256])


def test_recall_counts_what_is_above_the_threshold() -> None:
    assert metrics.recall([0.5, 0.51, 1, 0]) == 0.5
    assert metrics.statistics([0.5, 1.0]) == (0.75, 0.5, -0.5)


@pytest.mark.parametrize("values", [[], 0.5, [[0.5]]])
def test_statistics_of_what_is_not_frames_are_refused(values: Any) -> None:
    with pytest.raises(DataError, match="one value per frame"):
        metrics.statistics(values)


# Backends


def test_without_numba_the_numpy_code_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it fails from here on
    for function in (backends.active_backend, backends._compiled):
        function.cache_clear()
    try:
        assert metrics.active_backend() == "numpy"
        with pytest.raises(UsageError, match=r"vtscot\[numba\]"):
            metrics.j_and_f(edge_case("sq"), edge_case("shift(+2row,+1col)"), backend="numba")
    finally:
        for function in (backends.active_backend, backends._compiled):
            function.cache_clear()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match="'cuda'"):
        metrics.j_and_f(edge_case("sq"), edge_case("shift(+2row,+1col)"), backend="cuda")  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["boundary", "frame", "region"])
def test_examples_in_docstrings_hold(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"vtscot.metrics.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
