"""Every set through `vtscot eval`: predictions made from its own tree are perfect, as JSON and as PNGs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.formats import FORMATS, Format, World, load_world
from tests.scores import write_predictions
from vtscot.cli.main import run
from vtscot.evaluation import benchmark_of, read_truth
from vtscot.evaluation.submission import encode_png
from vtscot.evaluation.truth import TruthReader
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

ADDED = {
    "revos": {"A", "R", "referring", "reasoning", "overall"},
    "long-rvos": {"tIoU", "vIoU", "static"},
    "groundmore": {"Causal"},
}


@pytest.fixture(scope="module")
def world(demo_root: Path) -> World:
    return load_world(demo_root)


def answers(made: Format, root: Path, scratch: Path) -> dict[str, dict[str, MaskTrack]]:
    """The ground truth of every expression that can be scored."""
    truth = read_truth(open_source(made.source, root, made.split), scratch / "index")
    reader = TruthReader(scratch / "index", None)
    found: dict[str, dict[str, MaskTrack]] = {}
    for video, queries in truth.by_video():
        for _, query in queries:
            size = truth.size(video, query)
            assert size is not None
            found.setdefault(video.name, {})[query.exp_id] = reader.target(query.anno_ids, len(video.frames), size)
    return found


def entries(track: MaskTrack) -> list[Any]:
    return [rle.coco() if (rle := track.rle(i)) else None for i in range(len(track))]


@pytest.mark.parametrize("made", FORMATS, ids=[made.source for made in FORMATS])
def test_the_truth_scores_perfectly(
    made: Format, world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "tree"
    made.write(world, root)
    right = answers(made, root, tmp_path)
    source = open_source(made.source, root, made.split)
    frames = {video.name: video.frames for video in source.videos()}
    plain = {video: {exp_id: entries(track) for exp_id, track in of.items()} for video, of in right.items()}
    for video, of in right.items():
        for exp_id, track in of.items():
            folder = tmp_path / "pngs" / video / exp_id
            folder.mkdir(parents=True)
            for i, name in enumerate(frames[video]):
                (folder / f"{name}.png").write_bytes(encode_png(track.decode(i, order="C")))
    for predictions in (write_predictions(tmp_path / "p.json", plain), tmp_path / "pngs"):
        given = ["--source", made.source, "--root", str(root), "--split", made.split, "--predictions", str(predictions)]
        assert run(["eval", *given, "--json", "--html", str(tmp_path / "page.html")]) == 0
        found = json.loads(capfd.readouterr().out)
        assert found["expressions"] == sum(map(len, right.values())) > 2
        assert found["J"] == found["F"] == found["J&F"] == 1.0
        assert (found["missing"], found["extra"], found["unscorable"]) == (0, 0, {})
        assert ADDED.get(made.source, set()) <= found.keys()
    assert "<h1>" in (tmp_path / "page.html").read_text()
    assert benchmark_of(made.source).published
