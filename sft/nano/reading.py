"""Passages of text alone: lists of frames, tables about them, and what follows from a table.

To say a number again, and to find the first and the last `yes`, a base model needs no image; it has read lists, tables
and JSON. nano reads these passages, whose numbers lie in no order that could be learned by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from vtscot.policy.tokenizer import VISION_END, VISION_START
from vtscot.sft.nano.fragments import Rng, draw_fragments, draw_said
from vtscot.sft.nano.tasks import Tasks, chance_table
from vtscot.sft.nano.vocabulary import NUMBERS
from vtscot.sft.nano.wording import Reply, add_table, span_of

FRAMES: Final = (3, 14)  # in a list: at least, less than
LISTS: Final = 2  # in a passage, at most


def passages(rng: Rng, tasks: Tasks, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids (R, T), keep (R, T) true at tokens, and learned (R, T) true at the numbers that are said after a list."""
    drawn = [_passage(rng, tasks) for _ in range(count)]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one, _ in drawn], batch_first=True)
    learned = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for _, one in drawn], batch_first=True)
    keep = torch.arange(ids.shape[1]) < torch.tensor([[len(one)] for one, _ in drawn])
    return ids, keep, learned


def _passage(rng: Rng, tasks: Tasks) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    learned: list[bool] = []
    for _ in range(int(rng.integers(1, LISTS + 1))):
        frames = _frames(rng)
        heard = chance_table(rng, len(frames))
        listed = tasks.encode("".join(f"Frame {frame}: {VISION_START}{VISION_END}" for frame in frames))
        said = tasks.encode(_about(rng, frames, heard))
        ids += listed + said
        learned += [False] * len(listed) + [token in tasks.numbers for token in said]
    return ids, learned


def _frames(rng: Rng) -> list[int]:
    """Numbers that rise: evenly, as a strip of a video has them, or by chance."""
    count = int(rng.integers(*FRAMES))
    if rng.random() < 0.5:
        return sorted(int(at) for at in rng.choice(NUMBERS, count, replace=False))
    first, last = sorted(int(at) for at in rng.choice(NUMBERS, 2, replace=False))
    return sorted({round(at) for at in np.linspace(first, last, count).tolist()})


def _about(rng: Rng, frames: Sequence[int], heard: Sequence[bool]) -> str:
    """A table of the frames, and fragments that agree with it."""
    reply, table = Reply(), dict(zip(frames, heard, strict=True))
    add_table(reply, "The target:", table, span_of(table), plural=False)
    said = draw_said(rng, frames, heard)
    text: str = reply.text + "".join(draw_fragments(rng, said) + draw_fragments(rng, said))
    return text
