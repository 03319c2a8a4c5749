"""An episode as a released record of VTS-CoT and back, and the entry of a query in the released RL file.

A record holds the query's video, frames, expression and objects, the spatial frames of turn 0, and the dialogue; so
`read_episode(released_record(x)) == x` for an episode whose other frames are those of the same budget. Human turns hold
the request alone: the loader puts the frames and their indices before the first, and in the place of `<image>` later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vtscot.budget import Budget
from vtscot.episode import Message, first_observation, look_observation, observation_message, system_message
from vtscot.errors import EpisodeError
from vtscot.grammar import SEG, parse_turn, render_turn
from vtscot.interchange.losses import Refused
from vtscot.interchange.rules import IMAGE, TRACE
from vtscot.records import Episode, Observation, Query, Turn

SHORT: Final = 11  # of a window with end - start up to this, the loader leaves out the last frame
_MEDIA: Final = re.compile(r"<(image|video|audio)>")
_RESERVED: Final = re.compile(r"<\|[a-z_]+\|>|" + re.escape(SEG))


def check_exportable(query: Query, episode: Episode) -> None:
    """Refused where no dialogue that is learned from can hold the episode."""
    if episode.truncated:
        raise Refused("never-answers")
    if match := _RESERVED.search(query.expression):
        raise Refused("reserved-token", f"the expression holds {match.group()}")


def released_record(query: Query, episode: Episode, frames: Sequence[str]) -> dict[str, Any]:
    """The record of an episode; `frames` names all frames of its video. Refused where the rules forbid it."""
    check_exportable(query, episode)
    if not query.anno_ids:
        raise Refused("no-target")
    looks = [turn.selection for turn in episode.turns[:-1]]
    for turn, look in enumerate(looks):
        if look.start == look.end:
            raise Refused("one-frame-window", f"turn {turn} selects frame {look.start} alone")
    spatial = [frame.index for frame in episode.observations[0].frames if frame.role == "spatial"]
    return {
        **_query_fields(query, frames),
        "sample_frame_indice": spatial,
        "cot_trace": [{name: getattr(look, key) for key, name in TRACE.items()} for look in looks],
        "conversations": [{"from": who, "value": text} for who, text in _said(episode)],
    }


def released_query(query: Query, frames: Sequence[str], visible: Sequence[bool]) -> list[dict[str, Any]]:
    """The entry of a query in the RL file; `visible` tells for each frame whether its target is seen."""
    if not query.anno_ids:
        raise Refused("no-target")
    if match := _RESERVED.search(query.expression):
        raise Refused("reserved-token", f"the expression holds {match.group()}")
    return [{**_query_fields(query, frames), "mask_existence": [int(seen) for seen in visible]}]


def read_episode(record: dict[str, Any], query: Query, budget: Budget) -> Episode:
    """The episode of a record that breaks no rule; low-resolution frames are those of `budget`.

    EpisodeError where a turn has another grammar than ours, ValueError where it is no episode.
    """
    turns = [
        _read_turn(number, text) for number, text in enumerate(said["value"] for said in record["conversations"][2::2])
    ]
    frames = len(record["frames"])
    looks = (look_observation(turn.selection, frames, budget) for turn in turns[:-1])
    return Episode(
        query_id=query.id,
        expression=query.expression,
        num_frames=frames,
        observations=(_first(sorted(record["sample_frame_indice"]), frames, budget), *looks),
        turns=tuple(turns),
    )


def short_windows(episode: Episode) -> int:
    """Looks of which the loader leaves out the last frame."""
    return sum(turn.selection.end - turn.selection.start <= SHORT for turn in episode.turns[:-1])


def bracketed(text: str) -> tuple[str, int]:
    """`text` with the words that trainers put media in the place of in square brackets, and how many there were.

    >>> bracketed("the <image> of a dog")
    ('the [image] of a dog', 1)
    """
    return _MEDIA.subn(r"[\1]", text)


def _query_fields(query: Query, frames: Sequence[str]) -> dict[str, Any]:
    return {
        "video_name": query.video,
        "frames": list(frames),
        "exp": query.expression,
        "anno_id": [_number_or_text(anno_id) for anno_id in query.anno_ids],
    }


def _number_or_text(anno_id: str) -> int | str:
    """An id as annotation files write it: MeViS and ReVOS have numbers."""
    return int(anno_id) if re.fullmatch(r"0|[1-9][0-9]{0,17}", anno_id) else anno_id


def _said(episode: Episode) -> Iterator[tuple[str, str]]:
    yield "system", text_of(system_message()).replace(SEG, "")  # every [SEG] of the dialogue has a mask
    for number, turn in enumerate(episode.turns):
        yield "human", IMAGE if number else request_of(episode)
        yield "gpt", render_turn(turn)


def request_of(episode: Episode) -> str:
    """The words of the first request, without the frames."""
    message = observation_message(0, episode.observations[0], episode.expression, episode.num_frames)
    return bracketed((message.content[-1].text or "").strip())[0]


def text_of(message: Message) -> str:
    """The text of a message without images."""
    return "".join(part.text or "" for part in message.content)


def _read_turn(number: int, text: str) -> Turn:
    try:
        return parse_turn(text)
    except EpisodeError as error:
        raise EpisodeError(f"turn {number}: {error}") from error


def _first(spatial: Sequence[int], frames: int, budget: Budget) -> Observation:
    """What is shown before turn 0: the temporal frames of the budget, and the record's own spatial frames."""
    usual = first_observation(frames, budget)
    temporal = tuple(frame for frame in usual.frames if frame.role == "temporal")
    sharp = next(frame for frame in usual.frames if frame.role == "spatial")
    return Observation(frames=temporal + tuple(sharp.model_copy(update={"index": index}) for index in spatial))
