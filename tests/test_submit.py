"""Archives for servers: what is in them, byte for byte, and which predictions are refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli import vtscot
from tests.scores import scores_of, write_predictions
from tests.trees import FRAMES, HEIGHT, WIDTH, good_masks, good_meta, rle, write_frames, write_tree
from vtscot.cli.main import run
from vtscot.evaluation import BENCHMARKS, Rules, open_predictions, submit
from vtscot.masks import Rle, decode
from vtscot.sources.mevis import MevisSource


def held_out() -> dict[str, Any]:
    """The small tree's expressions as a split without masks has them."""
    meta = good_meta()
    for expression in meta["videos"]["cat"]["expressions"].values():
        del expression["obj_id"], expression["anno_id"]
    return meta


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", held_out(), None, split="valid")


def predictions(folder: Path, **expressions: Any) -> Path:
    masks = good_masks()
    return write_predictions(folder / "p.json", {"cat": {"0": masks["1"], "1": masks["2"]} | expressions})


def test_archive_for_mevis(tree: Path, tmp_path: Path) -> None:
    path = predictions(tmp_path)
    given = ("--source", "mevis", "--root", tree, "--split", "valid", "--predictions", path)
    ended = vtscot("submit", *given, "--out", tmp_path / "out" / "mevis.zip")
    assert ended.code == 0, ended.err
    assert "2 expressions, 8 frames" in ended.out
    with zipfile.ZipFile(tmp_path / "out" / "mevis.zip") as archive:
        names = archive.namelist()
        images = {name: Image.open(io.BytesIO(archive.read(name))) for name in names}
    assert names == [f"cat/{exp_id}/{i:05d}.png" for exp_id in ("0", "1") for i in range(FRAMES)]
    for name, image in images.items():
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT)), name
        mask = good_masks()["1" if "/0/" in name else "2"][int(name[-9:-4])]
        expected = decode(Rle.from_coco(mask)) * 255 if mask else np.zeros((HEIGHT, WIDTH))
        assert np.array_equal(np.asarray(image), expected), name


def test_same_predictions_same_bytes(tree: Path, tmp_path: Path) -> None:
    source = MevisSource(tree, "valid")
    made = [submit(source, open_predictions(predictions(tmp_path)), tmp_path / name) for name in ("a.zip", "b.zip")]
    again = submit(source, open_predictions(made[0].path), tmp_path / "c.zip")  # its own archive, read as predictions
    assert made[0].path.read_bytes() == made[1].path.read_bytes() == again.path.read_bytes()
    assert made[0].path.stat().st_mode & 0o777 == 0o644


def test_what_is_sent_is_what_is_scored(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", good_meta(), good_masks())
    path = predictions(tmp_path, **{"0": [rle(i, 4) for i in range(FRAMES)]})
    made = submit(MevisSource(root, "train"), open_predictions(path), tmp_path / "sent.zip")
    before, _ = scores_of(root, path, Rules(BENCHMARKS["mevis"]))
    after, _ = scores_of(root, made.path, Rules(BENCHMARKS["mevis"]))
    assert [row.scores for row in before.rows] == [row.scores for row in after.rows]
    assert before.rows[0].scores.J < 1


def refused(tree: Path, path: Path, out: Path, capfd: pytest.CaptureFixture[str], source: str = "mevis") -> str:
    """What `vtscot submit` says last; nothing may have been written."""
    given = ["--source", source, "--root", str(tree), "--split", "valid", "--predictions", str(path)]
    code = run(["submit", *given, "--out", str(out)])
    said = capfd.readouterr().err
    assert code == (1 if source == "mevis" else 2), said
    assert "Traceback" not in said
    assert not out.exists()
    assert not list(out.parent.glob(".*.part"))
    return said.strip().splitlines()[-1]


def test_incomplete_predictions(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_predictions(tmp_path / "p.json", {"cat": {"1": good_masks()["2"]}})
    said = refused(tree, path, tmp_path / "out.zip", capfd)
    assert "incomplete: 1 of 2 expressions in 1 videos are missing: cat/0; nothing was written" in said


BAD: dict[str, tuple[Any, str]] = {
    "another size": ([rle(0, 0, height=50)] * FRAMES, "a mask of (50, 32) in a frame of (24, 32)"),
    "a frame missing": ([None] * (FRAMES - 1), "3 frames are predicted, the video has 4"),
    "no masks": (None, "no list under prediction_masks"),
}


@pytest.mark.parametrize(("masks", "says"), BAD.values(), ids=BAD)
def test_bad_predictions(masks: Any, says: str, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = refused(tree, predictions(tmp_path, **{"1": masks}), tmp_path / "out.zip", capfd)
    assert "video cat, expression 1: " in said
    assert says in said


def test_empty_masks_take_the_size_of_the_frames(tree: Path, tmp_path: Path) -> None:
    path = predictions(tmp_path, **{"0": [None] * FRAMES, "1": [[]] * FRAMES})
    made = submit(MevisSource(tree, "valid"), open_predictions(path), tmp_path / "out.zip")
    with zipfile.ZipFile(made.path) as archive:
        image = Image.open(io.BytesIO(archive.read("cat/1/00003.png")))
        assert image.size == (WIDTH, HEIGHT)
        assert image.getextrema() == (0, 0)


def test_frames_that_are_not_on_disk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "bare", held_out(), None, split="valid", images=False)
    said = refused(tree, predictions(tmp_path), tmp_path / "out.zip", capfd)
    assert "mevis valid: video cat: the folder of its frames cannot be read" in said


def test_sets_without_a_server(tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = refused(tree, predictions(tmp_path), tmp_path / "out.zip", capfd, source="demo")
    assert "demo has no server to submit to; sets with one: mevis, ref-youtube-vos" in said


def test_extra_predictions_stay_out(tree: Path, tmp_path: Path) -> None:
    path = predictions(tmp_path, more=good_masks()["1"])
    made = submit(MevisSource(tree, "valid"), open_predictions(path), tmp_path / "out.zip")
    assert made.extra == ("cat/more",)
    with zipfile.ZipFile(made.path) as archive:
        assert not [name for name in archive.namelist() if "more" in name]


def ytvos_file(root: Path, split: str, videos: list[str]) -> None:
    """An expressions file of Ref-YouTube-VOS: two expressions for each video."""
    body = {
        "frames": [f"{5 * i:05d}" for i in range(FRAMES)],
        "expressions": {"0": {"exp": "the square that moves"}, "1": {"exp": "the square that rests"}},
    }
    folder = root / "meta_expressions" / split
    folder.mkdir(parents=True)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": dict.fromkeys(videos, body)}))


def test_archive_for_ref_youtube_vos(tmp_path: Path) -> None:
    root = tmp_path / "ytvos"
    ytvos_file(root, "valid", ["cat", "dog"])  # the file of valid holds the videos of test as well
    frames = root / "valid" / "JPEGImages" / "cat"
    write_frames(frames)
    for i in reversed(range(FRAMES)):
        (frames / f"{i:05d}.jpg").rename(frames / f"{5 * i:05d}.jpg")
    path = predictions(tmp_path)
    given = ("--source", "ref-youtube-vos", "--root", root, "--split", "valid", "--predictions", path)
    refused = vtscot("submit", *given, "--out", tmp_path / "out.zip")
    assert refused.code == 1
    assert "2 of 4 expressions in 1 videos are missing: dog/0, dog/1" in refused.complaint
    assert "there is no file of the test split" in refused.err
    ytvos_file(root, "test", ["dog"])
    ended = vtscot("submit", *given, "--out", tmp_path / "out.zip")
    assert ended.code == 0, ended.err
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        expected = [f"Annotations/cat/{exp_id}/{5 * i:05d}.png" for exp_id in ("0", "1") for i in range(FRAMES)]
        assert archive.namelist() == expected
