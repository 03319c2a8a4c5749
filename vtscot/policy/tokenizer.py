"""A small tokenizer of Qwen's kind, trained on the texts at hand, for policies that start from random weights.

Byte-level BPE with the pre-tokenizer, the normalisation (NFC) and the special tokens of Qwen3-VL, plus `[SEG]`. As in
Qwen3, `<think>` and `</think>` are tokens of their own but not special: they stay when special tokens are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Tokenizer

from vtscot.episode import dialogue
from vtscot.errors import PolicyError
from vtscot.grammar import SEG
from vtscot.records import Episode

PAD: Final = "<|endoftext|>"
MESSAGE_START: Final = "<|im_start|>"
MESSAGE_END: Final = "<|im_end|>"
VISION_START: Final = "<|vision_start|>"
VISION_END: Final = "<|vision_end|>"
IMAGE: Final = "<|image_pad|>"
VIDEO: Final = "<|video_pad|>"
QWEN_SPECIALS: Final = (
    PAD,
    MESSAGE_START,
    MESSAGE_END,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    VISION_START,
    VISION_END,
    "<|vision_pad|>",
    IMAGE,
    VIDEO,
)
THINK: Final = ("<think>", "</think>")
_ADDED: Final = re.compile("|".join(map(re.escape, (*QWEN_SPECIALS, *THINK, SEG))))
_BYTES: Final = 256


def add_seg(tokenizer: Any) -> int:
    """Make `[SEG]` one special token of `tokenizer`, if it is not yet; returns its id."""
    tokenizer.add_tokens([AddedToken(SEG, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(SEG))


def episode_texts(episodes: Iterable[Episode]) -> Iterator[str]:
    """All texts of the episodes' dialogues: what a policy's tokenizer is trained on."""
    for episode in episodes:
        for message in dialogue(episode):
            yield from (part.text for part in message.content if part.text)


def train_tokenizer(texts: Iterable[str], vocab_size: int, numbers: int = 0) -> Any:
    """A `Qwen2Tokenizer` of at most `vocab_size` tokens, special ones included; fewer where the texts hold no more.

    The first `numbers` whole numbers, each with the space before it, are tokens of their own: what is one step to copy
    is learned by policies that are far too small to copy digits one after the other. Larger ones stay digits, as all
    are in Qwen's. The same texts give the same tokenizer, in whatever order they come. PolicyError where `vocab_size`
    has no room for the 256 bytes, the special tokens and the numbers.
    """
    room = vocab_size - len(QWEN_SPECIALS) - len(THINK) - 1 - numbers
    if room < _BYTES:
        raise PolicyError(f"a vocabulary of {vocab_size} is too small: it needs {vocab_size - room + _BYTES} or more")
    vocab, merges = _train(texts, room)
    tokenizer = Qwen2Tokenizer(
        vocab=vocab, merges=merges, unk_token=None, eos_token=MESSAGE_END, pad_token=PAD, padding_side="left"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_SPECIALS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK])
    add_seg(tokenizer)
    tokenizer.add_tokens([AddedToken(f" {number}", special=False, normalized=False) for number in range(numbers)])
    return tokenizer


def _train(texts: Iterable[str], vocab_size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    like = Qwen2Tokenizer().backend_tokenizer
    model = Tokenizer(BPE())
    model.normalizer, model.pre_tokenizer = like.normalizer, like.pre_tokenizer
    trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False)
    model.train_from_iterator((piece for text in texts for piece in _ADDED.split(text) if piece), trainer)
    trained = json.loads(model.to_str())["model"]
    return trained["vocab"], [(left, right) for left, right in trained["merges"]]
