"""The box itself as the mask: the weakest segmenter, and the measure of what a box alone says."""

from __future__ import annotations

import numpy as np

from vtscot.records import Box
from vtscot.segmenter.base import Image, Mask, clip_box


class BoxSegmenter:
    """Back end `box`."""

    name = "box"

    def segment(self, image: Image, box: Box) -> Mask:
        """Every pixel that the box touches."""
        height, width = image.shape[:2]
        mask = np.zeros((height, width), dtype=bool)
        x0, y0, x1, y1 = clip_box(box, width, height)
        mask[y0:y1, x0:x1] = True
        return mask
