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

    `digest` identifies the unmarked frame; `load` decodes it (RGB, already within `max_pixels`). `size` is the frame's
    (width, height) as stored, where it is known.
    """

    digest: str
    index: int
    max_pixels: int
    load: Callable[[], Image.Image] = field(compare=False, repr=False)
    outline: Rle | None = None
    size: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def pixels(self) -> int:
        """Area of the image that goes out, as far as it is known; for estimates only."""
        return min(self.max_pixels, self.size[0] * self.size[1]) if self.size is not None else self.max_pixels

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
    """One question. `label` names it to people (query, turn, pass) and is not part of the key.

    `variant` tells several wanted answers to the same question apart. `max_output_tokens` None: the endpoint's.
    """

    label: str
    system: str
    content: tuple[str | Picture, ...]
    schema_name: str
    schema: Mapping[str, Any]
    seed: int = 0
    variant: int = 0
    max_output_tokens: int | None = None

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
        if self.variant:  # left out where they say nothing: such keys are as they always were
            canonical["variant"] = self.variant
        if self.max_output_tokens is not None:
            canonical["max_output_tokens"] = self.max_output_tokens
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def summary(
        self, asks: Mapping[str, object], answer: int, *, tokens: tuple[int, int] = (0, 0), batch: bool = False
    ) -> str:
        """What the ledger keeps of the request: a few hundred bytes, whatever was asked.

        `tokens` in and out are an estimate, for servers that do not count.
        """
        frames = [[p.index, p.digest[:16], p.max_pixels, (p.marks or "")[:16]] for p in self.pictures]
        facts = {"label": self.label, "answer": answer, "asks": asks, "schema": self.schema_name, "frames": frames}
        facts |= {"tokens": tokens, **({"batch": True} if batch else {})}
        return json.dumps(facts, separators=(",", ":"), ensure_ascii=False)


def sent_seed(key: str) -> int:
    """The sampling seed sent with a request: 31 bits of its own key, so that each further answer gets another."""
    return int(key[:8], 16) & 0x7FFFFFFF
