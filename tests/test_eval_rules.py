"""The rules of each set that the golden file does not reach, against the plain formulas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import reference_metrics as oracle
from tests.cli import vtscot
from tests.scores import scores_of, write_predictions
from tests.trees import FRAMES, HEIGHT, WIDTH, good_masks, good_meta, rle, write_tree
from vtscot.evaluation import BENCHMARKS, Benchmark, Rules
from vtscot.evaluation.benchmarks import counted_frames
from vtscot.masks import Rle, decode
from vtscot.records import Query
from vtscot.sources.base import RawMask, RawTrack
from vtscot.sources.mevis import MevisSource

EXACT = 1e-9


def square(x: int, y: int, side: int = 5) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return decode(Rle.from_coco(rle(x, y, side)))


def two_objects(**more: Any) -> dict[str, Any]:
    """The small tree's expressions and one more for each keyword."""
    meta = good_meta()
    meta["videos"]["cat"]["expressions"] |= more
    return meta


def test_mevis_v2_accuracies(tmp_path: Path) -> None:
    nothing = {"obj_id": [], "anno_id": []}
    meta = two_objects(a={"exp": "the dog", **nothing}, b={"exp": "a horse", **nothing}, c={"exp": "a cow", **nothing})
    root = write_tree(tmp_path / "tree", meta, good_masks())
    masks = good_masks()
    predicted = {"0": masks["1"], "1": [None] * FRAMES, "a": [None] * FRAMES, "b": [None, None, rle(0, 0), None]}
    path = write_predictions(tmp_path / "p.json", {"cat": predicted})
    _, numbers = scores_of(root, path, Rules(BENCHMARKS["mevis"]))
    assert numbers["missing"] == 1
    assert numbers["N-acc"] == pytest.approx(1 / 3)  # a is right, b is not, c is missing
    assert numbers["T-acc"] == 0.5
    assert numbers["J"] == pytest.approx((1 + 0 + 1 + 0.75 + 0) / 5)
    assert numbers["final"] == pytest.approx((numbers["J&F"] + 1 / 3 + 0.5) / 3)
    without = write_tree(tmp_path / "v1", good_meta(), good_masks())
    _, numbers = scores_of(without, path, Rules(BENCHMARKS["mevis"]), MevisSource(without, "train"))
    assert "final" not in numbers
    assert numbers["extra"] == 2


@pytest.mark.parametrize("frames", [1, 2, 7, 19, 20, 21, 33, 60, 100, 361, 5000])
def test_evenly_spaced_frames_are_those_of_numpy(frames: int) -> None:
    assert counted_frames(Benchmark(sampled=20), frames) == tuple(np.linspace(0, frames - 1, 20, dtype=int).tolist())
    assert counted_frames(Benchmark(), frames) is None


class Questions(MevisSource):
    """A source whose second expression is about an action in frames 10 to 30."""

    def action(self, query: Query) -> tuple[int, int] | None:
        return (10, 30) if query.exp_id == "1" else None


def long_tree(root: Path, frames: int) -> Path:
    """The small tree with more frames; object 1 drifts, object 2 rests."""
    meta = good_meta()
    meta["videos"]["cat"]["frames"] = [f"{i:05d}" for i in range(frames)]
    masks = {"1": [rle(i % 20, 3) for i in range(frames)], "2": [rle(20, 12)] * frames}
    return write_tree(root, meta, masks, images=False)


@pytest.mark.parametrize("predicted_frames", ["all", "those that count"])
def test_groundmore_samples_frames_and_empties_the_rest(predicted_frames: str, tmp_path: Path) -> None:
    frames = 45
    root = long_tree(tmp_path / "tree", frames)
    counted = np.linspace(0, frames - 1, 20, dtype=int).tolist()
    given = range(frames) if predicted_frames == "all" else counted
    masks = [rle(20, 12, 5 if i % 3 else 4) for i in given]
    path = write_predictions(tmp_path / "p.json", {"cat": {"1": masks}})
    source = Questions(root, "train")
    found, numbers = scores_of(root, path, Rules(BENCHMARKS["groundmore"]), source)
    truth = [square(20, 12) if 10 <= i <= 30 else np.zeros((HEIGHT, WIDTH), bool) for i in counted]
    expected = [oracle.jaccard(t, square(20, 12, 5 if i % 3 else 4)) for t, i in zip(truth, counted, strict=True)]
    row = next(row for row in found.rows if row.query.exp_id == "1")
    assert pytest.approx(np.mean(expected), abs=EXACT) == row.scores.J
    assert (row.frames, numbers["missing"]) == (20, 1)
    assert numbers["J"] == pytest.approx(np.mean(expected) / 2, abs=EXACT)
    _, released = scores_of(root, path, Rules(BENCHMARKS["groundmore"], as_released=True), source)
    assert released["J"] == pytest.approx(np.mean(expected), abs=EXACT)


@pytest.mark.parametrize("value", [1, 255])
def test_revos_as_released_keeps_the_bytes_of_the_files(value: int, tmp_path: Path) -> None:
    from PIL import Image

    meta = two_objects()
    both = {"exp": "both", "obj_id": [0, 1], "anno_id": [1, 2], "type": "referring"}
    meta["videos"]["cat"]["expressions"] = {"0": both}
    masks = {"1": [rle(4, 4, 8)] * FRAMES, "2": [rle(8, 8, 8)] * FRAMES}  # they overlap
    root = write_tree(tmp_path / "tree", meta, masks, images=False)
    predicted = square(6, 6, 9).astype(np.uint8) * value
    folder = tmp_path / "p"
    (folder / "cat" / "0").mkdir(parents=True)
    for i in range(FRAMES):
        Image.fromarray(predicted.astype(np.uint8)).save(folder / "cat" / "0" / f"{i:05d}.png")
    one, other = square(4, 4, 8), square(8, 8, 8)
    truth = one.astype(np.uint8) + other
    with np.errstate(over="ignore"):
        wrong = int(((1 - truth).astype(np.uint8) * predicted.astype(np.uint8)).sum())
    expected_a = float((truth == predicted).mean())
    expected_r = max(1 - wrong / (int((one | other).sum()) + 1e-6), 0.0)
    found, _ = scores_of(root, folder, Rules(BENCHMARKS["revos"], as_released=True))
    assert found.rows[0].scores.more == pytest.approx({"A": expected_a, "R": expected_r}, abs=EXACT)
    right, _ = scores_of(root, folder, Rules(BENCHMARKS["revos"]))
    union, plain = one | other, predicted > 0
    assert right.rows[0].scores.more["A"] == pytest.approx(oracle.accuracy(union, plain), abs=EXACT)
    assert right.rows[0].scores.more["R"] == pytest.approx(oracle.robustness(union, plain, union), abs=EXACT)
    assert right.rows[0].scores.more != found.rows[0].scores.more


class WithForegrounds(MevisSource):
    """A source that says what is annotated: more than its expressions name."""

    def foregrounds(self) -> Iterator[tuple[str, RawTrack]]:
        mask = rle(0, 0, 20)
        yield "cat", [RawMask((HEIGHT, WIDTH), mask["counts"])] * FRAMES


def test_robustness_is_measured_against_the_foreground_of_the_set(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", good_meta(), good_masks(), images=False)
    path = write_predictions(tmp_path / "p.json", {"cat": {"1": [rle(2, 2, 9)] * FRAMES}})
    rules = Rules(BENCHMARKS["revos"])
    found, _ = scores_of(root, path, rules, WithForegrounds(root, "train"))
    target, predicted, foreground = square(20, 12), square(2, 2, 9), square(0, 0, 20)
    expected = oracle.robustness(target, predicted, foreground)
    assert found.rows[1].scores.more["R"] == pytest.approx(expected, abs=EXACT)
    own, _ = scores_of(root, path, rules)  # without: the union of the objects that expressions name
    moving = [decode(Rle.from_coco(mask)) if mask else np.zeros_like(target) for mask in good_masks()["1"]]
    expected = float(np.mean([oracle.robustness(target, predicted, target | mask) for mask in moving]))
    assert own.rows[1].scores.more["R"] == pytest.approx(expected, abs=EXACT)


def test_several_targets_are_one_mask_and_odd_text_is_scored(tmp_path: Path) -> None:
    both = {"exp": "both of them", "obj_id": [0, 1], "anno_id": [1, 2]}
    meta = two_objects(
        same={"exp": "The square that MOVES", "obj_id": [0], "anno_id": [1]},
        other={"exp": "the square that rests", "obj_id": [0], "anno_id": [1]},
        long={"exp": "x " * 2000, "obj_id": [0], "anno_id": [1]},
        both=both,
    )
    root = write_tree(tmp_path / "tree", meta, good_masks())
    masks = good_masks()
    union = [[a, b] if a else b for a, b in zip(masks["1"], masks["2"], strict=True)]
    predicted = dict.fromkeys(("0", "same", "other", "long"), masks["1"]) | {"1": masks["2"], "both": union}
    path = write_predictions(tmp_path / "p.json", {"cat": predicted})
    found, numbers = scores_of(root, path, Rules(BENCHMARKS["mevis"]))
    assert [row.query.exp_id for row in found.rows] == ["0", "1", "same", "other", "long", "both"]
    assert numbers["J"] == numbers["F"] == 1.0


def test_what_has_no_masks_is_left_out_and_counted(tmp_path: Path) -> None:
    meta = two_objects(
        gone={"exp": "lost", "obj_id": [7], "anno_id": [7]},
        short={"exp": "short", "obj_id": [8], "anno_id": [8]},
        unsaid={"exp": "which?", "obj_id": [0]},
    )
    masks = good_masks() | {"8": [rle(0, 0)]}
    root = write_tree(tmp_path / "tree", meta, masks)
    names = ("0", "1", "gone", "short", "unsaid")
    path = write_predictions(tmp_path / "p.json", {"cat": dict.fromkeys(names, good_masks()["1"])})
    ended = vtscot("eval", "--source", "mevis", "--root", root, "--split", "train", "--predictions", path, "--json")
    assert ended.code == 0, ended.err
    found = ended.json()
    assert found["expressions"] == 2
    assert found["unscorable"] == {"mask-length": 1, "no-anno-id": 1, "unknown-anno": 1}
    assert "cat/gone (unknown-anno" in ended.err
