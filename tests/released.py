"""The released loader's rules, written from the description of the method alone: nothing of `vtscot.interchange`.

`load(record)` reads a record of the cold start as that loader does and gives what it would show and decode; an
AssertionError, a KeyError or an IndexError is what would stop a training there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

TEXTS = {"video_name": str, "frames": list, "exp": str, "anno_id": list, "sample_frame_indice": list}
LISTS = {"cot_trace": list, "conversations": list}


@dataclass(frozen=True)
class Loaded:
    """Frames of the looks (names), and the frames whose masks are loaded, one each."""

    windows: list[list[str]]
    keyframes: list[str]
    masks: list[int]


def load(record: dict[str, Any]) -> Loaded:
    """Read one record as the released loader does."""
    for name, kind in (TEXTS | LISTS).items():
        assert type(record[name]) is kind, name
    frames = record["frames"]
    assert frames and all(type(name) is str for name in frames)
    assert record["anno_id"], "no object"
    said = record["conversations"]
    speakers = ["system"] + ["human", "gpt"] * (len(said) // 2)
    assert [message["from"] for message in said] == speakers
    humans = [message["value"] for message in said if message["from"] == "human"]
    assert "<image>" not in humans[0]
    assert all(text.count("<image>") == 1 for text in humans[1:])

    masks = sorted(record["sample_frame_indice"])
    assert masks, "no spatial frame"
    windows, keyframes = [], []
    for r, step in enumerate(record["cot_trace"]):
        match = re.search(r"<select><VTG>(.*?)</VTG>(.*?)</select>", said[2 * (r + 1)]["value"])
        if match is None:
            break
        numbers = json.loads(match.group(1))
        assert numbers["start"] == step["start_frame"]
        assert numbers["end"] == step["end_frame"]
        assert numbers["keyframe"] == step["key_frame"]
        start, end, key = numbers["start"], numbers["end"], numbers["keyframe"]
        assert 0 <= start < end <= len(frames) - 1
        assert 0 <= key <= len(frames) - 1
        last = end if end - start <= 11 else end + 1  # exclusive for short windows
        windows.append([frames[i] for i in range(start, last)])
        assert windows[-1], "a window that shows nothing"
        keyframes.append(frames[key])
        masks.append(key)
    selects = sum("<select>" in message["value"] for message in said if message["from"] == "gpt")
    assert selects == len(windows) == len(humans) - 1, "a look that the loader does not see"
    assert "<answer>" in said[-1]["value"] and "<select>" not in said[-1]["value"]
    assert all(0 <= index < len(frames) for index in masks)
    assert len(masks) == len(record["sample_frame_indice"]) + selects
    assert sum(message["value"].count("[SEG]") for message in said) == len(humans), "one [SEG] per turn, no other"
    return Loaded(windows, keyframes, masks)


def load_rl(entry: list[dict[str, Any]]) -> list[int]:
    """Read one entry of the RL file; the frames that show the target."""
    item = entry[0]
    assert set(item) == {"video_name", "frames", "exp", "anno_id", "mask_existence"}
    assert item["anno_id"] and all(type(name) is str for name in item["frames"])
    assert len(item["mask_existence"]) == len(item["frames"])
    assert set(item["mask_existence"]) <= {0, 1}
    return [i for i, seen in enumerate(item["mask_existence"]) if seen]
