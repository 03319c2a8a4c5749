"""Settings of a training of nano that takes seconds: two steps of each kind of level."""

from __future__ import annotations

from vtscot.policy.settings import TinySettings
from vtscot.sft.nano.settings import NanoSettings

SIZES = TinySettings(hidden=32, layers=2, heads=2, head=16, vision_hidden=16, vision_layers=1, patch=8)
SHORT = NanoSettings.model_validate(
    {
        "sizes": SIZES.model_dump(),
        "videos": 4,
        "held": 2,
        "sam": {"steps": 2, "frames": 2, "prompts": 2},
        "tracking": {"steps": 2, "sequences": 2, "length": 3},
        "levels": [
            {"name": "vision", "steps": 2, "videos": 0, "pictures": 1},
            {"name": "all", "steps": 2, "videos": 1, "queries": 2, "pictures": 1, "look": 0.5},
            {"name": "reading", "steps": 2, "videos": 0, "pictures": 0, "passages": 2},
            {
                "name": "masks",
                "passages": 1,
                "steps": 2,
                "videos": 1,
                "queries": 2,
                "pictures": 0,
                "system": 1,
                "masks": True,
                "interrupted": True,
            },
        ],
        "measure_every": 100,
        "save_every": 1,
    }
)
