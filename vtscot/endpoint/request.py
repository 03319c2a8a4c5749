"""A request in canonical form: what is asked, without a word about how it travels.

The key is the SHA-256 of canonical JSON: model and sampling, the rendered text, the answer's schema, and each image
by the digest of its frame, its index, its pixel cap and what is drawn on it. Base URL, API key, concurrency and
time-outs are not in it, and the pixels themselves are not needed to make it.

`answer` counts the answers asked for to the same question: an unusable answer stays in the ledger under its own key,
and the next one is asked for under another, so that no answer is paid twice and none is replayed for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

    from vtscot.masks import Rle

OUTLINE: Final = "magenta"


@dataclass(frozen=True)
class Picture:
    """One image of a request: frame `index`, at most `max_pixels` large, with the target outlined where it is given.

    `digest` identifies the unmarked frame; `load` decodes it (RGB, already within `max_pixels`).
    """

    digest: str
    index: int
    max_pixels: int
    load: Callable[[], Image.Image] = field(compare=False, repr=False)
    outline: Rle | None = None

    @property
    def marks(self) -> str | None:
        """Digest of what is drawn on the frame."""
        if self.outline is None:
            return None
        text = f"{OUTLINE} {self.outline.height} {self.outline.width} ".encode()
        return hashlib.sha256(text + self.outline.counts).hexdigest()[:32]

    @property
    def identity(self) -> tuple[str, int, str | None]:
        """What decides the pixels."""
        return self.digest, self.max_pixels, self.marks

    def canonical(self) -> dict[str, object]:
        return {"frame": self.digest, "index": self.index, "max_pixels": self.max_pixels, "marks": self.marks}


@dataclass(frozen=True)
class Request:
    """One question. `label` names it to people (query, turn, pass) and is not part of the key."""

    label: str
    system: str
    content: tuple[str | Picture, ...]
    schema_name: str
    schema: Mapping[str, Any]
    seed: int = 0

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.content if isinstance(part, Picture))

    def key(self, asks: Mapping[str, object], answer: int) -> str:
        """Hex digest that the ledger knows the answer by; `asks` are the settings that decide what is asked."""
        parts = [part.canonical() if isinstance(part, Picture) else part for part in self.content]
        canonical = {
            "asks": asks,
            "system": self.system,
            "content": parts,
            "schema_name": self.schema_name,
            "schema": self.schema,
            "seed": self.seed,
            "answer": answer,
        }
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def summary(self, asks: Mapping[str, object], answer: int) -> str:
        """What the ledger keeps of the request, for people: a few hundred bytes, whatever was asked."""
        frames = [[p.index, p.digest[:16], p.max_pixels, (p.marks or "")[:16]] for p in self.pictures]
        facts = {"label": self.label, "answer": answer, "asks": asks, "schema": self.schema_name, "frames": frames}
        return json.dumps(facts, separators=(",", ":"), ensure_ascii=False)


def sent_seed(key: str) -> int:
    """The sampling seed sent with a request: 31 bits of its own key, so that each further answer gets another."""
    return int(key[:8], 16) & 0x7FFFFFFF
