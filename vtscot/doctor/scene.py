"""One video at the size at which alignment is looked at: edges and motion of its frames, outlines of its masks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from vtscot.budget import fit
from vtscot.doctor.edges import Field, Outline, image_edges, outline
from vtscot.frames import Frames
from vtscot.tracks import MaskTrack

PIXELS: Final = 96_000  # 413 x 232 of a 16:9 frame: one pixel is a quarter of a per cent of its width
REACH: Final = 0.12  # of the longer side: how far from its place a mask is looked for
_KEPT: Final = 64  # frames whose edges are remembered: some 130 MB


class Scene:
    """Frames of one video, shrunk alike; `reach` is the largest shift, in pixels of `size` (width, height)."""

    def __init__(self, frames: Frames, width: int, height: int) -> None:
        self.frames = frames
        self.size = fit(width, height, PIXELS)
        self.scale = width / self.size[0]
        self.reach = round(REACH * max(self.size))
        # Not lru_cache: it would hold the scene, and the scene it, until the garbage collector comes by.
        self._edges: OrderedDict[int, Field] = OrderedDict()
        self._greys: OrderedDict[int, Field] = OrderedDict()

    def __len__(self) -> int:
        return len(self.frames)

    def edges(self, j: int) -> Field:
        """Oriented edges of frame j with a frame of `reach` zeros around: (H + 2 * reach, W + 2 * reach, 3)."""
        return _remembered(self._edges, j, self._read_edges)

    def mask(self, track: MaskTrack, i: int) -> Field:
        """Mask i of a track at the size of the scene, values 0..1."""
        import cv2

        mask = track.decode(i, order="C").astype(np.float32)
        return np.asarray(cv2.resize(mask, self.size, interpolation=cv2.INTER_AREA), dtype=np.float32)

    def outline(self, track: MaskTrack, i: int) -> Outline | None:
        """The boundary of mask i of a track."""
        return outline(self.mask(track, i))

    def motion(self, j: int) -> Field | None:
        """How much the pixels (H, W) change around frame j, 0..1 around the mean; None at both ends."""
        if not 0 < j < len(self) - 1:
            return None
        after, before = (_remembered(self._greys, i, self._read_grey) for i in (j + 1, j - 1))
        change = np.abs(after - before)
        return np.asarray(change / (change + change.mean() + 1.0), dtype=np.float32)

    def _read_edges(self, j: int) -> Field:
        import cv2

        lab = cv2.cvtColor(self._image(j), cv2.COLOR_RGB2LAB).astype(np.float32)
        frame = (self.reach,) * 4
        return np.asarray(cv2.copyMakeBorder(image_edges(lab), *frame, cv2.BORDER_CONSTANT, value=0), np.float32)

    def _read_grey(self, j: int) -> Field:
        import cv2

        grey = self._image(j).astype(np.float32).mean(axis=2)
        return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), dtype=np.float32)

    def _image(self, j: int) -> npt.NDArray[np.uint8]:
        import cv2

        image = self.frames.array(j, PIXELS)
        return np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _remembered(known: OrderedDict[int, Field], j: int, read: Callable[[int], Field]) -> Field:
    """`read(j)`, from `known` where it was read lately."""
    if j not in known:
        known[j] = read(j)
        if len(known) > _KEPT:
            known.popitem(last=False)
    known.move_to_end(j)
    return known[j]
