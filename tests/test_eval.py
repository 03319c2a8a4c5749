"""Scores equal to those of the official scripts, through the command; what is written beside the numbers."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import chromium, find_chromium
from tests.cli import vtscot
from tests.scores import scores_of, write_predictions
from tests.trees import FRAMES, good_masks, good_meta, rle, write_tree
from vtscot.errors import RunError
from vtscot.evaluation import BENCHMARKS, Rules, benchmark_of, summarize
from vtscot.evaluation.page import render_page
from vtscot.sources.mevis import MevisSource

EXACT = 1e-9


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_data / "golden.json").read_text())
    return found


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {f"{row['video']}_{row['exp_id']}": row for row in csv.DictReader(file)}


def test_interchange_json_through_the_command(shared_data: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    root, predictions = shared_data / "mevis", shared_data / "predictions" / "mevis_predictions.json"
    where = ("--source", "mevis", "--root", root, "--split", "train", "--predictions", predictions)
    ended = vtscot("eval", *where, "--json", "--csv", tmp_path / "scores.csv")
    assert ended.code == 0, ended.err
    rows = rows_of(tmp_path / "scores.csv")
    expected = golden["per_expression_J_F"]
    assert list(rows) == list(expected)
    for name, (j, f) in expected.items():
        assert float(rows[name]["J"]) == pytest.approx(j, abs=EXACT)
        assert float(rows[name]["F"]) == pytest.approx(f, abs=EXACT)
        assert float(rows[name]["J&F"]) == pytest.approx((j + f) / 2, abs=EXACT)
    mean = np.mean(list(expected.values()), axis=0)
    found = ended.json()
    assert [found["J"], found["F"], found["J&F"]] == pytest.approx([*mean, mean.mean()], abs=EXACT)
    assert found["expressions"] == 12
    assert found["frames"] == sum(video["n_frames"] for video in golden["davis16_vs_osvos"].values()) * 4
    assert (found["missing"], found["extra"], found["unscorable"]) == (0, 0, {})


@pytest.fixture(scope="module")
def png_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real palette PNGs as `<video>/0/<frame>.png`."""
    folder = tmp_path_factory.mktemp("pngs") / "predictions"
    for video in (shared_data / "predictions" / "osvos").iterdir():
        shutil.copytree(video, folder / video.name / "0")
    return folder


@pytest.mark.parametrize("layout", ["plain", "Annotations", "zip", "zip with Annotations"])
def test_folders_and_zips_of_pngs(
    layout: str, png_folder: Path, shared_data: Path, golden: dict[str, Any], tmp_path: Path
) -> None:
    prefix = "Annotations/" if "Annotations" in layout else ""
    path = tmp_path / "given"
    if layout.startswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(png_folder.rglob("*.png")):
                archive.write(file, prefix + file.relative_to(png_folder).as_posix())
            archive.writestr("__MACOSX/dog/0/._00000.png", b"not a png")
    else:
        shutil.copytree(png_folder, path / prefix)
    found, numbers = scores_of(shared_data / "mevis", path, Rules(benchmark_of("mevis")))
    scored = {row.query.video: row.scores for row in found.rows if row.query.exp_id == "0"}
    for video, expected in golden["davis16_vs_osvos"].items():
        assert pytest.approx(expected["J_mean_all_frames"], abs=EXACT) == scored[video].J
        assert pytest.approx(expected["F_mean_all_frames"], abs=EXACT) == scored[video].F
    assert numbers["missing"] == 9
    assert numbers["J"] == pytest.approx(sum(scores.J for scores in scored.values()) / 12, abs=EXACT)


def test_davis_files_semi_supervised(shared_data: Path, golden: dict[str, Any]) -> None:
    where = (
        "--root",
        shared_data / "mevis",
        "--split",
        "train",
        "--predictions",
        shared_data / "predictions" / "osvos",
    )
    ended = vtscot("eval", "--source", "mevis", *where, "--semi-supervised", "--json")
    assert ended.code == 0, ended.err
    found, expected = ended.json(), golden["davis16_vs_osvos"].values()
    assert found["J"] == pytest.approx(np.mean([v["J_mean_skip_first_last"] for v in expected]), abs=EXACT)
    assert found["F"] == pytest.approx(np.mean([v["F_mean_skip_first_last"] for v in expected]), abs=EXACT)
    assert {"J-recall", "J-decay", "F-recall", "F-decay"} <= found.keys()
    refused = vtscot("eval", "--source", "mevis", *where)
    assert refused.code == 1
    assert "--semi-supervised" in refused.complaint


def typed_tree(shared_data: Path, root: Path, kinds: dict[str, str]) -> Path:
    """The real MeViS tree, without frames, with a kind for every expression."""
    meta = json.loads((shared_data / "mevis" / "train" / "meta_expressions.json").read_text())
    for name, video in meta["videos"].items():
        for exp_id, expression in video["expressions"].items():
            expression["type"] = kinds[f"{name}_{exp_id}"]
    return write_tree(root, meta, (shared_data / "mevis" / "train" / "mask_dict.json").read_bytes(), images=False)


def at_hand(shared_data: Path, folder: Path) -> Path:
    return Path(shutil.copy(shared_data / "predictions" / "mevis_predictions.json", folder / "predictions.json"))


def test_revos_rounds_and_halves(shared_data: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    names = {"0": "referring", "1": "reasoning"}
    rows = {row["videxp"]: row for row in golden["revos_rows"]}
    kinds = {name: names[row["type_id"]] for name, row in rows.items()} | {"dog_1": "non-existent"}
    root = typed_tree(shared_data, tmp_path / "tree", kinds)
    found, numbers = scores_of(root, at_hand(shared_data, tmp_path), Rules(BENCHMARKS["revos"]))
    for row in found.rows:
        expected = rows[f"{row.query.video}_{row.query.exp_id}"]
        ours = {"J": row.scores.J, "F": row.scores.F, **row.scores.more}
        assert {name: str(round(100 * value, 2)) for name, value in ours.items()} == {k: expected[k] for k in "JFAR"}
    halves = []
    for kind in ("referring", "reasoning"):
        of_kind = [rows[name] for name in rows if kinds[name] == kind]
        means = {k: float(np.mean([float(row[k]) for row in of_kind])) / 100 for k in "JFAR"}
        halves.append(means | {"J&F": (means["J"] + means["F"]) / 2, "expressions": len(of_kind)})
        assert numbers[kind] == pytest.approx(halves[-1], abs=EXACT)
    for name in ("J", "F", "J&F", "A", "R"):
        assert numbers[name] == numbers["overall"][name] == pytest.approx((halves[0][name] + halves[1][name]) / 2)
    assert numbers["non-existent"]["J"] == 1.0


def test_revos_through_the_command(shared_data: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    real = json.loads((shared_data / "predictions" / "mevis_predictions.json").read_text())
    predictions = tmp_path / "p.json"
    predictions.write_text(json.dumps({f"DAVIS/val/{video}": masks for video, masks in real.items()}))
    where = ("--root", shared_data / "revos", "--predictions", predictions, "--csv", tmp_path / "scores.csv")
    ended = vtscot("eval", "--source", "revos", *where, "--json")
    assert ended.code == 0, ended.err
    rows = rows_of(tmp_path / "scores.csv")
    for row in golden["revos_rows"]:
        ours = rows[f"DAVIS/val/{row['videxp']}"]
        assert {k: round(100 * float(ours[k]), 2) for k in "JFAR"} == {k: float(row[k]) for k in "JFAR"}
        assert round(100 * float(ours["J&F"]), 2) == float(row["JF"])
    halves = [[row for row in golden["revos_rows"] if row["type_id"] == kind] for kind in "01"]
    for name, key in (("J", "J"), ("F", "F"), ("A", "A"), ("R", "R")):
        means = [np.mean([float(row[key]) for row in half]) for half in halves]
        assert ended.json()["overall"][name] == pytest.approx(np.mean(means) / 100, abs=EXACT)


def test_long_rvos_adds_time(shared_data: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    expected = golden["per_expression_J_tIoU_vIoU"]
    kinds = dict(zip(expected, ["static", "dynamic", "hybrid"] * 4, strict=True))
    root = typed_tree(shared_data, tmp_path / "tree", kinds)
    found, numbers = scores_of(root, at_hand(shared_data, tmp_path), Rules(BENCHMARKS["long-rvos"]))
    for row in found.rows:
        values = row.scores.J, row.scores.more["tIoU"], row.scores.more["vIoU"]
        assert values == pytest.approx(expected[f"{row.query.video}_{row.query.exp_id}"], abs=EXACT)
    assert numbers["tIoU"] == pytest.approx(np.mean([v[1] for v in expected.values()]), abs=EXACT)
    static = [values for name, values in expected.items() if kinds[name] == "static"]
    assert numbers["static"]["vIoU"] == pytest.approx(np.mean([v[2] for v in static]), abs=EXACT)
    assert list(numbers)[-3:] == ["static", "dynamic", "hybrid"]


# Output -------------------------------------------------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same_files(shared_data: Path, tmp_path: Path) -> None:
    predictions = shared_data / "predictions" / "mevis_predictions.json"
    where = ("--source", "mevis", "--root", shared_data / "mevis", "--split", "train", "--predictions", predictions)
    for workers in ("1", "3"):
        ended = vtscot("eval", *where, "--out", tmp_path / workers, "--workers", workers)
        assert ended.code == 0, ended.err
        assert "57.34" in ended.out
        assert "VideoSEG-O3-4B" in ended.out
    for name in ("scores.json", "scores.csv", "scores.html"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes(), name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_protocol_of_every_set_can_be_sent_to_workers(name: str) -> None:
    assert pickle.loads(pickle.dumps(Rules(BENCHMARKS[name]))) == Rules(BENCHMARKS[name])


def hostile_page(folder: Path, *, images: bool = True) -> str:
    """The page for a small tree in `folder`, with markup in expressions and in names."""
    meta = good_meta()
    meta["videos"]["cat"]["expressions"]["x"] = {
        "exp": '<script>alert("1")</script> & <b>',
        "obj_id": [0],
        "anno_id": [1],
    }
    root = write_tree(folder / "tree", meta, good_masks(), images=images)
    predicted = {name: [rle(20, 12)] * FRAMES for name in ("0", "1", "x")}
    path = write_predictions(folder / "p.json", {"cat": predicted, "<i>extra</i>": {"0": []}})
    source = MevisSource(root, "train")
    found, _ = scores_of(root, path, Rules(BENCHMARKS["mevis"]), source)
    return render_page(found, summarize(found), source)


def test_page_is_inert_and_complete(tmp_path: Path) -> None:
    page = hostile_page(tmp_path)
    assert "&lt;script&gt;alert(" in page
    for bad in ("<script", "<i>extra", "http://", "https://"):
        assert bad not in page
    assert page.count("<article>") == 2  # the perfect one is not shown
    assert page.count('class="missed"') > 2  # beside the one of the legend
    assert page.count("data:image/jpeg") == 3  # one for each frame that is shown, however often


def test_page_is_the_same_twice(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages.append(hostile_page(tmp_path / name))
    assert pages[0] == pages[1]


def test_page_without_frames_on_disk(tmp_path: Path) -> None:
    page = hostile_page(tmp_path, images=False)
    assert "data:image/jpeg" not in page
    assert page.count("<article>") == 2
    assert page.count('class="missed"') > 2


def test_page_opens_without_errors(tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here to open the page with")
    (tmp_path / "scores.html").write_text(hostile_page(tmp_path))
    with chromium(program) as page:
        page.open((tmp_path / "scores.html").as_uri())
        assert page.run("document.querySelectorAll('article svg path').length") > 4
        assert page.run("document.querySelectorAll('use').length") > 4
        assert page.run("getComputedStyle(document.querySelector('.trio')).display") == "grid"
        assert not page.errors


def test_the_index_is_used_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", good_meta(), good_masks())
    path = write_predictions(tmp_path / "p.json", {"cat": {"0": good_masks()["1"]}})
    where = ("eval", "--source", "mevis", "--root", root, "--split", "train", "--predictions", path)
    assert vtscot(*where, "--out", tmp_path / "out").code == 0
    written = (tmp_path / "out" / "index" / "masks.parquet").stat().st_mtime_ns
    assert vtscot(*where, "--out", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "index" / "masks.parquet").stat().st_mtime_ns == written


def die(_: object) -> None:
    """What a worker runs in the next test."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does it where memory runs out."""
    monkeypatch.setattr("vtscot.evaluation.evaluation._work", die)
    meta = good_meta()
    meta["videos"]["dog"] = meta["videos"]["cat"]
    two = write_tree(tmp_path / "two", meta, good_masks(), images=False)
    path = write_predictions(tmp_path / "p.json", {v: {"0": good_masks()["1"]} for v in ("cat", "dog")})
    with pytest.raises(RunError, match="try workers 1 instead of 2"):
        scores_of(two, path, Rules(BENCHMARKS["mevis"]), workers=2)


def test_the_only_split_is_taken_where_the_usual_one_is_not_there(shared_data: Path) -> None:
    predictions = shared_data / "predictions" / "mevis_predictions.json"
    arguments = ("eval", "--source", "mevis", "--root", shared_data / "mevis", "--predictions", predictions, "--json")
    ended = vtscot(*arguments)
    assert ended.code == 0, ended.err
    assert "only split, train, is taken" in ended.err
    assert ended.json() == vtscot(*arguments, "--split", "train").json()


def test_several_splits_but_not_the_usual_one_are_named(shared_data: Path, demo_root: Path, tmp_path: Path) -> None:
    for name in ("train", "holdout"):
        (tmp_path / name).symlink_to(demo_root / "train")
    predictions = shared_data / "predictions" / "mevis_predictions.json"
    ended = vtscot("eval", "--source", "mevis", "--root", tmp_path, "--predictions", predictions)
    assert ended.code == 1
    assert "holdout, train" in ended.complaint
