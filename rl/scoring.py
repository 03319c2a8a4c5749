"""The scoring forward: log-probabilities of what was sampled, `[SEG]` hidden states and all masks in one pass.

Rollouts are padded on the right: no token looks at the padding after it, so there is no mask to weigh. A completion is
all that comes after the first prompt: replies and, between them, what the environment showed. Shapes: B rollouts, W
tokens of the longest completion, M sampled tokens, N turns with a `[SEG]`, K masks on spatial frames, S the side of
SAM 2's image.

Log-probabilities are those of sampling: with its temperature and without the tokens that are never sampled, before
top-p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtscot import masks
from vtscot.policy.batch import distinct_images
from vtscot.policy.features import FeatureStore
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.rolled import RolledTurn
from vtscot.policy.tokens import Encoded
from vtscot.tracks import MaskTrack

from .trials import Trialled


@dataclass(frozen=True, eq=False)
class Batch:
    """B rollouts as a policy reads them; places are (row, column of the completion)."""

    inputs: dict[str, Tensor]  # of `Policy.forward`, without what belongs to masks
    tokens: Tensor  # (M,) that were sampled
    places: Tensor  # (M, 2)
    forced: Tensor  # (C, 2) where turns were closed by tags that were not drawn
    seg_places: Tensor  # (N, 2)
    seg_index: Tensor  # (N + K, 2) row and position: each turn on its own frame, then turns on spatial frames
    frames: tuple[tuple[Any, int], ...]  # (N + K) (frames, index) that each mask is decoded on
    truth: tuple[tuple[MaskTrack, int], ...]  # (N + K) what each mask should be
    names: tuple[str, ...]  # (N + K) for the seeds of points
    rolled: Tensor  # (N, S/4, S/4) the masks of the rollout


@dataclass(frozen=True, eq=False)
class Scores:
    """What one pass gives, at the size (B, W) that was asked for; 0 where nothing was sampled."""

    logps: Tensor  # (B, W)
    entropies: Tensor  # (B, W), no gradient
    masks: Tensor  # (N + K, S/4, S/4)
    object_scores: Tensor  # (N + K,)
    connected: Tensor  # () 0, whose gradient goes back through every part that took part


def completion(encoded: Encoded, turns: Sequence[RolledTurn]) -> tuple[Tensor, Tensor]:
    """Tokens (W,) after the first prompt, and which of them were sampled (W,) bool: those that turns were forced to
    end with are not."""
    start = encoded.turn_spans[0][0]
    sampled = torch.zeros(len(encoded), dtype=torch.bool)
    for (first, last), turn in zip(encoded.turn_spans, turns, strict=True):
        sampled[first : last - turn.forced] = True
    return encoded.input_ids[start:], sampled[start:]


def batch_of(items: Sequence[Trialled], processor: PolicyProcessor, *, spatial: bool) -> Batch:
    """Rollouts as one batch; with `spatial`, every turn's mask on the spatial frames of turn 0 as well."""
    encoded = [item.rollout.encoded(processor) for item in items]
    own = _Masks()
    others = _Masks()
    for row, (item, one) in enumerate(zip(items, encoded, strict=True)):
        for position, frame, turn in zip(one.seg_positions, one.seg_frames, one.seg_turns, strict=True):
            seg = row, int(position)
            own.add(item, seg, int(frame), f"own/{int(turn)}")
            for other in item.spatial if spatial else ():
                others.add(item, seg, other, f"spatial/{int(turn)}/{other}")
    starts = torch.tensor([one.turn_spans[0][0] for one in encoded])
    inputs, at = read(encoded, processor)
    images = {"pixel_values": torch.cat([one.pixel_values for one in encoded])}
    images["image_grid_thw"] = torch.cat([one.image_grid_thw for one in encoded])
    forced = [
        (row, i)
        for row, (item, one) in enumerate(zip(items, encoded, strict=True))
        for (_, end), turn in zip(one.turn_spans, item.rollout.turns, strict=True)
        for i in range(end - turn.forced, end)
    ]
    index = own.index()
    return Batch(
        inputs=inputs | distinct_images(images),
        tokens=inputs["input_ids"][at[:, 0], at[:, 1]],
        places=_columns(at, starts),
        forced=_columns(torch.tensor(forced, dtype=torch.int64).reshape(-1, 2), starts),
        seg_places=_columns(index, starts),
        seg_index=torch.cat([index, others.index()]),
        frames=(*own.frames, *others.frames),
        truth=(*own.truth, *others.truth),
        names=(*own.names, *others.names),
        rolled=_rolled(items),
    )


def read(encoded: Sequence[Encoded], processor: PolicyProcessor) -> tuple[dict[str, Tensor], Tensor]:
    """What `Policy.forward` takes to read rollouts, but for images, and the places (M, 2) of what was replied."""
    at = torch.tensor([(row, i) for row, one in enumerate(encoded) for a, b in one.turn_spans for i in range(a, b)])
    inputs = {
        "input_ids": _padded([one.input_ids for one in encoded], processor.pad_id),
        "mm_token_type_ids": _padded([one.mm_token_type_ids for one in encoded], 0),
        "logits_index": at - torch.tensor([0, 1]),
    }
    return inputs, at


def forward(
    model: Any,
    batch: Batch,
    shape: tuple[int, int],
    *,
    barred: Tensor,
    temperature: float,
    store: FeatureStore | None = None,
    encode: bool = False,
    entropies: bool = False,
) -> Scores:
    """One pass of `model` over a batch; without a `store`, no masks.

    `barred` (V,) bool are the tokens that are never sampled. `encode` has SAM 2's image encoder run with gradient,
    where it is trained; else features come from the store.
    """
    device = next(model.parameters()).device
    inputs: dict[str, Any] = {name: value.to(device) for name, value in batch.inputs.items()}
    if store is not None and len(batch.seg_index):
        inputs |= _mask_inputs(batch, store, encode=encode)
    output = model(**inputs)
    said = log_probabilities(output.logits, barred, temperature)
    values = said.gather(-1, batch.tokens.to(device)[:, None])[:, 0]
    none = values.new_zeros(0)
    outputs = (values, output.mask_logits, output.iou_scores, output.object_scores)
    return Scores(
        logps=_placed(values, batch.places, shape),
        entropies=_placed(_entropy(said) if entropies else torch.zeros_like(values), batch.places, shape),
        masks=none.reshape(0, 1, 1) if output.mask_logits is None else output.mask_logits,
        object_scores=none if output.object_scores is None else output.object_scores,
        connected=torch.stack([0.0 * found.sum().float() for found in outputs if found is not None]).sum(),
    )


def log_probabilities(logits: Tensor, barred: Tensor, temperature: float) -> Tensor:
    """(M, V) of sampling: -inf where `barred` (V,)."""
    return (logits.float() / temperature).masked_fill(barred.to(logits.device), -torch.inf).log_softmax(-1)


def true_masks(batch: Batch, side: int) -> Tensor:
    """(N + K, side, side) bool: what the masks of the batch should be."""
    found = [track.rle(frame) for track, frame in batch.truth]
    empty = torch.zeros(side, side, dtype=torch.bool)
    decoded = [None if rle is None else masks.decode(masks.resize(rle, side, side), order="C") for rle in found]
    return torch.stack([empty if mask is None else torch.from_numpy(mask.copy()) for mask in decoded])


class _Masks:
    """Masks that are to be decoded, as they are collected."""

    def __init__(self) -> None:
        self.at: list[tuple[int, int]] = []
        self.frames: list[tuple[Any, int]] = []
        self.truth: list[tuple[MaskTrack, int]] = []
        self.names: list[str] = []

    def add(self, item: Trialled, at: tuple[int, int], frame: int, name: str) -> None:
        self.at.append(at)
        self.frames.append((item.rollout.ask.frames, frame))
        self.truth.append((item.task.truth, frame))
        self.names.append(f"{item.rollout.ask.query_id}/{item.rollout.sample}/{name}")

    def index(self) -> Tensor:
        return torch.tensor(self.at, dtype=torch.int64).reshape(-1, 2)


def _mask_inputs(batch: Batch, store: FeatureStore, *, encode: bool) -> dict[str, Any]:
    if not encode:
        with torch.no_grad():
            features, place = store.frames(batch.frames)
        return {"seg_index": batch.seg_index, "frames": features, "seg_frame": place}
    keys = [frames.digest(index) for frames, index in batch.frames]
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    first = dict(zip(reversed(keys), reversed(batch.frames), strict=True))
    images = [first[key][0].image(first[key][1]) for key in order]
    shown = store.policy.sam_frames(images)
    return {"seg_index": batch.seg_index, "frames": shown, "seg_frame": torch.tensor([order[key] for key in keys])}


def _rolled(items: Sequence[Trialled]) -> Tensor:
    found = [turn.mask_logits for item in items for turn in item.rollout.turns if turn.mask_logits is not None]
    return torch.stack(found) if found else torch.zeros(0, 1, 1)


def _columns(at: Tensor, starts: Tensor) -> Tensor:
    return torch.stack([at[:, 0], at[:, 1] - starts[at[:, 0]]], -1)


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _placed(values: Tensor, places: Tensor, shape: tuple[int, int]) -> Tensor:
    rows, columns = places.to(values.device).unbind(-1)
    return values.new_zeros(shape).index_put((rows, columns), values)


@torch.no_grad()  # type: ignore[untyped-decorator]
def _entropy(said: Tensor) -> Tensor:
    """(M,) nats of log-probabilities (M, V), some of which are -inf."""
    return -(said.exp() * said.masked_fill(said.isinf(), 0.0)).sum(-1)
