"""Rollouts that an engine wrote get what it does not know, from one pass of the policy over the whole of each.

That is the hidden state at every `[SEG]` with its mask, and log-probabilities as the policy itself would have written
them (`sampling.next_tokens`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from vtscot.policy.cache import joined_features
from vtscot.policy.features import FeatureStore
from vtscot.policy.rollout import Rollout, evaluating
from vtscot.policy.writing import barred_tokens

from .scoring import log_probabilities, read


def with_masks(
    rollouts: Sequence[Rollout], store: FeatureStore, temperature: float, together: int
) -> Iterator[Rollout]:
    """The same rollouts, in order, with masks and log-probabilities; `together` of them in one pass.

    A rollout without turns is given back as it is. FrameError for a frame that cannot be read.
    """
    barred = barred_tokens(store.policy, store.processor)
    for start in range(0, len(rollouts), together):
        some = rollouts[start : start + together]
        with evaluating(store.policy), torch.no_grad():
            whole = iter(_read([rollout for rollout in some if rollout.turns], store, barred, temperature))
        yield from (next(whole) if rollout.turns else rollout for rollout in some)


def _read(rollouts: Sequence[Rollout], store: FeatureStore, barred: torch.Tensor, temperature: float) -> list[Rollout]:
    if not rollouts:
        return []
    encoded = [rollout.encoded(store.processor) for rollout in rollouts]
    inputs, at = read(encoded, store.processor)
    segs = [(row, int(position)) for row, one in enumerate(encoded) for position in one.seg_positions]
    frames = [(rollouts[row].ask.frames, int(i)) for row, one in enumerate(encoded) for i in one.seg_frames]
    wanted: dict[str, Any] = _images(rollouts, store)
    wanted["image_grid_thw"] = torch.cat([one.image_grid_thw for one in encoded]).to(store.policy.device)
    if segs:
        features, place = store.frames(frames)
        wanted |= {"seg_index": torch.tensor(segs), "frames": features, "seg_frame": place}
    output = store.policy(**{name: value.to(store.policy.device) for name, value in inputs.items()}, **wanted)
    said = log_probabilities(output.logits, barred, temperature)
    tokens = inputs["input_ids"][at[:, 0], at[:, 1]].to(said.device)
    logprobs = iter(said.gather(-1, tokens[:, None])[:, 0].cpu().split(_lengths(rollouts)))
    decoded = iter(_decoded(output) if segs else ())
    found = []
    for rollout, one in zip(rollouts, encoded, strict=True):
        having = set(one.seg_turns.tolist())
        turns = [
            replace(turn, logprobs=next(logprobs), **(next(decoded) if i in having else {}))
            for i, turn in enumerate(rollout.turns)
        ]
        found.append(replace(rollout, turns=tuple(turns)))
    return found


def _images(rollouts: Sequence[Rollout], store: FeatureStore) -> dict[str, Any]:
    """The features of all that was shown, which the store has."""
    shown = [
        store.show(rollout.ask.frames, turn.observation, rollout.ask.query_id)
        for rollout in rollouts
        for turn in rollout.turns
    ]
    features = [image for row in store.images(shown) for image in row]
    return {"mm_encoder_outputs": joined_features(features)}


def _lengths(rollouts: Sequence[Rollout]) -> list[int]:
    return [len(turn.reply_ids) for rollout in rollouts for turn in rollout.turns]


def _decoded(output: Any) -> Iterator[dict[str, Any]]:
    """What a turn knows of its mask, for every `[SEG]`."""
    states, masks = output.seg_hidden.cpu(), output.mask_logits.float().cpu()
    scores = zip(output.object_scores.tolist(), output.iou_scores.tolist(), strict=True)
    for state, mask, (object_score, iou_score) in zip(states, masks, scores, strict=True):
        yield {
            "seg_hidden": state.clone(),
            "mask_logits": mask.clone(),
            "object_score": object_score,
            "iou_score": iou_score,
        }
