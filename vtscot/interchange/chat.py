"""An episode as a chat that others train on: `sharegpt` for LLaMA-Factory, `trl` for TRL's SFTTrainer.

Both hold the whole dialogue, images included, at the sizes of the episode's budget. An expression cannot add a place
for an image: the words that stand for one are put in square brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vtscot.episode import Message, dialogue
from vtscot.interchange.released import bracketed, check_exportable
from vtscot.records import Episode, Query

SPEAKERS: Final = {"system": "system", "user": "human", "assistant": "gpt"}
DATASET_INFO: Final[dict[str, Any]] = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "images": "images"},
    "tags": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "system_tag": "system",
    },
}
"""What LLaMA-Factory's `dataset_info.json` has to say about the file, beside its name."""


def sharegpt_record(query: Query, episode: Episode, images: Sequence[str]) -> dict[str, Any]:
    """One sample: `<image>` stands once for each of `images` (paths), in order."""
    check_exportable(query, episode)
    said = [{"from": SPEAKERS[message.role], "value": _tagged(message)} for message in dialogue(episode)]
    return {"id": query.id, "conversations": said, "images": list(images)}


def trl_record(query: Query, episode: Episode, images: Sequence[Any]) -> dict[str, Any]:
    """One sample: parts of `messages` are texts or places of the next of `images`."""
    check_exportable(query, episode)
    messages = [
        {"role": message.role, "content": [part.model_dump(exclude_none=True) for part in message.content]}
        for message in dialogue(episode)
    ]
    return {"id": query.id, "messages": messages, "images": list(images)}


def _tagged(message: Message) -> str:
    """A message as one text; `<image>` stands for images and for nothing else."""
    return "".join("<image>" if part.type == "image" else bracketed(part.text or "")[0] for part in message.content)
