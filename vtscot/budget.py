"""One `Budget` for all stages: how many frames an observation shows, and how many pixels each may have.

Presets and figures: the released settings of VideoSEG-O3, whose pixel caps are given in units of 28x28 px.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from vtscot.errors import UsageError
from vtscot.records import Frozen

CAP_UNIT: Final = 28 * 28


class Budget(Frozen):
    """Frames per observation and pixels per frame. Caps are areas in pixels."""

    temporal_frames: int = Field(default=20, gt=0)
    spatial_frames: int = Field(default=5, gt=0)
    window_frames: int = Field(default=10, gt=0)
    temporal_pixels: int = Field(default=32 * CAP_UNIT, gt=0)
    spatial_pixels: int = Field(default=128 * CAP_UNIT, gt=0)
    keyframe_pixels: int = Field(default=512 * CAP_UNIT, gt=0)
    max_turns: int = Field(default=3, ge=1)
    max_new_tokens: int = Field(default=512, gt=0)


PRESETS: Final[dict[str, Budget]] = {
    "cold_start": Budget(),
    "rl_rollout": Budget(temporal_frames=10, window_frames=5, keyframe_pixels=256 * CAP_UNIT),
    "evaluation": Budget(spatial_frames=8, window_frames=5, spatial_pixels=256 * CAP_UNIT, max_new_tokens=1024),
    # For the tiny policy that comes with the package: its image tokens cover 16 x 16 px, not 32 x 32.
    "tiny": Budget(
        temporal_frames=12,
        spatial_frames=1,
        window_frames=5,
        temporal_pixels=64 * 48,
        spatial_pixels=128 * 96,
        keyframe_pixels=128 * 96,
        max_new_tokens=320,
    ),
}


def preset(name: str) -> Budget:
    """The budget of that name; raises UsageError for an unknown one."""
    if name not in PRESETS:
        raise UsageError(_unknown(name))
    return PRESETS[name]


def _unknown(name: object) -> str:
    return f"no budget preset {name!r}; there are {', '.join(PRESETS)}"


def _known(name: object) -> str:
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(_unknown(name))
    return name


def _figures(value: object) -> object:
    if isinstance(value, str):
        return PRESETS[_known(value)]
    if isinstance(value, dict) and "preset" in value:
        changed = {key: figure for key, figure in value.items() if key != "preset"}
        return PRESETS[_known(value["preset"])].model_dump() | changed
    return value


PresetName = Annotated[str, AfterValidator(_known)]
NamedBudget = Annotated[Budget, BeforeValidator(_figures)]
"""A budget in settings: a preset's name, or `{preset: NAME, key: value}` with some figures changed, or every figure."""


def fit(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """Largest (width, height) of the same aspect ratio with at most `max_pixels`; never enlarges, never below 1."""
    scale = math.sqrt(max_pixels / (width * height))
    if scale >= 1:
        return width, height
    w = max(1, math.floor(width * scale))
    h = max(1, math.floor(height * scale))
    return min(w, max(1, max_pixels // h)), min(h, max(1, max_pixels))
