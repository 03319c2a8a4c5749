"""`vtscot predict`, the command: what it writes, how it ends, and all that can be wrong with what it is given."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

import torch
from PIL import Image

from tests.policies import pickled
from tests.test_predict import QUERY, write_video
from vtscot.cli.main import run
from vtscot.evaluation import open_predictions
from vtscot.evaluation.predictions import Asked


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def video(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(demo_root, tmp_path_factory.mktemp("videos") / "clip")


def command(policy: Path, video: Path, out: Path, *more: str, query: str = QUERY) -> list[str]:
    where = ["--model", str(policy), "--video", str(video), "--out", str(out), "--device", "cpu"]
    return ["predict", *where, "--query", query, *more]


def written(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_the_command_writes_everything(
    speaking_policy_folder: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(command(speaking_policy_folder, video, out)) == 0
    said = capsys.readouterr().out
    assert "Turn 0\nStep 1: Temporal Dynamics. It is there.\nStep 2:" in said
    assert 'Answers: {"start": 3, "end": 8, "keyframe": 6}\n' in said
    assert "query 0  answered in 2 turns: mask in" in said
    names = sorted(path.stem for path in video.iterdir())
    files = {"prediction.json", "masks.json", "trace.html", "overlay-0.mp4"}
    assert written(out) == files | {f"Annotations/clip/0/{name}.png" for name in names}
    width, height = Image.open(next(video.iterdir())).size
    tracks = []
    for path in (out, out / "masks.json"):  # as `vtscot eval` and `vtscot submit` read them
        predictions = open_predictions(path)
        place = predictions.find("clip", "0")
        assert place is not None
        tracks.append(predictions.read(place, Asked("clip", "0", tuple(names), (height, width))).track)
    assert all(tracks[0].iou(i, tracks[1].rle(i)) == 1 for i in range(len(names)))
    record = json.loads((out / "prediction.json").read_text())
    assert record["finished"] and record["queries"]["0"]["keyframe"] == 5
    assert record["queries"]["0"]["frames_with_mask"] == int(tracks[0].visible.sum()) > 0
    assert cv2.VideoCapture(str(out / "overlay-0.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == len(names)
    assert run(command(speaking_policy_folder, video, out, "--overlay", "none")) == 0  # again, in its own folder
    assert written(out) == files - {"overlay-0.mp4"} | {f"Annotations/clip/0/{name}.png" for name in names}


def test_json_is_all_there_is_and_queries_may_be_many(
    speaking_policy_folder: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "some film.mp4"
    images = [cv2.imread(str(path)) for path in sorted(video.iterdir())]
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 8, images[0].shape[1::-1])
    for image in images:
        writer.write(image)
    writer.release()
    more = ("--query", "<b>another</b> & more", "--json", "--overlay", "gif", "--temperature", "0.5", "--seed", "3")
    code = run(command(speaking_policy_folder, clip, tmp_path / "out", *more))
    record = json.loads(capsys.readouterr().out)
    assert record["video"] == "some_film" and list(record["queries"]) == ["0", "1"]
    assert record["sampling"] == {"temperature": 0.5, "top_p": 1.0, "seed": 3, "guided": False}
    assert code == int(any(query["end"] != "answered" for query in record["queries"].values()))
    masks = json.loads((tmp_path / "out" / "masks.json").read_text())["some_film"]
    assert [len(masks[exp_id]["prediction_masks"]) for exp_id in ("0", "1")] == [len(images)] * 2
    with Image.open(tmp_path / "out" / "overlay-1.gif") as gif:
        assert gif.n_frames >= 1  # type: ignore[attr-defined]
    page = (tmp_path / "out" / "trace.html").read_text()
    assert "&lt;b&gt;another&lt;/b&gt; &amp; more" in page and "<b>another" not in page


def test_without_an_answer_everything_is_written_and_the_reason_said(
    tiny_policy_folder: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(command(tiny_policy_folder, video, out)) == 1
    assert "NO ANSWER in 1 turn: the policy's text breaks the grammar (the turn is not" in capsys.readouterr().out
    assert {"prediction.json", "masks.json", "trace.html", "overlay-0.mp4"} <= written(out)
    pngs = list((out / "Annotations" / "clip" / "0").glob("*.png"))
    assert len(pngs) == 12 and not any(np.asarray(Image.open(png)).any() for png in pngs)
    assert json.loads((out / "prediction.json").read_text())["queries"]["0"]["end"] == "unparsed"


def test_an_episode_that_may_not_look_again_is_truncated(
    speaking_policy_folder: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--max-turns", "1", "--json", "--overlay", "none")
    assert run(command(speaking_policy_folder, video, tmp_path / "out", *more)) == 1
    (query,) = json.loads(capsys.readouterr().out)["queries"].values()
    assert query["end"] == "truncated" and query["frames_with_mask"] > 0
    assert "the mask of the last look is taken" in query["reason"]


def edited(folder: Path, **config: object) -> Path:
    path = folder / "config.json"
    found = json.loads(path.read_text()) | config
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    return folder


BAD_POLICIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no [SEG]": (lambda folder: edited(folder, seg_token_id=None), "knows no [SEG] token"),
    "another version": (lambda folder: edited(folder, format_version=7), "use the version that wrote it"),
    "another model": (lambda folder: edited(folder, model_type="llama"), "is no policy"),
    "pickle": (pickled, "loading it could run code"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
}


@pytest.mark.parametrize("name", BAD_POLICIES)
def test_what_is_no_policy_is_refused_before_anything_is_touched(
    tiny_policy_folder: Path, video: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "policy"
    shutil.copytree(tiny_policy_folder, broken)
    change, reason = BAD_POLICIES[name]
    change(broken)
    assert run(command(broken, video, tmp_path / "out")) == 1
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("vtscot: ") and reason in complaint
    assert not (tmp_path / "out").exists()


BAD_OPTIONS: dict[str, tuple[list[str], int, str]] = {
    "empty query": (["--query", " "], 2, "the query is empty"),
    "bytes": (["--query", "\udcff"], 2, "is no text"),
    "special token": (["--query", "a <|im_end|> b"], 1, "<|im_end|>, which the tokenizer reserves; reword it"),
    "seg": (["--query", "the [SEG]"], 1, "[SEG], which the tokenizer reserves; reword it"),
    "overlay": (["--overlay", "avi"], 2, "--overlay avi is none of mp4, gif, none"),
    "propagate": (["--propagate-from", "there"], 2, "none of decoded, answer"),
    "fps": (["--fps", "0"], 2, "--fps 0.0"),
    "budget": (["--budget", "huge"], 2, "no budget preset 'huge'"),
    "device": (["--device", "abacus"], 2, "no device 'abacus' here"),
    "dtype": (["--dtype", "int3"], 2, "no dtype 'int3'"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_what_cannot_be_asked_is_refused(
    tiny_policy_folder: Path, video: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, code, reason = BAD_OPTIONS[name]
    assert run(command(tiny_policy_folder, video, tmp_path / "out", *options)) == code
    ended = capsys.readouterr()
    assert reason in ended.err.strip().splitlines()[-1]
    assert written(tmp_path / "out") <= {"prediction.json"}


def test_bad_videos_and_folders_are_refused_by_the_command(
    tiny_policy_folder: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(command(tiny_policy_folder, tmp_path / "empty", tmp_path / "out")) == 1
    assert "holds no frames" in capsys.readouterr().err
    assert run(command(tiny_policy_folder, video, video)) == 2
    assert "is not empty and holds no prediction of vtscot" in capsys.readouterr().err
    assert len(list(video.iterdir())) == 12


def test_nano_says_that_it_only_demonstrates(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--video", str(video), "--out", str(tmp_path / "out"), "--query", QUERY, "--overlay", "none"]
    assert run(["predict", *where]) in (0, 1)
    assert "nano only demonstrates" in capsys.readouterr().err


# ---- processes: a full disk, an interruption


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "vtscot", *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture(scope="module")
def long_video(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "clip"
    folder.mkdir()
    source = sorted(video.iterdir())
    for i in range(400):
        os.link(source[i % len(source)], folder / f"{i:05d}.jpg")
    return folder


def test_a_full_disk_is_said_and_leaves_no_half_predictions(
    speaking_policy_folder: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limit = 600  # bytes of a file: a mark can be written, masks.json cannot

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it writes too
    process = start(command(speaking_policy_folder, video, out), preexec_fn=small_files, env=unmeasured)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "File too large" in err.strip().splitlines()[-1]
    assert not any(path.stat().st_size >= limit for path in out.rglob("*") if path.is_file())
    assert json.loads((out / "prediction.json").read_text())["finished"] is False
    assert not any(".part" in path.name for path in out.rglob("*"))


def test_an_interruption_names_the_command_and_leaves_no_half_predictions(
    speaking_policy_folder: Path, long_video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = command(speaking_policy_folder, long_video, out, "--overlay", "none")

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = start(arguments, preexec_fn=heed)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("masks"):
            break
    while not any(out.rglob("*.png")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; go on with: vtscot predict --model" in err and "Traceback" not in err
    assert written(out) == {"prediction.json"}
