"""One mask through a whole video: SAM 2's memory, forward and backward from the frame the mask was decoded on.

Memory is bounded: frames are asked for one at a time, and of what was tracked only what SAM 2 may still look at is
kept (its last memories and object pointers, and those around the keyframe, which the way back begins with). The masks
are those of an unbounded session. Frames are encoded a few at a time: what the encoder makes of a frame does not depend
on what was tracked, and for small models the calls cost more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Sam2VideoInferenceSession

from vtscot.errors import PolicyError

AHEAD: Final = 4  # frames in the encoder at once
_OBJECT: Final = 0


class FrameSequence(Protocol):
    """Frames by index, each (3, S, S) as `sam_frames` makes them: a tensor (T, 3, S, S) or `BlockFrames`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class BoundedSession(Sam2VideoInferenceSession):  # type: ignore[misc]
    """A session that holds no frames, and forgets outputs that are out of SAM 2's reach."""

    def __init__(self, frames: FrameSequence, sam: Any) -> None:
        size = sam.image_size
        super().__init__(
            video_height=size,
            video_width=size,
            inference_device=sam.device,
            dtype=sam.dtype,
            max_vision_features_cache_size=AHEAD,
        )
        self.frames = frames
        self.sam = sam
        self.reach = max(sam.config.num_maskmem, sam.config.max_object_pointers_in_encoder)

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.frames)

    def get_frame(self, frame_idx: int) -> Tensor:
        """One frame (3, S, S) on the device of the model."""
        return self.frames[frame_idx].to(self.inference_device, self.dtype)

    def encode(self, coming: Sequence[int]) -> None:
        """Keep SAM 2's features of these frames, at most `AHEAD`, instead of those before."""
        frames = torch.stack([self.get_frame(i) for i in coming])
        with torch.inference_mode():
            found = self.sam.get_image_features(frames, return_dict=True)
        self.cache.clear_all()  # when it is full it would drop the frame of the lowest index, whichever is next
        for place, frame in enumerate(coming):
            one = slice(place, place + 1)
            features = {
                "vision_feats": [level[:, one] for level in found.fpn_hidden_states],
                "vision_pos_embeds": [level[:, one] for level in found.fpn_position_encoding],
            }
            self.cache.cache_vision_features(frame, features)

    def store_output(
        self,
        obj_idx: int,
        frame_idx: int,
        output_key: str | None = None,
        output_value: Any = None,
        is_conditioning_frame: bool = True,
    ) -> None:
        """Object pointers as (1, C): models as narrow as their memory fail on the (1, 1, C) that SAM 2 gives."""
        if output_key == "object_pointer":
            output_value = output_value.reshape(1, -1)
        super().store_output(obj_idx, frame_idx, output_key, output_value, is_conditioning_frame)

    def forget(self, frame: int, keyframe: int, step: int) -> None:
        """Drop what tracking `frame` in direction `step` has put out of reach."""
        outputs = self.output_dict_per_obj[_OBJECT]["non_cond_frame_outputs"]
        for name in ("pred_masks", "high_res_masks"):
            outputs[frame].pop(name, None)
        behind = frame - step * self.reach
        if abs(behind - keyframe) > self.reach:
            outputs.pop(behind, None)


def propagate(sam: Any, frames: FrameSequence, keyframe: int, mask: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (frame, mask logits (S/4, S/4)) once for every frame: the keyframe, the later ones, then the earlier ones.

    `mask` (h, w) of any size is true or positive where the target is. An empty mask has nothing to follow: every frame
    gets one, and no frame is read. Raises PolicyError for a keyframe outside the video.
    """
    if not 0 <= keyframe < len(frames):
        raise PolicyError(f"keyframe {keyframe} is outside the video of {len(frames)} frames")
    order = [keyframe, *range(keyframe + 1, len(frames)), *range(keyframe - 1, -1, -1)]
    prompt = _square(mask > 0, sam.image_size)
    if not bool(prompt.any()):
        side = sam.image_size // 4
        yield from ((frame, torch.full((side, side), -1024.0)) for frame in order)
        return
    session = BoundedSession(frames, sam)
    session.add_mask_inputs(session.obj_id_to_idx(_OBJECT), keyframe, prompt)
    session.obj_with_new_inputs = [_OBJECT]
    for place, frame in enumerate(order):
        if place % AHEAD == 0:
            session.encode(order[place : place + AHEAD])
        step = -1 if frame < keyframe else 1
        tracked = sam(session, frame_idx=frame, reverse=step < 0)
        if frame != keyframe:
            session.forget(frame, keyframe, step)
        yield frame, tracked.pred_masks[0, 0]


def _square(mask: Tensor, size: int) -> Tensor:
    """A boolean mask (h, w) as SAM 2 takes it: float (1, 1, size, size)."""
    pixels = mask[None, None].float()
    if pixels.shape[-2:] == (size, size):
        return pixels
    resized = interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return (resized >= 0.5).float()
