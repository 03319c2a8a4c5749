"""Examples as numbers, each made once: tokens per record, patches per distinct image, one frame per decoded frame.

Images are kept as bytes (an eighth of what the vision tower reads) in a cache of bounded size, by video, frame and
size: the expressions of a video and the looks of an episode show the same frames again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vtscot import masks
from vtscot.budget import fit
from vtscot.errors import PolicyError
from vtscot.frames import Frames
from vtscot.lru import Lru
from vtscot.masks import Rle
from vtscot.policy.pixels import square
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import Encoded, Patches, count_tokens, encode_episode, patches_of
from vtscot.records import Episode, Observation

from .examples import Example, Examples

ImageKey = tuple[str, int, int | None]  # video, frame, most pixels; None: as it is


class ImageBytes(NamedTuple):
    """The patches of an image before they are scaled: uint8 (P, channels, patch pixels)."""

    pixels: Tensor
    grid: Tensor  # (3,)
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sample:
    """One record as it goes into a batch. N masks; S is the side of SAM 2's image."""

    encoded: Encoded  # without pixels
    images: tuple[ImageKey, ...]  # one per image of the episode
    frames: tuple[ImageKey, ...]  # (N) the frame each mask is decoded on
    masks: Tensor  # bool (N, S, S)


class Encoder:
    """Encodes the records of `examples` for a policy; keeps what it made."""

    def __init__(self, examples: Examples, processor: PolicyProcessor, image_size: int, cache_mb: int) -> None:
        self.examples = examples
        self.processor = processor
        self.image_size = image_size
        self._kept: Lru[Hashable, Any] = Lru(cache_mb * 2**20, _bytes)
        self._sizes: dict[tuple[str, int], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def tokens(self, i: int) -> int:
        """Tokens of record i, told from the sizes of its frames."""
        example = self.examples[i]
        shown = [frame for observation in example.episode.observations for frame in observation.frames]
        sizes = [fit(*self._size(example, frame.index), frame.max_pixels) for frame in shown]
        return count_tokens(example.episode, sizes, self.processor)

    def _size(self, example: Example, frame: int) -> tuple[int, int]:
        """(width, height) of a frame; its file is opened once."""
        key = example.video, frame
        if key not in self._sizes:
            self._sizes[key] = example.frames.size(frame)
        return self._sizes[key]

    def sample(self, i: int) -> Sample:
        """Record i; PolicyError naming it where text, images and masks do not match."""
        sample: Sample = self._kept.made(("sample", i), lambda: self._sample(i))
        return sample

    def image(self, key: ImageKey, i: int) -> ImageBytes:
        """The patches of one image as bytes; record i shows it."""
        image: ImageBytes = self._kept.made(key, lambda: self._image(key, self.examples[i].frames))
        return image

    def frame(self, key: ImageKey, i: int) -> Tensor:
        """One frame as SAM 2 sees it, before it is scaled: uint8 (3, S, S); a mask of record i is decoded on it."""

        def make() -> Tensor:
            return square(self.examples[i].frames.image(key[1], key[2]), self.image_size)

        frame: Tensor = self._kept.made(("frame", *key), make)
        return frame

    def pixels(self, image: ImageBytes) -> Tensor:
        """The patches (P, C) float32 as the image processor makes them."""
        kind = self.processor.image_processor
        mean, std = (torch.tensor(values)[:, None] for values in (kind.image_mean, kind.image_std))
        scaled = (image.pixels.float() * kind.rescale_factor - mean) / std
        return scaled[:, :, None].expand(-1, -1, kind.temporal_patch_size, -1).flatten(1)

    def _image(self, key: ImageKey, frames: Frames) -> ImageBytes:
        patches = patches_of(frames.image(key[1], key[2]), self.processor)
        kind = self.processor.image_processor
        mean, std = (torch.tensor(values)[:, None] for values in (kind.image_mean, kind.image_std))
        values = patches.pixel_values.unflatten(1, (len(mean), kind.temporal_patch_size, -1))[:, :, 0]
        pixels = ((values * std + mean) / kind.rescale_factor).round().to(torch.uint8)
        return ImageBytes(pixels, patches.grid, patches.size)

    def _sample(self, i: int) -> Sample:
        example = self.examples[i]
        observations = example.episode.observations
        shown = [frame for observation in observations for frame in observation.frames]
        images = tuple((example.video, frame.index, frame.max_pixels) for frame in shown)
        made = [self.image(key, i) for key in images]
        placed = [Patches(torch.empty(len(image.pixels), 0), image.grid, image.size) for image in made]
        encoded = encode_episode(example.episode, placed, self.processor)
        frames = tuple(
            (example.video, observation.decoded, None if example.whole else _largest(observation))
            for observation in observations
        )
        return Sample(_lean(encoded), images, frames, self._masks(example.masks, example.episode))

    def _masks(self, rles: tuple[Rle | None, ...], episode: Episode) -> Tensor:
        if len(rles) != len(episode.turns):
            raise PolicyError(f"{episode.query_id}: {len(rles)} masks for {len(episode.turns)} turns")
        side = self.image_size
        empty = torch.zeros(side, side, dtype=torch.bool)
        decoded = [empty if r is None else torch.from_numpy(_square_mask(r, side).copy()) for r in rles]
        return torch.stack(decoded)


def _largest(observation: Observation) -> int:
    """Most pixels of the decoded frame, as it is shown."""
    return max(frame.max_pixels for frame in observation.frames if frame.index == observation.decoded)


def _square_mask(rle: Rle, side: int) -> Any:
    return masks.decode(masks.resize(rle, side, side), order="C")


def _lean(encoded: Encoded) -> Encoded:
    """Without the places of pixels, which come from the images of the batch."""
    nothing = encoded.pixel_values.new_zeros(0, 0)
    return dataclasses.replace(encoded, pixel_values=nothing)


def _bytes(made: Sample | ImageBytes | Tensor) -> int:
    if isinstance(made, Sample):
        return int(made.masks.nbytes + 4 * made.encoded.input_ids.nbytes)
    return int(made.pixels.nbytes if isinstance(made, ImageBytes) else made.nbytes)
