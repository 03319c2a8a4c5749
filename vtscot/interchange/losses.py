"""What a format has no place for, and why a record is not written: one name each, as commands print it.

docs/interchange.md explains every one of them; a test compares the two.
"""

from __future__ import annotations

from typing import Final

LOSSES: Final[dict[str, str]] = {
    "identity": "source, split, expression id, object ids and kind are left out",
    "observations": "which low-resolution frames were shown, and their sizes, is left to the loader",
    "last-frame": "the loader leaves out the last frame of a window of at most 12",
    "turns": "the dialogue and its windows are left out: the policy writes its own",
    "masks": "there is no place for masks: [SEG] is learned as text alone",
    "selections": "windows and keyframes stand in the text alone",
    "verdict": "scores, checks, the plan with its facts, and the provenance are left out",
    "image-word": "<image>, <video> or <audio> in an expression stands in square brackets in the dialogue",
    "unknown-fields": "fields of the file that vtscot has no place for are left out",
    "new-expression": "the source has no such expression about these objects: its id is made from its text",
}
"""Losses by name, with what is lost."""

NOTES: Final[dict[str, str]] = {
    "one-turn": "without a look; the released training code needs one in every record (--min-turns 2 leaves them out)",
    "third-party-images": "with images that their licence does not allow to pass on",
}
"""Not lost, but good to know."""

REFUSALS: Final[dict[str, str]] = {
    "few-turns": "fewer turns than --min-turns asks for",
    "never-answers": "the last turn is no answer",
    "no-target": "the expression means nothing in the video, and the format needs an object",
    "one-frame-window": "a look whose window is a single frame: the loader would show nothing of it",
    "reserved-token": "the expression holds a token that tokenizers reserve",
    "no-frame-names": "the dataset does not name all frames of the video: give --root, or export the run",
    "no-images": "the row holds no images: give --root, hydrate it, or export the run",
    "no-masks": "the row holds no masks: give --root, hydrate it, or export the run",
    "broken-row": "the row of the dataset holds no episode",
    "left-source": "its video is no longer in the source of the run",
    "unreadable": "a frame, a mask or the source itself cannot be read",
    "other-source": "the row is of another source than the one that --root holds",
    "changed-source": "the source under --root has no such video, or other frames in it",
}
"""Why a record is not exported."""


class Refused(Exception):
    """A record that is not written or not taken; `rule` is the reason's name."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(detail or REFUSALS.get(rule, rule))
        self.rule = rule

    @property
    def detail(self) -> str:
        return str(self)
