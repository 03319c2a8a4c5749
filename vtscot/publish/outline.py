"""Masks as SVG paths, for a page that draws them over a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vtscot.masks import Rle


def outline(rle: Rle, tolerance: float) -> str:
    """The mask's borders, holes included (fill rule: evenodd), in frame pixels; "" for an empty mask.

    Borders are simplified so that none moves by more than `tolerance` pixels. Only the mask's box is decoded.
    """
    import cv2

    from vtscot.masks import box, decode

    x, y, width, height = (int(value) for value in box(rle))
    if width == 0 or height == 0:
        return ""
    crop = decode(rle, (x, y, width, height)).astype(np.uint8)
    borders, _ = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    simple = [cv2.approxPolyDP(border, tolerance, closed=True).reshape(-1, 2) for border in borders]
    return "".join("M" + " ".join(f"{px} {py}" for px, py in points.tolist()) + "Z" for points in simple)
