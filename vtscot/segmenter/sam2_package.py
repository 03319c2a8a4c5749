"""SAM 2 through Meta's own package `sam2` (the extra of that name), for checkpoints in its format.

The checkpoint is an id of the Hub that the package knows, or a folder that holds one of its files, for example
`sam2.1_hiera_large.pt`, under the name it was published with: the name tells the configuration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image as Picture

from vtscot.errors import UsageError
from vtscot.policy.load import choose_device
from vtscot.records import Box
from vtscot.segmenter.base import Image, Images, Mask, clip_box

CHECKPOINT: Final = "facebook/sam2.1-hiera-large"


class Sam2PackageSegmenter:
    """Back end `sam2-package`. `predictors` gives (image predictor, video predictor) where they are made elsewhere."""

    def __init__(
        self, checkpoint: str | None = None, device: str = "auto", predictors: tuple[Any, Any] | None = None
    ) -> None:
        """Raises UsageError where the package or the checkpoint is missing."""
        self.checkpoint = checkpoint or CHECKPOINT
        self.device = choose_device(device)
        self._image, self._video = predictors or open_predictors(self.checkpoint, self.device)
        self._shown: Image | None = None

    @property
    def name(self) -> str:
        return f"sam2-package:{Path(self.checkpoint).name}"

    def segment(self, image: Image, box: Box) -> Mask:
        """The mask (H, W) of what the box surrounds on `image` (H, W, 3)."""
        height, width = image.shape[:2]
        x0, y0, x1, y1 = clip_box(box, width, height)
        if x0 >= x1 or y0 >= y1:
            return np.zeros((height, width), dtype=bool)
        corners = np.array([max(box[0], 0), max(box[1], 0), min(box[0] + box[2], width), min(box[1] + box[3], height)])
        with torch.inference_mode():
            if self._shown is None or not np.array_equal(self._shown, image):
                self._image.set_image(np.ascontiguousarray(image))
                self._shown = image.copy()
            masks, _, _ = self._image.predict(box=corners, multimask_output=False)
        return np.asarray(masks[0] > 0)

    def track(self, images: Images, start: int, masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
        """(index, mask (H, W)) once for every image: `start`, the later ones, then the earlier ones."""
        with tempfile.TemporaryDirectory(prefix="vtscot-") as folder, torch.inference_mode():
            for index in range(len(images)):  # the package reads videos from disk only
                Picture.fromarray(images[index]).save(Path(folder) / f"{index:06d}.jpg", quality=98)
            state = self._video.init_state(folder, async_loading_frames=False)
            for number, mask in enumerate(masks):
                self._video.add_new_mask(state, frame_idx=start, obj_id=number, mask=mask)
            for reverse in (False, True):
                if reverse and start == 0:
                    return
                for index, _, logits in self._video.propagate_in_video(state, start, reverse=reverse):
                    if not (reverse and index == start):
                        yield index, np.asarray((logits > 0).any(dim=0)[0].cpu().numpy())


def open_predictors(checkpoint: str, device: torch.device) -> tuple[Any, Any]:
    """The package's predictors of images and of videos, with one checkpoint; UsageError where either is missing."""
    try:
        from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES, build_sam2, build_sam2_video_predictor
        from sam2.sam2_image_predictor import SAM2ImagePredictor
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit this torch
        raise UsageError(
            f"the package sam2 cannot be imported ({' '.join(str(error).split())[:120]}):"
            " pip install 'vtscot[sam2]', or take --set verify.segmenter=sam2"
        ) from error
    config, file = _locate(checkpoint, HF_MODEL_ID_TO_FILENAMES)
    image = SAM2ImagePredictor(build_sam2(config, file, device=str(device)))
    return image, build_sam2_video_predictor(config, file, device=str(device))


def _locate(checkpoint: str, known: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """Configuration and file of a checkpoint."""
    folder = Path(checkpoint)
    for config, name in known.values():
        if (folder / name).is_file():
            return config, str(folder / name)
    if checkpoint not in known:
        names = ", ".join(sorted({name for _, name in known.values()}))
        raise UsageError(f"{checkpoint} is no checkpoint of sam2: name a folder that holds one of {names}")
    from huggingface_hub import hf_hub_download

    config, name = known[checkpoint]
    try:
        return config, hf_hub_download(repo_id=checkpoint, filename=name)
    except OSError as error:
        why = " ".join(str(error).split())[:120]
        raise UsageError(
            f"{checkpoint} cannot be had ({why}): name a folder with --set verify.checkpoint=DIR"
        ) from error
