"""The one place where an Episode becomes numbers, for training, rollouts and evaluation alike.

An episode is a chain of pieces: a prompt (system message and first observation), the reply of turn 0, the next
observation, its reply, ... Each piece ends at a special token, so the tokens of the whole are the tokens of the pieces:
a rollout encodes the observations with `encode_prompt` and `encode_next`, samples the replies, and `assemble` joins
both; `encode_episode` does the same with the canonical text of the turns. The text is that of the chat template.

Shapes: T tokens, P patches, I images, N turns with a `[SEG]`. A reply's tokens end with the end-of-message token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from vtscot.episode import Message, observation_message, system_message
from vtscot.errors import PolicyError
from vtscot.grammar import SEG, render_turn
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokenizer import IMAGE, QWEN_SPECIALS
from vtscot.records import Episode, Observation, Turn

if TYPE_CHECKING:
    from PIL.Image import Image

    from vtscot.frames import Frames

IGNORED: Final = -100  # label of a token that is not learned


class LengthError(PolicyError):
    """An episode of more tokens than the window has; it is never cut. `tokens` says how many."""

    def __init__(self, message: str, tokens: int) -> None:
        super().__init__(message)
        self.tokens = tokens


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """What is shown before a reply, up to and including the header of the reply."""

    input_ids: Tensor  # (T,) int64
    mm_token_type_ids: Tensor  # (T,) int64, 1 at image tokens
    pixel_values: Tensor  # (P, C) float32
    image_grid_thw: Tensor  # (I, 3) int64


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """An episode as numbers. Turn `seg_turns[n]`'s mask is decoded from position `seg_positions[n]`."""

    query_id: str
    input_ids: Tensor  # (T,) int64
    labels: Tensor  # (T,) int64, IGNORED outside the replies
    mm_token_type_ids: Tensor  # (T,) int64, 1 at image tokens
    pixel_values: Tensor  # (P, C) float32
    image_grid_thw: Tensor  # (I, 3) int64
    seg_positions: Tensor  # (N,) int64
    seg_frames: Tensor  # (N,) int64, the frame of the video on which each mask is decoded
    seg_turns: Tensor  # (N,) int64
    turn_spans: tuple[tuple[int, int], ...]  # [start, end) of every reply

    def __len__(self) -> int:
        return len(self.input_ids)


def shown_images(frames: Frames, observation: Observation) -> list[Image]:
    """The images of an observation, each at its budgeted size."""
    return [frames.image(frame.index, frame.max_pixels) for frame in observation.frames]


def encode_prompt(
    observation: Observation,
    expression: str,
    num_frames: int,
    images: Sequence[Image],
    processor: PolicyProcessor,
    query_id: str,
) -> Piece:
    """What a policy reads before its first reply."""
    messages = [system_message(), observation_message(0, observation, expression, num_frames)]
    return _piece(_rendered(messages, processor), expression, images, processor, query_id)


def encode_next(
    turn: int,
    observation: Observation,
    expression: str,
    num_frames: int,
    images: Sequence[Image],
    processor: PolicyProcessor,
    query_id: str,
) -> Piece:
    """What a policy reads between the reply of turn `turn` - 1 and that of turn `turn` (1 or more)."""
    message = observation_message(turn, observation, expression, num_frames)
    return _piece("\n" + _rendered([message], processor), expression, images, processor, query_id)


def encode_reply(turn: Turn, processor: PolicyProcessor) -> Tensor:
    """(T,) the tokens of a turn in canonical form, with the end of the message."""
    ids = processor.tokenizer.encode(render_turn(turn), add_special_tokens=False)
    return torch.tensor([*ids, processor.message_end_id])


def encode_episode(
    episode: Episode, images: Sequence[Image], processor: PolicyProcessor, max_tokens: int | None = None
) -> Encoded:
    """A whole episode; `images` are those of all observations, in order.

    LengthError for one of more than `max_tokens`; PolicyError naming the query where the numbers do not match.
    """
    shown = [len(observation.frames) for observation in episode.observations]
    if sum(shown) != len(images):
        raise PolicyError(f"{episode.query_id}: {len(images)} images for {sum(shown)} shown frames")
    if max_tokens is not None:
        _check_length(episode, count_tokens(episode, [image.size for image in images], processor), max_tokens)
    pieces: list[Piece] = []
    for turn, observation in enumerate(episode.observations):
        start = sum(shown[:turn])
        part = images[start : start + shown[turn]]
        rest = (observation, episode.expression, episode.num_frames, part, processor, episode.query_id)
        pieces.append(encode_next(turn, *rest) if turn else encode_prompt(*rest))
    replies = [encode_reply(turn, processor) for turn in episode.turns]
    encoded = assemble(episode.query_id, pieces, replies, _decoded(episode), processor)
    if len(encoded.seg_positions) != len(episode.turns):
        raise PolicyError(f"{episode.query_id}: {len(encoded.seg_positions)} [SEG] for {len(episode.turns)} masks")
    return encoded


def count_tokens(episode: Episode, sizes: Sequence[tuple[int, int]], processor: PolicyProcessor) -> int:
    """Tokens of an episode whose images have these (width, height), told without any pixels."""
    pixels = sum(_image_tokens(size, processor, episode.query_id) for size in sizes)
    first = [system_message(), observation_message(0, episode.observations[0], episode.expression, episode.num_frames)]
    text = _rendered(first, processor)
    for turn, observation in enumerate(episode.observations[1:], 1):
        message = observation_message(turn, observation, episode.expression, episode.num_frames)
        text += "\n" + _rendered([message], processor)
    replies = sum(len(encode_reply(turn, processor)) for turn in episode.turns)
    return len(processor.tokenizer.encode(text, add_special_tokens=False)) - len(sizes) + pixels + replies


def assemble(
    query_id: str,
    pieces: Sequence[Piece],
    replies: Sequence[Tensor],
    decoded: Sequence[int],
    processor: PolicyProcessor,
) -> Encoded:
    """Join what was shown with the replies to it; turn n's mask belongs to frame `decoded[n]`.

    Replies are taken as they are sampled. One without `[SEG]` has no mask, one with several that of the last.
    PolicyError naming the query where images and image tokens do not match, or a reply holds an image token.
    """
    if not len(pieces) == len(replies) == len(decoded):
        raise PolicyError(f"{query_id}: {len(pieces)} observations, {len(replies)} replies, {len(decoded)} frames")
    ids: list[Tensor] = []
    labels: list[Tensor] = []
    spans: list[tuple[int, int]] = []
    segs: list[tuple[int, int, int]] = []  # position, frame, turn
    end = 0
    for turn, (piece, reply) in enumerate(zip(pieces, replies, strict=True)):
        start = end + len(piece.input_ids)
        end = start + len(reply)
        spans.append((start, end))
        ids += [piece.input_ids, reply]
        labels += [torch.full_like(piece.input_ids, IGNORED), reply]
        found = (reply == processor.seg_id).nonzero().flatten().tolist()
        segs += [(start + position, decoded[turn], turn) for position in found[-1:]]
    table = torch.tensor(segs, dtype=torch.int64).reshape(-1, 3)
    encoded = Encoded(
        query_id=query_id,
        input_ids=torch.cat(ids),
        labels=torch.cat(labels),
        mm_token_type_ids=torch.cat(
            [t for p, r in zip(pieces, replies, strict=True) for t in (p.mm_token_type_ids, torch.zeros_like(r))]
        ),
        pixel_values=torch.cat([piece.pixel_values for piece in pieces]),
        image_grid_thw=torch.cat([piece.image_grid_thw for piece in pieces]),
        seg_positions=table[:, 0],
        seg_frames=table[:, 1],
        seg_turns=table[:, 2],
        turn_spans=tuple(spans),
    )
    check_images(query_id, encoded, processor)
    return encoded


def check_images(query_id: str, encoded: Piece | Encoded, processor: PolicyProcessor) -> None:
    """PolicyError naming the query unless image tokens, their marks, grids and pixels agree."""
    merge = int(processor.image_processor.merge_size**2)
    patches = int(encoded.image_grid_thw.prod(-1).sum())
    tokens = int((encoded.input_ids == processor.image_token_id).sum())
    marked = int(encoded.mm_token_type_ids.sum())
    if not tokens == marked == patches // merge:
        raise PolicyError(
            f"{query_id}: {tokens} image tokens, {marked} of them marked, for {patches // merge} features"
        )
    if len(encoded.pixel_values) != patches:
        raise PolicyError(f"{query_id}: pixels of {len(encoded.pixel_values)} patches for {patches} of the grids")


def _check_length(episode: Episode, tokens: int, max_tokens: int) -> None:
    if tokens > max_tokens:
        message = f"{episode.query_id}: an episode of {tokens} tokens does not fit the window of {max_tokens}"
        raise LengthError(f"{message}; a smaller budget or a larger window makes it fit", tokens)


def _decoded(episode: Episode) -> list[int]:
    return [observation.decoded for observation in episode.observations]


def _rendered(messages: Sequence[Message], processor: PolicyProcessor) -> str:
    content = [message.model_dump(mode="json", exclude_none=True) for message in messages]
    text: str = processor.apply_chat_template(content, add_generation_prompt=True, tokenize=False)
    return text


def _image_tokens(size: tuple[int, int], processor: PolicyProcessor, query_id: str) -> int:
    try:
        return processor.image_tokens(*size)
    except PolicyError as error:
        raise PolicyError(f"{query_id}: {error}") from error


def _piece(text: str, expression: str, images: Sequence[Image], processor: PolicyProcessor, query_id: str) -> Piece:
    _check_expression(expression, query_id)
    _ = [_image_tokens(image.size, processor, query_id) for image in images]
    places = text.count(IMAGE)
    if places != len(images) or not images:
        raise PolicyError(f"{query_id}: {len(images)} images for {places} places in the text")
    shown = processor.image_processor(images=list(images), return_tensors="pt")
    grids = shown["image_grid_thw"]
    parts = text.split(IMAGE)
    text = parts[0] + "".join(IMAGE * processor.tokens_of(g) + p for g, p in zip(grids, parts[1:], strict=True))
    ids = torch.tensor(processor.tokenizer.encode(text, add_special_tokens=False))
    types = (ids == processor.image_token_id).long()
    piece = Piece(ids, types, shown["pixel_values"], grids)
    check_images(query_id, piece, processor)
    return piece


def _check_expression(expression: str, query_id: str) -> None:
    """An expression comes from outside: a special token in it would be read as one."""
    for token in (*QWEN_SPECIALS, SEG):
        if token in expression:
            raise PolicyError(f"{query_id}: the expression holds {token}, which the tokenizer reserves; reword it")
