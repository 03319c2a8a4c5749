"""Pictures and clips for tests, written with PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

NOT_CODED: Final = bytes.fromhex("000001b6 5a4f")  # MPEG-4: a picture of type P, time 20/25, that is not coded


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Pixels:
    """Smooth colours: JPEG keeps them nearly as they are."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    phase = np.random.default_rng(seed).random(3)
    return (255 * np.stack([x, y, (x + y) / 2], axis=-1) * (0.4 + 0.6 * phase)).astype(np.uint8)


def write_clip(path: Path, frames: int = 48, codec: str = "libx264", *, empty: int = 0, still: bool = False) -> None:
    """A clip with a keyframe every 12 frames; `empty` packets at its end are announced, but hold no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", "bf": "2" if codec == "libx264" else "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            image = av.VideoFrame.from_ndarray(picture(seed=0 if still else i), format="rgb24")
            image.pts = i
            container.mux(stream.encode(image))
        container.mux(stream.encode())
        for i in range(frames, frames + empty):
            packet = av.Packet(NOT_CODED)
            packet.stream, packet.time_base = stream, stream.codec_context.time_base
            packet.pts = packet.dts = i
            container.mux(packet)
