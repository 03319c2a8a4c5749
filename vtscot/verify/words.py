"""The offline grounder: reads the thought's own words and the pixels, and points at what fits both best.

The words give a prior box and colours. Regions of these colours near the prior, what stands out from its surroundings
there, and the prior itself are proposals; each is scored by how well it agrees with place, size and colour. Where the
named colour is not at the named place, it is looked for elsewhere; where it is nowhere, the thought does not describe
this frame and cannot be grounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vtscot.records import Box
from vtscot.segmenter.base import Image, Mask, clip_box
from vtscot.verify.base import BlindView, Ungroundable
from vtscot.verify.reading import Claim, read_spatial
from vtscot.words.colours import NAMES, kin_of, name_pixels, names_of, read_colours
from vtscot.words.places import Place

PIXELS: Final = 1 << 17  # area of the image that is searched
SIDE_SLACK: Final = 0.14  # standard deviation of the log of a side said in fractions
LOOSE_SLACK: Final = 0.6  # and of one that was not said
MIN_SUPPORT: Final = 0.1  # share of a box that the named colours must fill
PRIOR: Final = 0.2  # agreement of the prior itself: what is right is as a rule a little off the rounded words
SNAP: Final = 0.3  # share of a side by which one of its edges may move to a piece's
ROUNDED: Final = 0.03  # of the frame: what rounding to words may move an edge, however small the thing
FLOOR: Final = 0.3  # weight of a proposal without any colour contrast


class WordsGrounder:
    """Back end `words`."""

    name = "words"

    async def ground(self, view: BlindView) -> tuple[Box, ...]:
        """Boxes in pixels of the original frame, one per target that the thought describes."""
        reading = read_spatial(view.thought.spatial)
        if reading.not_here:
            return ()
        claims = reading.claims or (Claim(None, ()),)
        fallback = read_colours(view.expression)
        small = shrunk(view.image)
        labels = name_pixels(small)
        scale = view.size[0] / small.shape[1], view.size[1] / small.shape[0]
        boxes = (point(small, labels, Claim(claim.place, claim.colours or fallback)) for claim in claims)
        return tuple((x * scale[0], y * scale[1], w * scale[0], h * scale[1]) for x, y, w, h in boxes)


def shrunk(image: Image) -> Image:
    """The image with at most `PIXELS` pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = math.sqrt(PIXELS / (width * height))
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def point(image: Image, labels: NDArray[np.uint8], claim: Claim) -> Box:
    """The box (x, y, w, h) in pixels of `image` that agrees best with a claim; raises Ungroundable."""
    place = claim.place
    if place is None and not claim.colours:
        raise Ungroundable("the thought says neither where the target is nor what colour it has")
    wanted = _wanted(labels, claim.colours)
    height, width = labels.shape
    if place is not None and place.precise:
        near = _best(_near(image, labels, claim, place), place, wanted)
        if near is not None:
            return near
        place = Place(None, None, place.width, place.height)  # not there: look for it elsewhere
    anywhere = place or Place()
    found = _best(_pieces(wanted, (0, 0, width, height), 0.0005 * width * height), anywhere, wanted)
    if found is not None:
        return found
    if claim.colours:
        raise Ungroundable(f"nothing {' or '.join(claim.colours)} is where the thought points, or elsewhere")
    return anywhere.box((width, height))


def _wanted(labels: NDArray[np.uint8], colours: tuple[str, ...]) -> NDArray[np.float32]:
    """Per pixel (H, W): 1 where it has a named colour, 0.6 where it may be that colour in shade, 0 elsewhere."""
    weight = np.zeros(len(NAMES), dtype=np.float32)
    for word in colours:
        for name in kin_of(word):
            weight[NAMES.index(name)] = max(weight[NAMES.index(name)], 0.6)
        for name in names_of(word):
            weight[NAMES.index(name)] = 1.0
    return np.asarray(weight[labels] if colours else np.ones(labels.shape, dtype=np.float32))


def _near(image: Image, labels: NDArray[np.uint8], claim: Claim, place: Place) -> Iterator[Box]:
    """Proposals around a place that was said precisely."""
    height, width = labels.shape
    prior = place.box((width, height))
    yield prior
    around = _grown(prior, 0.5, 0.03 * max(width, height), width, height)
    least = max(6.0, 0.02 * prior[2] * prior[3])
    maps = [_standing_out(image, around, prior)]
    for word_sets in (names_of, kin_of):
        names = {NAMES.index(name) for word in claim.colours for name in word_sets(word)}
        if names:
            maps.append(np.isin(labels, list(names)))
    for where in maps:
        for piece in _pieces(where, around, least, prior):
            yield piece
            yield snapped(prior, piece, (width, height))


def snapped(prior: Box, piece: Box, size: tuple[int, int]) -> Box:
    """The prior with those edges moved to the piece's that are near: a piece may touch another thing of its colour."""
    x0, x1 = _snapped(prior[0], prior[2], piece[0], piece[2], ROUNDED * size[0])
    y0, y1 = _snapped(prior[1], prior[3], piece[1], piece[3], ROUNDED * size[1])
    return (x0, y0, x1 - x0, y1 - y0)


def _snapped(start: float, length: float, to: float, to_length: float, rounded: float) -> tuple[float, float]:
    """Start and end along one axis."""
    near = max(SNAP * length, rounded)
    first = to if abs(to - start) <= near else start
    last = to + to_length if abs(to + to_length - start - length) <= near else start + length
    return first, max(last, first + 1.0)


def _standing_out(image: Image, around: tuple[int, int, int, int], prior: Box) -> Mask:
    """Pixels (H, W) near the prior whose colours are rare around it."""
    import cv2

    from vtscot.segmenter.grabcut import rare_colours

    x0, y0, x1, y1 = around
    found = np.zeros(image.shape[:2], dtype=bool)
    inner = clip_box((prior[0] - x0, prior[1] - y0, prior[2], prior[3]), x1 - x0, y1 - y0)
    lab = np.asarray(cv2.cvtColor(np.ascontiguousarray(image[y0:y1, x0:x1]), cv2.COLOR_RGB2LAB), dtype=np.uint8)
    found[y0:y1, x0:x1] = rare_colours(lab, inner) > 0.6
    return found


def _grown(box: Box, share: float, least: float, width: int, height: int) -> tuple[int, int, int, int]:
    """The box with a margin, as half-open pixel bounds inside the image."""
    x, y, w, h = box
    dx, dy = max(share * w, least), max(share * h, least)
    return clip_box((x - dx, y - dy, w + 2 * dx, h + 2 * dy), width, height)


def _pieces(
    where: NDArray[np.float32] | Mask, around: tuple[int, int, int, int], least: float, prior: Box | None = None
) -> Iterator[Box]:
    """Boxes of the connected pieces of `where` inside `around`, and of all those together that the prior holds."""
    import cv2

    x0, y0, x1, y1 = around
    part = (where[y0:y1, x0:x1] > 0).astype(np.uint8)
    if part.size == 0 or not part.any():
        return
    closed = cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, _, stats, centres = cv2.connectedComponentsWithStats(closed, connectivity=8)
    kept = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= least]
    kept = sorted(kept, key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))[:24]
    boxes = [(float(stats[i, 0] + x0), float(stats[i, 1] + y0), float(stats[i, 2]), float(stats[i, 3])) for i in kept]
    yield from boxes
    if prior is not None and len(boxes) > 1:
        held = [box for box, i in zip(boxes, kept, strict=True) if _inside(centres[i] + (x0, y0), prior)]
        if len(held) > 1:
            yield _around(held)


def _inside(point: NDArray[np.float64], box: Box) -> bool:
    """True where the point lies in the box or just beside it."""
    dx, dy = 0.1 * box[2], 0.1 * box[3]
    return bool(box[0] - dx <= point[0] <= box[0] + box[2] + dx and box[1] - dy <= point[1] <= box[1] + box[3] + dy)


def _around(boxes: list[Box]) -> Box:
    """The smallest box that holds them all."""
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return (x0, y0, x1 - x0, y1 - y0)


def _best(proposals: Iterator[Box], place: Place, wanted: NDArray[np.float32]) -> Box | None:
    """The proposal that agrees best, None where none has enough of the named colours."""
    sums = np.pad(wanted, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    height, width = wanted.shape
    best, score = None, 0.0
    for box in proposals:
        inside = _share(sums, clip_box(box, width, height))
        if inside < MIN_SUPPORT:
            continue
        outer = _share(sums, _grown(box, 0.35, 2.0, width, height))
        grown = _area(_grown(box, 0.35, 2.0, width, height)) / max(1, _area(clip_box(box, width, height)))
        ring = (outer * grown - inside) / max(grown - 1, 1e-6) if grown > 1.01 else 0.0
        value = agreement(box, place, (width, height)) * (FLOOR + max(0.0, inside - ring))
        if value > score:
            best, score = box, value
    return best


def _area(bounds: tuple[int, int, int, int]) -> int:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])


def _share(sums: NDArray[np.float64], bounds: tuple[int, int, int, int]) -> float:
    """Mean of the summed array over pixel bounds."""
    x0, y0, x1, y1 = bounds
    total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return float(total / max(1, _area(bounds)))


def agreement(box: Box, place: Place, size: tuple[int, int]) -> float:
    """How well a box agrees with a place, in (0, 1]: Gaussian in its centre and in the logs of its sides."""
    width, height = size
    if place.precise and np.allclose(box, place.box(size), atol=0.5):
        return PRIOR
    w, h = box[2] / width, box[3] / height
    x, y = box[0] / width + w / 2, box[1] / height + h / 2
    cost = 0.0
    for value, said, slack, side in ((x, place.x, place.dx, place.width), (y, place.y, place.dy, place.height)):
        if said is not None:
            cost += ((value - said) / math.hypot(slack, 0.08 * (side or 0.0))) ** 2
    for value, said in ((w, place.width), (h, place.height)):
        slack = SIDE_SLACK if said is not None else LOOSE_SLACK
        cost += (math.log(max(value, 1e-3) / (said if said is not None else 0.25)) / slack) ** 2
    return math.exp(-cost / 6)
