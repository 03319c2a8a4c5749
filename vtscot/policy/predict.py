"""The whole loop for one query: turns, the mask of the answer, and that mask through the video.

Memory does not grow with the video but for one compressed mask per frame: frames are decoded when they are asked for,
SAM 2 remembers what it may still look at, and masks are handed on as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vtscot.budget import PRESETS, Budget, preset
from vtscot.masks import Rle, is_empty
from vtscot.policy.batch import collate
from vtscot.policy.pixels import BlockFrames
from vtscot.policy.rollout import Ask, RolledTurn, Rollout, roll
from vtscot.policy.sampling import Sampling
from vtscot.predict.trace import Trace, TraceTurn
from vtscot.tracks import MaskTrack

if TYPE_CHECKING:
    from vtscot.frames import Frames
    from vtscot.policy.model import Policy
    from vtscot.policy.processor import PolicyProcessor

PropagateFrom = Literal["decoded", "answer"]
OnText = Callable[[str, int, str], None]
OnMask = Callable[[int, Rle | None], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A rollout and the masks that follow from it.

    `keyframe` is the frame they are propagated from. Where the episode has no mask (no turn that parses), `track` is
    empty; where the policy says that the target is nowhere, it is empty and `absent` is true.
    """

    rollout: Rollout
    keyframe: int
    absent: bool
    track: MaskTrack


def predict(
    policy: Policy,
    processor: PolicyProcessor,
    ask: Ask,
    budget: Budget,
    sampling: Sampling | None = None,
    *,
    propagate_from: PropagateFrom = "decoded",
    object_threshold: float = 0.0,
    on_text: OnText | None = None,
    on_mask: OnMask | None = None,
) -> Prediction:
    """Roll out one episode and follow its mask; `on_text` and `on_mask` hear of both as they come."""
    (rollout,) = roll(policy, processor, [ask], budget, sampling or Sampling(), on_text=on_text)
    return finish(
        policy,
        rollout,
        processor,
        propagate_from=propagate_from,
        object_threshold=object_threshold,
        on_mask=on_mask,
    )


def budget_of(policy: Any, name: str | None) -> Budget:
    """The preset of that name, else the budget the checkpoint is to be used with, else `evaluation`."""
    if name is not None:
        return preset(name)
    saved = policy.config.budget
    return PRESETS["evaluation"] if saved is None else Budget.model_validate(saved)


def finish(
    policy: Policy,
    rollout: Rollout,
    processor: PolicyProcessor | None = None,
    *,
    propagate_from: PropagateFrom = "decoded",
    object_threshold: float = 0.0,
    on_mask: OnMask | None = None,
) -> Prediction:
    """The masks of a rollout in all frames of its video.

    The mask is that of the last turn that parses, decoded on the frame that turn looked at (`decoded`), or on the
    keyframe it names (`answer`, which needs the processor and reads the episode once more). An object score (logit)
    of at most `object_threshold` says that the target is not in the video: all masks are empty. `on_mask` is called
    once per frame with a mask, in the order of tracking; not at all where all are empty.
    """
    frames = rollout.ask.frames
    width, height = frames.size(0)
    found = last_mask(rollout)
    if found is None:
        keyframe = rollout.turns[-1].frame if rollout.turns else len(frames) // 2
        return Prediction(rollout, keyframe, False, _no_masks(frames))
    number, turn = found
    keyframe, logits, score = turn.frame, turn.mask_logits, turn.object_score
    if propagate_from == "answer" and turn.turn is not None and processor is not None:
        keyframe = turn.turn.selection.keyframe
        logits, score = decode_again(policy, processor, rollout, number, keyframe)
    if score is not None and score <= object_threshold:
        return Prediction(rollout, keyframe, True, _no_masks(frames))
    masks: list[bytes | None] = [None] * len(frames)
    for frame, mask in _follow(policy, frames, keyframe, logits):
        masks[frame] = None if mask is None else mask.counts
        if on_mask is not None:
            on_mask(frame, mask)
    return Prediction(rollout, keyframe, False, MaskTrack(height, width, tuple(masks)))


def last_mask(rollout: Rollout) -> tuple[int, RolledTurn] | None:
    """The last turn that parses and has a mask, with its number."""
    turns = reversed(tuple(enumerate(rollout.turns)))
    return next((found for found in turns if found[1].turn is not None and found[1].mask_logits is not None), None)


def mask_at(logits: Tensor, width: int, height: int) -> Rle | None:
    """Mask logits (h, w) at the size of the frame (bilinear, then > 0); None where nothing is left."""
    if not bool((logits > 0).any()):  # no pixel between them can be
        return None
    large = interpolate(logits[None, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    mask = Rle.from_array((large[0, 0] > 0).cpu().numpy())
    return None if is_empty(mask) else mask


def decode_again(
    policy: Policy, processor: PolicyProcessor, rollout: Rollout, turn: int, frame: int
) -> tuple[Tensor, float]:
    """Mask logits (S/4, S/4) and object score of turn `turn`'s `[SEG]` on another frame."""
    encoded = rollout.encoded(processor)
    batch = {name: value.to(policy.device) for name, value in collate([encoded], processor.pad_id).items()}
    place = (batch["seg_turn"] == turn).nonzero()[:, 0]
    at = batch["seg_index"][place]
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    with torch.no_grad():
        output = policy(
            **{name: batch[name] for name in names},
            seg_index=at,
            logits_index=at,
            frames=policy.sam_frames([rollout.ask.frames.image(frame)]),
            seg_frame=torch.zeros(len(at), dtype=torch.int64),
        )
    return output.mask_logits[0], float(output.object_scores[0])


def trace_of(prediction: Prediction, exp_id: str) -> Trace:
    """What can be written and shown of a prediction, without torch."""
    rollout = prediction.rollout
    size = rollout.ask.frames.size(0)
    return Trace(
        exp_id=exp_id,
        expression=rollout.ask.expression,
        end=rollout.end,
        turns=tuple(_trace_turn(turn, size) for turn in rollout.turns),
        keyframe=prediction.keyframe,
        absent=prediction.absent,
        track=prediction.track,
    )


def _no_masks(frames: Frames) -> MaskTrack:
    width, height = frames.size(0)
    return MaskTrack(height, width, (None,) * len(frames))


def _follow(policy: Policy, frames: Frames, keyframe: int, logits: Tensor) -> Iterator[tuple[int, Rle | None]]:
    """Masks at frame size in the order of tracking; on the keyframe the decoder's own."""
    width, height = frames.size(0)
    side = policy.config.image_size
    prompt = interpolate(logits[None, None].float(), size=(side, side), mode="bilinear", align_corners=False)[0, 0]
    for frame, tracked in policy.propagate(BlockFrames(frames, side), keyframe, prompt):
        yield frame, mask_at(logits if frame == keyframe else tracked, width, height)


def _trace_turn(turn: RolledTurn, size: tuple[int, int]) -> TraceTurn:
    mask = None
    if turn.mask_logits is not None:
        mask = mask_at(turn.mask_logits, *size) or Rle.from_array(torch.zeros(size[::-1], dtype=torch.bool).numpy())
    return TraceTurn(turn.observation, turn.text, turn.turn, turn.error, turn.frame, mask, turn.object_score)
