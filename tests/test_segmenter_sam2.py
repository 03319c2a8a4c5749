"""SAM 2 as a segmenter: small random models of the real classes, prompted, propagated, and used by the verifier."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.boxed import BOX, SIZE, block, picture
from vtscot.build import build
from vtscot.errors import UsageError
from vtscot.ledger import Ledger
from vtscot.recipe import load_recipe
from vtscot.records import Box
from vtscot.segmenter import open_segmenter
from vtscot.segmenter.base import Tracker

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from vtscot.policy.settings import TinySettings
from vtscot.policy.tiny import tiny_sam
from vtscot.segmenter.sam2 import Sam2Segmenter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small SAM 2 for videos, random weights, saved as the checkpoints of the Hub are."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sam") / "sam2.1-hiera-tiny"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        tiny_sam(TinySettings()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam(checkpoint: Path) -> Sam2Segmenter:
    opened = open_segmenter("sam2", str(checkpoint))
    assert isinstance(opened, Sam2Segmenter)
    return opened


def test_a_box_gives_a_mask_of_the_image(sam: Sam2Segmenter) -> None:
    mask = sam.segment(picture(), BOX)
    assert (mask.shape, mask.dtype) == (SIZE, np.bool_)
    assert np.array_equal(mask, sam.segment(picture(), BOX))
    assert sam.name == "sam2:sam2.1-hiera-tiny"


def test_the_prompt_is_the_box_in_the_models_pixels(sam: Sam2Segmenter) -> None:
    """What the back end makes of a box is what the real model makes of the scaled corners."""
    size = sam.size
    corners = torch.tensor([[[20 * size / 80, 10 * size / 48, 50 * size / 80, 34 * size / 48]]])
    with torch.inference_mode():
        found = sam._model(image_embeddings=sam._encode(picture()), input_boxes=corners, multimask_output=False)
        logits = torch.nn.functional.interpolate(found.pred_masks[0].float(), size=SIZE, mode="bilinear")
    assert np.array_equal(sam.segment(picture(), BOX), (logits[0, 0] > 0).numpy())


def test_other_boxes_and_other_images_give_other_masks(sam: Sam2Segmenter) -> None:
    own = sam._model(image_embeddings=sam._encode(picture()), input_boxes=torch.tensor([[[0.0, 0, 9, 9]]]))
    other = sam._model(image_embeddings=sam._encode(picture()), input_boxes=torch.tensor([[[30.0, 30, 60, 60]]]))
    assert not torch.allclose(own.pred_masks, other.pred_masks)
    assert not torch.allclose(sam._encode(picture())[-1], sam._encode(picture(1))[-1])


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((-50.0, -50.0, 10.0, 10.0), id="outside"),
        pytest.param((200.0, 0.0, 10.0, 10.0), id="right of it"),
    ],
)
def test_a_box_outside_has_no_mask(sam: Sam2Segmenter, box: Box) -> None:
    assert not sam.segment(picture(), box).any()


@pytest.mark.parametrize("box", [(-10.0, -10.0, 300.0, 300.0), (5.0, 5.0, 0.0, 0.0)], ids=["too large", "empty"])
def test_odd_boxes_give_a_mask_all_the_same(sam: Sam2Segmenter, box: Box) -> None:
    assert sam.segment(picture(), box).shape == SIZE


def test_features_of_an_image_are_made_once(sam: Sam2Segmenter) -> None:
    seen = []
    hook = sam._model.vision_encoder.register_forward_hook(lambda *_: seen.append(1))
    for x in range(5):
        sam.segment(picture(77), (x, x, 20.0, 20.0))
    hook.remove()
    assert len(seen) == 1
    assert len(sam._features) <= 4


@pytest.mark.parametrize("start", [0, 2, 4])
def test_masks_are_followed_both_ways(sam: Sam2Segmenter, start: int) -> None:
    assert isinstance(sam, Tracker)
    images = [picture(i) for i in range(5)]
    followed = list(sam.track(images, start, [block(10)]))
    assert [index for index, _ in followed] == [start, *range(start + 1, 5), *range(start - 1, -1, -1)]
    assert all(mask.shape == SIZE and mask.dtype == np.bool_ for _, mask in followed)


def test_several_targets_are_followed_together(sam: Sam2Segmenter) -> None:
    images = [picture(i) for i in range(3)]
    left, right = (dict(sam.track(images, 1, [block(x)])) for x in (4, 50))
    both = dict(sam.track(images, 1, [block(4), block(50)]))
    for index, mask in both.items():
        assert np.array_equal(mask, left[index] | right[index])


def test_both_models_share_the_encoder(sam: Sam2Segmenter) -> None:
    list(sam.track([picture()], 0, [block(4)]))
    assert sam._video.vision_encoder is sam._model.vision_encoder


def test_the_type_is_that_asked_for(checkpoint: Path) -> None:
    half = Sam2Segmenter(str(checkpoint), device="cpu", dtype="bfloat16")
    assert half._model.dtype == torch.bfloat16
    assert half.segment(picture(), BOX).shape == SIZE
    assert [index for index, _ in half.track([picture(0), picture(1)], 0, [block(4)])] == [0, 1]
    assert Sam2Segmenter(str(checkpoint), device="cpu")._model.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_used_where_there_is_one(checkpoint: Path) -> None:
    there = Sam2Segmenter(str(checkpoint))
    assert there.device.type == there._model.device.type == "cuda"
    assert len(list(there.track([picture(0), picture(1)], 1, [block(4)]))) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(("an/absent/folder", "cpu", "auto"), "verify.checkpoint", id="checkpoint"),
        pytest.param((None, "tpu", "auto"), "no device", id="device"),
        pytest.param((None, "cpu", "int4"), "no dtype", id="dtype"),
    ],
)
def test_what_cannot_be_had_is_said(arguments: tuple[str | None, str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        open_segmenter("sam2", *arguments)


def test_a_recipe_may_name_it(checkpoint: Path, demo_root: Path, tmp_path: Path) -> None:
    settings = [
        "verify.segmenter=sam2",
        f"verify.checkpoint={checkpoint}",
        "verify.min_ceiling=0",
        "verify.window_frames=3",
    ]
    recipe = load_recipe("mevis", None, settings, {"source.root": str(demo_root), "limit": 2})
    summary = build(recipe, tmp_path / "run")
    with Ledger(tmp_path / "run" / "ledger.sqlite", read_only=True) as ledger:
        verdicts = [outcome.record.verdict for outcome in ledger.outcomes() if outcome.record is not None]
    assert len(verdicts) == summary.figures.queries == 2
    assert {one.segmenter for one in verdicts} == {"sam2:sam2.1-hiera-tiny"}
    assert all(one.groundings[-1].window_iou is not None for one in verdicts)
    assert str(checkpoint) not in (tmp_path / "run" / "dataset" / "README.md").read_text()


@pytest.mark.skipif(importlib.util.find_spec("sam2") is not None, reason="the package is installed")
def test_the_package_is_named_where_it_is_missing() -> None:
    with pytest.raises(UsageError, match=r"pip install 'vtscot\[sam2\]'"):
        open_segmenter("sam2-package", "anything", "cpu")
