"""The level after all others: SAM 2's memory learns to follow a mask through a video.

Sequences of a video's sharp frames, forwards or backwards in time, some frames twice, begin with the true mask of one
object or several; SAM 2 tracks it as `policy.propagate` does, on its own masks. What decodes a `[SEG]` stays as it is:
only the parts that tracking alone uses are trained (`PARTS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import Sam2VideoInferenceSession

from vtscot.policy.decode import DecodedMasks
from vtscot.policy.propagate import propagate
from vtscot.sft.nano.prompts import mask_loss, sam_pixels
from vtscot.sft.nano.world import Clip

PARTS: Final = (
    "memory_attention.",
    "memory_encoder.",
    "memory_temporal_positional_encoding",
    "mask_downsample.",
    "no_object_pointer",
    "object_pointer_proj.",
    "occlusion_spatial_embedding_parameter",
    "prompt_encoder.mask_embed.",
    "prompt_encoder.not_a_point_embed.",
    "temporal_positional_encoding_projection_layer.",
)
STILL: Final = 0.4  # chance that the next frame of a sequence is the one before again
ALONE: Final = 0.75  # share of the sequences that follow a single object
_OBJECT: Final = 0


class _Sequences(Sam2VideoInferenceSession):  # type: ignore[misc]
    """B sequences as one object of one video whose features and masks have a batch of B."""

    def __init__(self, sam: Any, length: int) -> None:
        side = sam.image_size
        super().__init__(
            video_height=side, video_width=side, dtype=torch.float32, max_vision_features_cache_size=length
        )
        self.length = length
        self.obj_id_to_idx(_OBJECT)

    @property
    def num_frames(self) -> int:
        """Frames of each sequence."""
        return self.length


@contextmanager
def memory_parts(sam: Any) -> Iterator[list[Tensor]]:
    """The parameters that tracking alone uses; the others have no gradient meanwhile."""
    others = [parameter for name, parameter in sam.named_parameters() if not name.startswith(PARTS)]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield [parameter for name, parameter in sam.named_parameters() if name.startswith(PARTS)]
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def awaken(sam: Any, generator: torch.Generator) -> None:
    """Draw the weights of `PARTS` anew, as large as keeps the variance of what goes through them.

    SAM 2's deviation of 0.02 is for its 256 channels and 4 layers; with 64 channels and one layer what a memory says is
    some 1e-3 of the features it is added to, and a training does not find it.
    """
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if name.startswith(PARTS) and name.endswith("weight") and parameter.ndim > 1 and "embed." not in name:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)


def draw_tracks(clips: Sequence[Clip], rng: np.random.Generator, count: int, length: int) -> dict[str, Tensor]:
    """`pixels` (B, L, 3, S, S) and `masks` (B, L, S, S) bool of `count` sequences; the first mask is not empty."""
    pixels: list[Tensor] = []
    masks: list[Tensor] = []
    while len(pixels) < count:
        clip = clips[int(rng.integers(len(clips)))]
        several = 1 if rng.random() < ALONE else int(rng.integers(2, len(clip.looks) + 1))
        targets = rng.permutation(len(clip.looks))[:several]
        owners = np.isin(clip.array("owners"), targets + 1)
        visible = np.flatnonzero(owners.any((1, 2)))
        if not len(visible):
            continue
        places = _walk(rng, int(rng.choice(visible)), len(owners), length)
        pixels.append(sam_pixels([clip.array("sam")[i] for i in places]))
        masks.append(torch.from_numpy(owners[places]))
    return {"pixels": torch.stack(pixels), "masks": torch.stack(masks)}


def _walk(rng: np.random.Generator, start: int, frames: int, length: int) -> list[int]:
    """Places of a sequence: on in one direction, to the end at most, now and then standing still."""
    step = 1 if rng.random() < 0.5 else -1
    if not 0 <= start + step < frames:
        step = -step
    places = [start]
    while len(places) < length:
        following = places[-1] + (0 if rng.random() < STILL else step)
        places.append(min(max(following, 0), frames - 1))
    return places


def track(sam: Any, pixels: Tensor, first: Tensor) -> list[DecodedMasks]:
    """Follow `first` (B, S, S) through `pixels` (B, L, 3, S, S): the masks of every frame after the first, (B,) each.

    Unlike SAM 2's own forward pass it has a gradient, except for what encodes frames.
    """
    batch, length = pixels.shape[:2]
    session = _Sequences(sam, length)
    decoded: list[tuple[Tensor, ...]] = []
    hooks = (
        sam.mask_decoder.register_forward_hook(lambda _module, _inputs, output: decoded.append(output)),
        # (1, B, h*w, C), of which transformers expects (B, 1, h*w, C) where a batch is more than one
        sam.memory_attention.register_forward_hook(lambda _module, _inputs, output: output.transpose(0, 1)),
    )
    try:
        for frame in range(length):
            _show(sam, session, pixels[:, frame], frame)
            _step(sam, session, frame, None if frame else first[:, None].float())
    finally:
        for hook in hooks:
            hook.remove()
    assert len(decoded) == length and len(decoded[0][0]) == batch
    return [DecodedMasks(masks[:, 0, 0], iou[:, 0, 0], there[:, 0, 0]) for masks, iou, _, there in decoded[1:]]


def _show(sam: Any, session: _Sequences, frames: Tensor, number: int) -> None:
    with torch.no_grad():
        found = sam.get_image_features(frames, return_dict=True)
    features = {"vision_feats": found.fpn_hidden_states, "vision_pos_embeds": found.fpn_position_encoding}
    session.cache.cache_vision_features(number, features)


def _step(sam: Any, session: _Sequences, frame: int, mask: Tensor | None) -> None:
    """What `Sam2VideoModel.forward` does for an object, whose masks and memories it keeps."""
    given = mask is not None
    made = sam._run_single_frame_inference(
        inference_session=session,
        obj_idx=_OBJECT,
        frame_idx=frame,
        batch_size=1,  # features have their batch already
        is_init_cond_frame=given,
        point_inputs=None,
        mask_inputs=mask,
        reverse=False,
    )
    made["object_pointer"] = _own(made["object_pointer"])
    features = session.cache.get_vision_features(frame)["vision_feats"][-1]
    memory, places = sam._encode_new_memory(features, made["high_res_masks"], made["object_score_logits"], given)
    made |= {"maskmem_features": memory, "maskmem_pos_enc": places}
    session.store_output(_OBJECT, frame, output_value=made, is_conditioning_frame=given)


def follow(sam: Any, clips: Sequence[Clip]) -> dict[str, float]:
    """Mean IoU of true masks that are followed through the sharp frames of videos, from the one that shows most of an
    object to the others that show it; beside it that of a mask that stays where it was, and the number of masks."""
    found: list[tuple[float, float]] = []
    for clip in clips:
        pixels, owners = sam_pixels(clip.array("sam")), clip.array("owners")
        for actor in range(1, len(clip.looks) + 1):
            truth = torch.from_numpy(owners == actor)
            start = int(truth.flatten(1).sum(1).argmax())
            if not truth[start].any():
                continue
            small = truth[:, 2::4, 2::4]
            for frame, logits in propagate(sam, pixels, start, truth[start]):
                if frame != start and small[frame].any():
                    found.append((_iou(logits > 0, small[frame]), _iou(small[start], small[frame])))
    followed, stayed = np.mean(found, axis=0).tolist()
    return {"follow_iou": followed, "follow_constant": stayed, "follow_masks": len(found)}


def _iou(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum().clamp(min=1))


def _own(pointers: Tensor) -> Tensor:
    """(B, C) of (B, 1, C); of the (B, B, C) that transformers makes of a batch with masks, [i, j] of mask i's choice
    for j."""
    return pointers[:, 0] if pointers.shape[1] == 1 else pointers.diagonal(dim1=0, dim2=1).T


def track_step(sam: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of the level on a batch of `draw_tracks`; `last` is the IoU on the last frame of the sequences."""
    found = track(sam, batch["pixels"], batch["masks"][:, 0])
    truth = batch["masks"][:, 1:].transpose(0, 1)
    together = DecodedMasks(
        torch.cat([one.logits for one in found]),
        torch.cat([one.iou_scores for one in found]),
        torch.cat([one.object_scores for one in found]),
    )
    terms = mask_loss(together, truth.flatten(0, 1), truth.flatten(2).any(-1).flatten())
    end = mask_loss(found[-1], truth[-1], truth[-1].flatten(1).any(-1))
    return {**terms, "last": end["reached"]}
