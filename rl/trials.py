"""Rollouts with their rewards: the masks of every turn on the frames that the rewards look at, compared with the truth.

A mask is scored as `vtscot predict` would give it: at the size of the truth, and empty where the object score says
that the target is not in the frame. A reply without `[SEG]` has no mask: it earns 0 on every frame, seen or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vtscot import masks
from vtscot.masks import Rle
from vtscot.policy.features import FeatureStore
from vtscot.policy.predict import mask_at
from vtscot.policy.rollout import RolledTurn, Rollout
from vtscot.tracks import MaskTrack

from .queries import Task
from .recipe import RewardSettings
from .rewards import score

TOGETHER = 64  # masks in one batch of the decoder: at 1024 pixels each takes some 12 MB


@dataclass(frozen=True, eq=False)
class Trialled:
    """A rollout with at least one turn, the frames its masks were scored on, and what it earned."""

    task: Task
    rollout: Rollout
    spatial: tuple[int, ...]  # the sharp frames of turn 0
    iou_spatial: tuple[tuple[float, ...], ...]  # per turn
    iou_own: tuple[float, ...]  # per turn, on its own frame
    terms: dict[str, float]
    reward: float
    prefixes: tuple[float, ...]  # per turn, what the episode would have earned had it ended there


def trial(
    store: FeatureStore, rollouts: Sequence[Rollout], tasks: Sequence[Task], settings: RewardSettings
) -> list[Trialled]:
    """The rewards of rollouts, each about its task; all have turns. FrameError for a frame that cannot be read."""
    spatial = [spatial_frames(rollout) for rollout in rollouts]
    decoded = iter(_on_spatial(store, rollouts, spatial))
    found = []
    for rollout, task, frames in zip(rollouts, tasks, spatial, strict=True):
        rows = tuple(
            tuple(_iou(*next(decoded), task.truth, frame) for frame in frames)
            if turn.seg_hidden is not None
            else (0.0,) * len(frames)
            for turn in rollout.turns
        )
        found.append(_trialled(task, rollout, frames, rows, settings))
    return found


def spatial_frames(rollout: Rollout) -> tuple[int, ...]:
    """The sharp frames that turn 0 shows."""
    shown = rollout.turns[0].observation.frames
    return tuple(frame.index for frame in shown if frame.role == "spatial")


def _trialled(
    task: Task,
    rollout: Rollout,
    frames: tuple[int, ...],
    iou_spatial: tuple[tuple[float, ...], ...],
    settings: RewardSettings,
) -> Trialled:
    own = tuple(_own_iou(turn, task.truth) for turn in rollout.turns)
    texts = [turn.text for turn in rollout.turns]
    visible = [int(counts is not None) for counts in task.truth.masks]

    def earned(turns: int) -> dict[str, float]:
        return score(texts[:turns], visible, iou_spatial[:turns], own[:turns], settings.preset)

    terms = earned(len(texts))
    prefixes = tuple(settings.total(earned(turns + 1)) for turns in range(len(texts)))
    return Trialled(task, rollout, frames, iou_spatial, own, terms, prefixes[-1], prefixes)


def _on_spatial(
    store: FeatureStore, rollouts: Sequence[Rollout], spatial: Sequence[tuple[int, ...]]
) -> Iterator[tuple[Tensor, float]]:
    """(logits, object score) of every turn with a `[SEG]` on every spatial frame of its rollout, in that order."""
    wanted = [
        (rollout.ask.frames, frame, turn.seg_hidden)
        for rollout, frames in zip(rollouts, spatial, strict=True)
        for turn in rollout.turns
        if turn.seg_hidden is not None
        for frame in frames
    ]
    for start in range(0, len(wanted), TOGETHER):
        some = wanted[start : start + TOGETHER]
        hidden = torch.stack([state for _, _, state in some]).to(store.policy.device)
        with torch.no_grad():
            decoded = store.masks([(frames, frame) for frames, frame, _ in some], hidden)
        yield from zip(decoded.logits.float().cpu(), decoded.object_scores.tolist(), strict=True)


def _own_iou(turn: RolledTurn, truth: MaskTrack) -> float:
    if turn.mask_logits is None or turn.object_score is None:
        return 0.0
    return _iou(turn.mask_logits, turn.object_score, truth, turn.frame)


def _iou(logits: Tensor, object_score: float, truth: MaskTrack, frame: int) -> float:
    """IoU at the size of the truth; 1 where both are empty."""
    said = mask_at(logits, truth.width, truth.height) if object_score > 0 else None
    true = truth.rle(frame)
    return masks.iou(_whole(said, truth), _whole(true, truth))


def _whole(mask: Rle | None, truth: MaskTrack) -> Rle:
    return masks.empty(truth.height, truth.width) if mask is None else mask
