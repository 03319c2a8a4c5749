"""Predictions that are not what they should be: one line that names video and expression, and exit code 1."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.scores import scores_of, write_predictions
from tests.trees import FRAMES, HEIGHT, WIDTH, good_masks, good_meta, rle, write_tree
from vtscot.cli.main import run
from vtscot.evaluation import BENCHMARKS, Rules
from vtscot.evaluation.pngs import MAX_FILE

WHERE = "video cat, expression 0: "
GOOD = [rle(2, 3)] * FRAMES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", good_meta(), good_masks())


def complaint(
    tree: Path, predictions: Path, capfd: pytest.CaptureFixture[str], *more: str, split: str = "train"
) -> str:
    """What `vtscot eval` says last; it must end with exit code 1 and print no scores."""
    given = ["--source", "mevis", "--root", str(tree), "--split", split, "--predictions", str(predictions)]
    code = run(["eval", *given, "--json", *more])
    out, err = capfd.readouterr()
    assert code == 1, err
    assert out == ""
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


# JSON ---------------------------------------------------------------------------------------------------------------


def counts(value: object) -> list[Any]:
    """Good masks, but for the counts of frame 1."""
    return [GOOD[0], GOOD[0] | {"counts": value}, *GOOD[2:]]


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "another size": ([rle(2, 3, height=30, width=40)] * FRAMES, "a mask of (30, 40) in a frame of (24, 32)"),
    "another size in one frame": ([*GOOD[1:], rle(2, 3, height=25)], "frame 3: a mask of (25, 32)"),
    "sides swapped": ([rle(2, 3, height=WIDTH, width=HEIGHT)] * FRAMES, "never resized"),
    "too few frames": (GOOD[1:], "3 frames are predicted, the video has 4"),
    "too many frames": ([*GOOD, GOOD[0]], "5 frames are predicted, the video has 4"),
    "no frames": ([], "0 frames are predicted"),
    "bytes as text": (counts(str(GOOD[0]["counts"].encode())), "decode the bytes"),
    "counts of another mask": (counts(rle(0, 0, height=99)["counts"]), "frame 1: "),
    "counts that are noise": (counts("\x00\x01"), "frame 1: "),
    "counts that are a number": (counts(7), "frame 1: "),
    "runs that do not add up": (counts([1, 2, 3]), "frame 1: the 3 runs of a mask do not add up"),
    "negative runs": (counts([-1, HEIGHT * WIDTH + 1]), "frame 1: "),
    "a pixel list": ([[[0, 1], [1, 0]]] * FRAMES, "frame 0: "),
    "a number": ([3] * FRAMES, "frame 0: "),
    "not a list": ({"0": GOOD}, "no list under prediction_masks"),
}


@pytest.mark.parametrize(("masks", "says"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_bad_masks(masks: Any, says: str, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_predictions(tmp_path / "p.json", {"cat": {"1": GOOD, "0": masks}})
    said = complaint(tree, path, capfd)
    assert WHERE in said
    assert says in said


def good_text() -> str:
    return json.dumps({"cat": {"0": {"prediction_masks": GOOD}, "1": {"prediction_masks": GOOD}}})


BAD_FILES: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda text: "", "the file is empty"),
    "not JSON": (lambda text: "PNG or not?", "no object starts"),
    "a list": (lambda text: f"[{text}]", "an object is needed"),
    "cut off in a mask": (lambda text: text[: len(text) // 3], "ends early at byte"),
    "cut off between expressions": (lambda text: text[: text.index(', "1"')], "video cat"),
    "cut off at the end": (lambda text: text[:-1], "ends early"),
    "two documents": (lambda text: text + text, "more text after the end"),
    "NaN in a mask": (lambda text: text.replace(json.dumps(GOOD[0]), "NaN", 1), "NaN is not JSON"),
    "NaN for an expression": (lambda text: '{"cat": {"0": NaN}}', "video cat, expression 0"),
    "a list for an expression": (lambda text: json.dumps({"cat": {"0": GOOD}}), "video cat, expression 0"),
    "no masks in an expression": (lambda text: json.dumps({"cat": {"0": {}}}), "no list under prediction_masks"),
    "a list for a video": (lambda text: json.dumps({"cat": [GOOD]}), "an object is needed"),
    "commas missing": (lambda text: text.replace('}, "1"', '} "1"'), "an object is needed"),
    "a comma too many": (lambda text: text[:-2] + ",}}", "an object is needed"),
    "an expression twice": (lambda text: text.replace('"1": {"pre', '"0": {"pre'), "expression 0: predicted twice"),
    "not UTF-8": (lambda text: text.encode().replace(b'"0"', b'"\xff"'), "a key is no text"),
    "deep nesting": (lambda text: '{"cat": {"0": {"prediction_masks": ' + "[" * 99999 + "]" * 99999 + "}}}", WHERE),
    "a brace in the wrong place": (lambda text: text.replace('"prediction_masks": [', '"prediction_masks": {', 1), "0"),
}


@pytest.mark.parametrize(("spoil", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_json(
    spoil: Callable[[str], str | bytes], says: str, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, content = tmp_path / "p.json", spoil(good_text())
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = complaint(tree, path, capfd)
    assert str(path) in said
    assert says in said


def test_every_way_to_write_a_good_mask(tree: Path, tmp_path: Path) -> None:
    start, side = 2 * HEIGHT + 3, 5
    runs = [start, *[side, HEIGHT - side] * (side - 1), side]
    listed = {"size": [HEIGHT, WIDTH], "counts": [*runs, HEIGHT * WIDTH - sum(runs)]}
    masks = [rle(2, 3), listed, [rle(2, 3), rle(4, 3)], rle(12, 3)]
    path = write_predictions(tmp_path / "p.json", {"cat": {"0": masks, "1": [None, [], rle(20, 12), rle(20, 12)]}})
    found, numbers = scores_of(tree, path, Rules(BENCHMARKS["mevis"]))
    # The target is at x = 0, 2, hidden, 6; every mask is five rows high.
    assert pytest.approx((3 / 7 + 1 + 0 + 0) / 4) == found.rows[0].scores.J
    assert found.rows[1].scores.J == 0.5
    assert numbers["missing"] == 0


def test_extra_and_missing_predictions_are_told(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_predictions(tmp_path / "p.json", {"dog": {"0": GOOD}, "cat": {"0": good_masks()["1"], "7": GOOD}})
    given = ["--source", "mevis", "--root", str(tree), "--split", "train", "--predictions", str(path)]
    assert run(["eval", *given, "--json"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["J"], found["missing"], found["extra"]) == (0.5, 1, 2)
    assert "1 predictions are missing and were scored zero: cat/1" in err
    assert "2 predictions are for no expression of the split: dog/0, cat/7" in err


def test_predictions_of_another_set(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_predictions(tmp_path / "p.json", {"dog": {"0": GOOD}})
    said = complaint(tree, path, capfd)
    assert "no prediction for mevis train (wanted cat/0, ...; found 1 others, the first is dog/0)" in said


def test_a_split_whose_masks_are_held_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "tree", good_meta(), None, split="valid")
    said = complaint(tree, write_predictions(tmp_path / "p.json", {}), capfd, split="valid")
    assert "held out" in said
    assert "vtscot submit --source mevis --split valid" in said


def test_no_such_file(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read (No such file" in complaint(tree, tmp_path / "nothing.json", capfd)


# PNGs ---------------------------------------------------------------------------------------------------------------


def png(mask: Any, mode: str = "L") -> bytes:
    """A PNG of a (H, W) array of pixel values."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(mask, np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    (image if mode in ("L", "P") else image.convert(mode)).save(file, "PNG")
    return file.getvalue()


def square(value: int = 255, height: int = HEIGHT, width: int = WIDTH) -> Any:
    mask = np.zeros((height, width), np.uint8)
    mask[3:8, 2:7] = value
    return mask


def write_pngs(folder: Path, pngs: dict[str, bytes], exp_id: str = "0") -> Path:
    """`cat/<exp_id>/<name>.png` for each."""
    target = folder / "cat" / exp_id
    target.mkdir(parents=True)
    for name, data in pngs.items():
        (target / f"{name}.png").write_bytes(data)
    return folder


def four(data: bytes) -> dict[str, bytes]:
    return {f"{i:05d}": data for i in range(FRAMES)}


GOOD_PNGS = {
    "0/255": png(square()),
    "0/1": png(square(1)),
    "0/128": png(square(128)),
    "palette": png(square(2), "P"),
    "one bit": png(square(), "1"),
}


@pytest.mark.parametrize("data", GOOD_PNGS.values(), ids=GOOD_PNGS)
def test_all_spellings_of_foreground_score_alike(data: bytes, tree: Path, tmp_path: Path) -> None:
    found, _ = scores_of(tree, write_pngs(tmp_path / "p", four(data)), Rules(BENCHMARKS["mevis"]))
    same = write_predictions(tmp_path / "p.json", {"cat": {"0": [rle(2, 3)] * FRAMES}})
    expected, _ = scores_of(tree, same, Rules(BENCHMARKS["mevis"]))
    assert found.rows[0].scores.J == expected.rows[0].scores.J > 0.2


two_values, soft = square(1), square()
two_values[10:15, 10:15] = 2
soft[3:8, 2:7] += np.arange(25, dtype=np.uint8).reshape(5, 5)

BAD_PNGS: dict[str, tuple[dict[str, bytes], str]] = {
    "another size": (four(png(square(height=30))), "frame 00000: a mask of (30, 32) in a frame of (24, 32)"),
    "a bomb by its header": (four(png(np.zeros((9000, 9000)))), "a mask of (9000, 9000)"),
    "several objects": (four(png(two_values, "P")), "foreground has the values 1, 2"),
    "soft": (four(png(soft)), "and 19 more"),
    "another value in each frame": (four(png(square(1))) | {"00002": png(square(2))}, "foreground is 1, 2"),
    "in colour": (four(png(square(), "RGB")), "a PNG of mode RGB"),
    "a frame missing": ({k: v for k, v in four(png(square())).items() if k != "00002"}, "the first is 00002"),
    "a frame too many": (four(png(square())) | {"00004": png(square())}, "the first is 00004.png"),
    "other names": ({f"{i}": png(square()) for i in range(FRAMES)}, "4 of 4 frames are missing"),
    "cut off": (four(png(square())[:-30]), "frame 00000: no whole PNG"),
    "no PNG": (four(b"GIF89a, honestly"), "frame 00000: no whole PNG"),
    "empty file": (four(b""), "no whole PNG"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(("pngs", "says"), BAD_PNGS.values(), ids=BAD_PNGS)
def test_bad_pngs(
    pngs: dict[str, bytes], says: str, packed: bool, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p"
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in pngs.items():
                archive.writestr(f"cat/0/{name}.png", data)
    else:
        write_pngs(path, pngs)
    said = complaint(tree, path, capfd)
    assert WHERE in said
    assert says in said


def test_whole_videos_with_several_objects(tree: Path, tmp_path: Path) -> None:
    """DAVIS's layout: pixel values are object ids."""
    meta = good_meta()
    for exp_id, number in (("0", "1"), ("1", "2")):
        meta["videos"]["cat"]["expressions"][exp_id]["obj_id"] = number
    root = write_tree(tmp_path / "numbered", meta, good_masks())
    folder = tmp_path / "p" / "cat"
    folder.mkdir(parents=True)
    both = square(1)
    both[12:17, 20:25] = 2
    for name, data in four(png(both, "P")).items():
        (folder / f"{name}.png").write_bytes(data)
    found, _ = scores_of(root, folder.parent, Rules(BENCHMARKS["ref-davis17"], semi_supervised=True))
    assert found.rows[1].scores.J == 1.0
    assert found.rows[0].scores.J == 0.5  # of two frames that count: hidden in the other one


# Zips ---------------------------------------------------------------------------------------------------------------

BAD_MEMBERS = [
    "../cat/0/00000.png",
    "/cat/0/00000.png",
    "cat/../../0/00000.png",
    "C:/cat/0.png",
    "cat\\0\\0.png",
    "a//b",
]


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_members_that_lead_elsewhere(name: str, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for frame, data in four(png(square())).items():
            archive.writestr(f"cat/0/{frame}.png", data)
        archive.writestr(name, b"x")
    said = complaint(tree, path, capfd)
    assert "leads out of the zip or is no name" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.zip", "tree"]


def test_a_member_that_unpacks_to_too_much(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame, data in four(png(square())).items():
            archive.writestr(f"cat/0/{frame}.png", b"\0" * (MAX_FILE + 1) if frame == "00001" else data)
    said = complaint(tree, path, capfd)
    assert WHERE in said
    assert "zip bomb" in said


def test_a_member_that_comes_twice(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("cat/0/00000.png", png(square()))
    assert "cat/0/00000.png comes twice" in complaint(tree, path, capfd)


@pytest.mark.parametrize("where", ["directory", "data"])
def test_a_broken_zip(where: str, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame, data in four(png(square())).items():
            archive.writestr(f"cat/0/{frame}.png", data)
    raw = bytearray(path.read_bytes())
    if where == "directory":
        raw = raw[: len(raw) // 2]
    else:
        raw[60:70] = b"\xff" * 10
    path.write_bytes(raw)
    said = complaint(tree, path, capfd)
    assert ("no whole zip" if where == "directory" else WHERE) in said


def test_an_error_in_a_worker_is_the_same(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    meta = good_meta()
    expressions = meta["videos"]["cat"]["expressions"]
    for i in range(2, 12):
        expressions[str(i)] = expressions["0"]
    root = write_tree(tmp_path / "many", meta, good_masks())
    predicted = {str(i): GOOD for i in range(12)} | {"7": GOOD[1:], "11": []}
    path = write_predictions(tmp_path / "p.json", {"cat": predicted})
    said = [complaint(root, path, capfd, "--workers", workers) for workers in ("1", "2")]
    assert said[0] == said[1]
    assert "expression 7: 3 frames" in said[0]
