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
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Patches(NamedTuple):
    """An image as the vision tower takes it. It may stand wherever an image is to be encoded: one made before."""

    pixel_values: Tensor  # (P, C) float32
    grid: Tensor  # (3,) int64
    size: tuple[int, int]  # width and height in pixels of the image it was


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


def patches_of(image: Image, processor: PolicyProcessor) -> Patches:
    """The patches of one image, to be kept where the same image is shown again."""
    shown = processor.image_processor(images=[image], return_tensors="pt")
    return Patches(shown["pixel_values"], shown["image_grid_thw"][0], image.size)


def encode_prompt(
    observation: Observation,
    expression: str,
    num_frames: int,
    images: Sequence[Image | Patches],
    processor: PolicyProcessor,
    query_id: str,
) -> Piece:
    """What a policy reads before its first reply."""
    text = _shown_text(0, observation, expression, num_frames, processor)
    return _piece(text, expression, images, processor, query_id)


def encode_next(
    turn: int,
    observation: Observation,
    expression: str,
    num_frames: int,
    images: Sequence[Image | Patches],
    processor: PolicyProcessor,
    query_id: str,
) -> Piece:
    """What a policy reads between the reply of turn `turn` - 1 and that of turn `turn` (1 or more)."""
    text = _shown_text(turn, observation, expression, num_frames, processor)
    return _piece(text, expression, images, processor, query_id)


def encode_reply(turn: Turn, processor: PolicyProcessor) -> Tensor:
    """(T,) the tokens of a turn in canonical form, with the end of the message."""
    ids = processor.tokenizer.encode(render_turn(turn), add_special_tokens=False)
    return torch.tensor([*ids, processor.message_end_id])


def encode_episode(
    episode: Episode, images: Sequence[Image | Patches], processor: PolicyProcessor, max_tokens: int | None = None
) -> Encoded:
    """A whole episode; `images` are those of all observations, in order.

    LengthError for one of more than `max_tokens`; PolicyError naming the query where the numbers do not match.
    """
    shown = sum(len(observation.frames) for observation in episode.observations)
    if shown != len(images):
        raise PolicyError(f"{episode.query_id}: {len(images)} images for {shown} shown frames")
    if max_tokens is not None:
        _check_length(episode, count_tokens(episode, [image.size for image in images], processor), max_tokens)
    pieces: list[Piece] = []
    start = 0
    for turn, observation in enumerate(episode.observations):
        part = images[start : (start := start + len(observation.frames))]
        about = (observation, episode.expression, episode.num_frames, part, processor, episode.query_id)
        pieces.append(encode_next(turn, *about) if turn else encode_prompt(*about))
    replies = [encode_reply(turn, processor) for turn in episode.turns]
    decoded = [observation.decoded for observation in episode.observations]
    encoded = assemble(episode.query_id, pieces, replies, decoded, processor)
    if len(encoded.seg_positions) != len(episode.turns):
        raise PolicyError(f"{episode.query_id}: {len(encoded.seg_positions)} [SEG] for {len(episode.turns)} masks")
    return encoded


def count_tokens(episode: Episode, sizes: Sequence[tuple[int, int]], processor: PolicyProcessor) -> int:
    """Tokens of an episode whose images have these (width, height), told without any pixels."""
    features = sum(_image_tokens(size, processor, episode.query_id) for size in sizes)
    texts = [
        _shown_text(turn, observation, episode.expression, episode.num_frames, processor)
        for turn, observation in enumerate(episode.observations)
    ]
    shown = sum(len(processor.tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    written = sum(len(encode_reply(turn, processor)) for turn in episode.turns)
    return shown - len(sizes) + features + written


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
    segs: list[tuple[int, int, int]] = []  # position, frame, turn
    spans: list[tuple[int, int]] = []
    end = 0
    for turn, (piece, reply) in enumerate(zip(pieces, replies, strict=True)):
        start = end + len(piece.input_ids)
        end = start + len(reply)
        spans.append((start, end))
        found = (reply == processor.seg_id).nonzero().flatten().tolist()
        segs += [(start + position, decoded[turn], turn) for position in found[-1:]]
    seg_positions, seg_frames, seg_turns = torch.tensor(segs, dtype=torch.int64).reshape(-1, 3).unbind(-1)
    encoded = Encoded(
        query_id=query_id,
        input_ids=_chained([piece.input_ids for piece in pieces], replies),
        labels=_chained([torch.full_like(piece.input_ids, IGNORED) for piece in pieces], replies),
        mm_token_type_ids=_chained(
            [piece.mm_token_type_ids for piece in pieces], [torch.zeros_like(reply) for reply in replies]
        ),
        pixel_values=torch.cat([piece.pixel_values for piece in pieces]),
        image_grid_thw=torch.cat([piece.image_grid_thw for piece in pieces]),
        seg_positions=seg_positions,
        seg_frames=seg_frames,
        seg_turns=seg_turns,
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


def _chained(shown: Sequence[Tensor], written: Sequence[Tensor]) -> Tensor:
    """What was shown and what was written to it, in turns."""
    return torch.cat([part for pair in zip(shown, written, strict=True) for part in pair])


def _check_length(episode: Episode, tokens: int, max_tokens: int) -> None:
    if tokens > max_tokens:
        message = f"{episode.query_id}: an episode of {tokens} tokens does not fit the window of {max_tokens}"
        raise LengthError(f"{message}; a smaller budget or a larger window makes it fit", tokens)


def _shown_text(
    turn: int, observation: Observation, expression: str, num_frames: int, processor: PolicyProcessor
) -> str:
    """The template's text from the end of the reply before turn `turn` up to the reply of that turn."""
    messages: list[Message] = [] if turn else [system_message(processor.system)]
    messages.append(observation_message(turn, observation, expression, num_frames))
    content = [message.model_dump(mode="json", exclude_none=True) for message in messages]
    text: str = processor.apply_chat_template(content, add_generation_prompt=True, tokenize=False)
    return "\n" + text if turn else text  # the template ends the line after the end of a message


def _image_tokens(size: tuple[int, int], processor: PolicyProcessor, query_id: str) -> int:
    try:
        return processor.image_tokens(*size)
    except PolicyError as error:
        raise PolicyError(f"{query_id}: {error}") from error


def _piece(
    text: str, expression: str, images: Sequence[Image | Patches], processor: PolicyProcessor, query_id: str
) -> Piece:
    check_expression(expression, query_id)
    _ = [_image_tokens(image.size, processor, query_id) for image in images]
    places = text.count(IMAGE)
    if places != len(images) or not images:
        raise PolicyError(f"{query_id}: {len(images)} images for {places} places in the text")
    patches = [image if isinstance(image, Patches) else patches_of(image, processor) for image in images]
    grids = torch.stack([image.grid for image in patches])
    parts = text.split(IMAGE)
    text = parts[0] + "".join(IMAGE * processor.tokens_of(g) + p for g, p in zip(grids, parts[1:], strict=True))
    ids = torch.tensor(processor.tokenizer.encode(text, add_special_tokens=False))
    types = (ids == processor.image_token_id).long()
    piece = Piece(ids, types, torch.cat([image.pixel_values for image in patches]), grids)
    check_images(query_id, piece, processor)
    return piece


def check_expression(expression: str, query_id: str) -> None:
    """An expression comes from outside: a special token in it would be read as one."""
    for token in (*QWEN_SPECIALS, SEG):
        if token in expression:
            raise PolicyError(f"{query_id}: the expression holds {token}, which the tokenizer reserves; reword it")
