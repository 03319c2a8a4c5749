"""What several prompts have in common at their beginning is read once.

The expression stands at the end of a prompt, behind the frames: queries about one video differ in their last tokens
only, and queries about several videos still share the system message.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vtscot.policy.cache import Context, Slice


def read_prompts(prompts: Context, slices: Sequence[Slice]) -> tuple[Context, Tensor]:
    """The context of all slices, one row each, and their last hidden states; `prompts` is an empty one of one row."""
    count = common_start(slices) if len(slices) > 1 else 0
    if count:
        prompts.extend([_split(slices[0], count)[0]])
    context = prompts.repeat(len(slices)) if len(slices) > 1 else prompts
    return context, context.extend([_split(part, count)[1] for part in slices])


def common_start(slices: Sequence[Slice]) -> int:
    """Number of tokens that all slices begin with, never a part of an image nor the whole of a slice."""
    first, shortest = slices[0], min(len(part.input_ids) for part in slices)
    alike = torch.stack([part.input_ids[:shortest] == first.input_ids[:shortest] for part in slices]).all(0)
    count = min(int(alike.long().cumprod(0).sum()), shortest - 1)
    for image, (start, end) in enumerate(_image_spans(first)):
        if start >= count:
            break
        if end > count or any(part.images[image] is not first.images[image] for part in slices):
            return start
    return count


def _image_spans(part: Slice) -> list[tuple[int, int]]:
    """[start, end) of the tokens of every image."""
    places = part.mm_token_type_ids.nonzero().flatten().split([len(image.pooled) for image in part.images])
    return [(int(tokens[0]), int(tokens[-1]) + 1) for tokens in places]


def _split(part: Slice, count: int) -> tuple[Slice, Slice]:
    """The first `count` tokens, which end between images, and the rest."""
    images = sum(end <= count for _, end in _image_spans(part))
    ids, types = part.input_ids, part.mm_token_type_ids
    before = Slice(ids[:count], types[:count], part.image_grid_thw[:images], part.images[:images])
    return before, Slice(ids[count:], types[count:], part.image_grid_thw[images:], part.images[images:])
