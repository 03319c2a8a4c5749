"""The original package `sam2`, where it can be imported: real classes, random weights, small images."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.boxed import BOX, SIZE, block, picture
from vtscot.errors import UsageError
from vtscot.segmenter.base import Tracker

torch = pytest.importorskip("torch")
if not all(importlib.util.find_spec(name) for name in ("sam2", "torchvision")):
    pytest.skip("the package sam2 is not installed", allow_module_level=True)

SIDE = 128


def declare_torchvision_ops() -> object:
    """What torchvision's own library would declare: wheels from PyPI lack it beside a CPU torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


try:
    import torchvision  # noqa: F401
except RuntimeError:
    _OPS = declare_torchvision_ops()

from PIL import Image as Picture  # noqa: E402

from vtscot.policy.pixels import sam_frame  # noqa: E402
from vtscot.segmenter.sam2_package import Sam2PackageSegmenter, open_predictors  # noqa: E402


@pytest.fixture(scope="module")
def predictors() -> Iterator[tuple[Any, Any]]:
    """The predictors of a hiera_t with random weights, for images of 128 pixels."""
    from sam2.build_sam import build_sam2, build_sam2_video_predictor
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    torch.set_num_threads(1)
    config, small = "configs/sam2.1/sam2.1_hiera_t.yaml", [f"++model.image_size={SIDE}"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = SAM2ImagePredictor(build_sam2(config, None, device="cpu", hydra_overrides_extra=small))
        video = build_sam2_video_predictor(config, None, device="cpu", hydra_overrides_extra=small)
    image._bb_feat_sizes = [(SIDE // stride, SIDE // stride) for stride in (4, 8, 16)]  # the package knows 1024 only
    yield image, video


@pytest.fixture(scope="module")
def sam(predictors: tuple[Any, Any]) -> Sam2PackageSegmenter:
    return Sam2PackageSegmenter("facebook/sam2.1-hiera-tiny", "cpu", predictors)


def test_a_box_gives_a_mask_of_the_image(sam: Sam2PackageSegmenter) -> None:
    mask = sam.segment(picture(), BOX)
    assert (mask.shape, mask.dtype) == (SIZE, np.bool_)
    assert np.array_equal(mask, sam.segment(picture(), BOX))
    assert not sam.segment(picture(), (-50.0, 0.0, 10.0, 10.0)).any()
    assert sam.name == "sam2-package:sam2.1-hiera-tiny"


@pytest.mark.parametrize("start", [0, 2])
def test_masks_are_followed_both_ways(sam: Sam2PackageSegmenter, start: int) -> None:
    assert isinstance(sam, Tracker)
    followed = list(sam.track([picture(i) for i in range(4)], start, [block(4), block(50)]))
    assert [index for index, _ in followed] == [start, *range(start + 1, 4), *range(start - 1, -1, -1)]
    assert all(mask.shape == SIZE and mask.dtype == np.bool_ for _, mask in followed)


def test_both_back_ends_show_the_model_the_same(predictors: tuple[Any, Any]) -> None:
    """The resized, normalised image and the scaled box of the package are those of the back end `sam2`."""
    image, _ = predictors
    theirs = image._transforms(picture())
    assert torch.allclose(theirs, sam_frame(Picture.fromarray(picture()), SIDE), atol=0.05)
    corners = torch.tensor([[20.0, 10.0, 50.0, 34.0]])
    scaled = image._transforms.transform_boxes(corners, normalize=True, orig_hw=SIZE)
    assert torch.allclose(scaled.reshape(-1), corners[0] * torch.tensor([SIDE / 80, SIDE / 48] * 2))


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sam2\.1_hiera_large\.pt"):
        open_predictors(str(tmp_path), torch.device("cpu"))


def test_a_folder_with_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    from sam2.build_sam import build_sam2

    model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu")
    torch.save({"model": model.state_dict()}, tmp_path / "sam2.1_hiera_tiny.pt")
    image, video = open_predictors(str(tmp_path), torch.device("cpu"))
    assert torch.equal(image.model.no_mem_embed, model.no_mem_embed)
    assert torch.equal(video.no_mem_embed, model.no_mem_embed)
