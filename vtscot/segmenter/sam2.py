"""SAM 2 through transformers: a mask from a box (`Sam2Model`), and its way through a video (`Sam2VideoModel`).

The checkpoint is a folder or an id of the Hub; that of the video model holds both. The image encoder is in memory once.
Images are resized to a square and normalised without torchvision. float32 on a CPU, the stored type elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Sam2Model, Sam2VideoModel

from vtscot.errors import UsageError
from vtscot.policy.load import choose_device, choose_dtype
from vtscot.policy.pixels import sam_frame
from vtscot.policy.propagate import propagate
from vtscot.records import Box
from vtscot.segmenter.base import Image, Images, Mask, clip_box

CHECKPOINT: Final = "facebook/sam2.1-hiera-large"
KEPT: Final = 4  # images whose features are remembered: a frame is prompted with several boxes


class Sam2Segmenter:
    """Back end `sam2`."""

    def __init__(self, checkpoint: str | None = None, device: str = "auto", dtype: str = "auto") -> None:
        """Raises UsageError where there is no such checkpoint, device or type."""
        self.checkpoint = checkpoint or CHECKPOINT
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self._model = self._load(Sam2Model)
        self._features: OrderedDict[bytes, list[Tensor]] = OrderedDict()
        self._video: Any = None

    @property
    def name(self) -> str:
        return f"sam2:{Path(self.checkpoint).name}"

    @property
    def size(self) -> int:
        """Side of the square images that the model sees."""
        return int(self._model.config.prompt_encoder_config.image_size)

    def segment(self, image: Image, box: Box) -> Mask:
        """The mask (H, W) of what the box surrounds on `image` (H, W, 3)."""
        height, width = image.shape[:2]
        x0, y0, x1, y1 = clip_box(box, width, height)
        if x0 >= x1 or y0 >= y1:
            return np.zeros((height, width), dtype=bool)
        corners = torch.tensor([max(box[0], 0.0), max(box[1], 0.0), box[0] + box[2], box[1] + box[3]])
        scale = torch.tensor([self.size / width, self.size / height] * 2)
        prompt = (corners * scale).clamp(0, self.size)[None, None].to(self.device, self._model.dtype)
        with torch.inference_mode():
            found = self._model(image_embeddings=self._encode(image), input_boxes=prompt, multimask_output=False)
        return enlarged(found.pred_masks[0, 0, 0], height, width)

    def track(self, images: Images, start: int, masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
        """(index, mask (H, W)) once for every image, in the order of `propagate`: the union of all targets."""
        if self._video is None:
            self._video = self._load(Sam2VideoModel)
            self._video.vision_encoder = self._model.vision_encoder
        height, width = images[start].shape[:2]
        frames = _Squares(images, self._video.image_size)
        ways = [propagate(self._video, frames, start, torch.from_numpy(mask)) for mask in masks]
        for steps in zip(*ways, strict=True):
            found = [enlarged(logits, height, width) for _, logits in steps]
            yield steps[0][0], np.asarray(np.any(found, axis=0))

    def _load(self, kind: Any) -> Any:
        try:
            model = kind.from_pretrained(self.checkpoint, dtype=self.dtype)
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())[:160]
            raise UsageError(
                f"no SAM 2 at {self.checkpoint!r} ({why}): name a folder with --set verify.checkpoint=DIR"
            ) from error
        return model.to(self.device).eval()

    def _encode(self, image: Image) -> list[Tensor]:
        """The features of an image, remembered by its pixels."""
        key = hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()
        if key not in self._features:
            pixels = sam_frame(Picture.fromarray(image), self.size)[None].to(self.device, self._model.dtype)
            self._features[key] = self._model.get_image_embeddings(pixels)
            while len(self._features) > KEPT:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]


class _Squares:
    """Images as SAM 2 sees them, (3, S, S) each."""

    def __init__(self, images: Images, size: int) -> None:
        self._images, self._size = images, size

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return sam_frame(Picture.fromarray(self._images[index]), self._size)


def enlarged(logits: Tensor, height: int, width: int) -> Mask:
    """Mask logits (h, w) as a mask (height, width): bilinear, then the sign."""
    large = interpolate(logits[None, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    return np.asarray((large[0, 0] > 0).cpu().numpy())
