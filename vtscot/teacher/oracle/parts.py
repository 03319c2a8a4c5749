"""The four parts of a thought, put together from what the shown frames tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vtscot.records import Thought
from vtscot.teacher.oracle import words as say
from vtscot.teacher.oracle.expression import linguistic
from vtscot.teacher.oracle.moment import NAMED, Moment, brief, counted, looks
from vtscot.teacher.oracle.scene import Thing, Trail
from vtscot.teacher.oracle.words import agree, listed
from vtscot.words.cues import cues_of
from vtscot.words.places import VARIANTS, say_place

MOVED: Final = 0.06  # of the frame: a smaller shift is no movement worth a word
_CHANGE: Final = re.compile(r"\b(?:chang|becom|fad|colou?r|turns? (?!back|around|round)|only at first|stops being)")


def compose(moment: Moment) -> Thought:
    """The thought of one turn."""
    frame = moment.observation.decoded
    targets, others = moment.scene.targets(frame), moment.scene.others(frame)
    return Thought(
        temporal=temporal(moment),
        spatial=spatial(moment, targets, others),
        linguistic=linguistic(moment, targets, others),
        action=action(moment, targets, others),
    )


def temporal(moment: Moment) -> str:
    """What happens when, over the frames of this observation; then the window that matters."""
    trail = moment.scene.trail(moment.observation.indices)
    bank = say.CLOSER if moment.turn else say.OVERVIEW
    sentences = [moment.say(bank, a=str(trail.frames[0]), b=str(trail.frames[-1]))]
    if moment.absent:
        sentences.append(moment.say(say.FOLLOWED))
    elif not trail.seen:
        sentences.append(moment.say(say.NEVER))
    else:
        sentences += [*_presence(moment, trail), *_motion(moment, trail)]
    if not moment.absent:
        sentences.append(moment.say(say.COVERS if moment.answers else say.MATTERS, around=moment.around()))
    return " ".join(sentences)


def _presence(moment: Moment, trail: Trail) -> list[str]:
    """When the target is in view, told by the shown frames on both sides of each change."""
    pairs = ((say.COMES, trail.gone_before), (say.GAP, trail.gap), (say.GOES, trail.gone_after))
    told = [moment.say(bank, a=str(pair[0]), b=str(pair[1])) for bank, pair in pairs if pair is not None]
    return told or [moment.say(say.ALWAYS)]


def _motion(moment: Moment, trail: Trail) -> list[str]:
    """Where a single target goes, and how it changes, between its first and last sighting."""
    first, last = trail.seen[0], trail.seen[-1]
    if moment.plural or first == last:
        return []
    turn = _turning_point(trail)
    start, end = trail.centres[first], trail.centres[last]
    a, b = str(first), str(last)
    if turn is not None:
        told = [moment.say(say.RETURNS, way=way(start, trail.centres[turn]), m=str(turn), a=a, b=b)]
    elif _apart(start, end) < MOVED:
        told = [moment.say(say.RESTS, a=a, b=b)]
    else:
        told = [moment.say(say.MOVES, way=way(start, end), a=a, b=b)]
    told += _events(moment, trail)[:1]
    ratio = trail.areas[last] / trail.areas[first]
    if ratio > 1.7 or ratio < 0.6:
        told.append(moment.say(say.GROWS if ratio > 1 else say.SHRINKS))
    return told


def _events(moment: Moment, trail: Trail) -> list[str]:
    """What the query and the facts of the plan point to and the shown frames bear out, the most telling first."""
    told = _recoloured(moment, trail.seen[0], trail.seen[-1]) if _CHANGE.search(moment.expression.lower()) else []
    kinds = {fact.kind: fact for fact in (*moment.facts, *moment.scene.task.plan.facts)}
    if "stops" in kinds and (frame := _rest(trail, kinds["stops"].start)) is not None:
        told.append(moment.say(say.STOPS, m=str(frame)))
    for kind in ("passes", "nearest"):
        fact = kinds.get(kind)
        if fact is not None and (frame := moment.scene.encounter(fact, trail.seen)) is not None:
            told.append(moment.say(say.MEETS, m=str(frame)))
            break
    return told


def _recoloured(moment: Moment, first: int, last: int) -> list[str]:
    before, after = (moment.scene.targets(frame)[0].colours for frame in (first, last))
    if not before or not after or set(before) & set(after):
        return []
    values = {"before": looks(before), "after": looks(after), "a": str(first), "b": str(last)}
    return [agree(moment.phrases.pick(say.CHANGES), plural=False, **values)]


def _rest(trail: Trail, start: int) -> int | None:
    """The first sighting from `start` on after which the target keeps its place for at least two more sightings."""
    later = [i for i in trail.seen if i >= start]
    if len(later) < 3 or any(_apart(trail.centres[later[0]], trail.centres[i]) > MOVED / 2 for i in later):
        return None
    return later[0]


def _turning_point(trail: Trail) -> int | None:
    """The sighting farthest from the first one, where the target has clearly come back from there by the last."""
    start, end = trail.centres[trail.seen[0]], trail.centres[trail.seen[-1]]
    far = max(trail.seen, key=lambda i: _apart(start, trail.centres[i]))
    there, back = _apart(start, trail.centres[far]), _apart(trail.centres[far], end)
    return far if far != trail.seen[-1] and there > 2 * MOVED and back > max(2 * MOVED, 0.4 * there) else None


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))


def way(start: tuple[float, float], end: tuple[float, float]) -> str:
    """The direction of a movement in words."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    across = ("to the right" if dx > 0 else "to the left") if abs(dx) > 0.4 * abs(dy) else ""
    along = ("downwards" if dy > 0 else "upwards") if abs(dy) > 0.4 * abs(dx) else ""
    return " and ".join(part for part in (along, across) if part)


def spatial(moment: Moment, targets: Sequence[Thing], others: Sequence[Thing]) -> str:
    """Where the target is on the decoded frame, and what else is there."""
    frame = str(moment.observation.decoded)
    if moment.absent:
        sentences = [moment.say(say.NOTHING_HERE, d=frame)]
    elif not targets:
        sentences = [moment.say(say.NOT_HERE, d=frame)]
    else:
        sentences = [_place(moment, thing, number, len(targets)) for number, thing in enumerate(targets)]
        if not others and not moment.plural:
            sentences.append(moment.say(say.SHARP if moment.turn % 2 else say.ALONE))
    if others:
        things = counted([brief(thing, moment.scene.size) for thing in others[:NAMED]])
        single = len(others[:NAMED]) == 1
        sentences.append(moment.say(say.ANOTHER if single else say.OTHERS, things=listed(things)))
    return " ".join(sentences)


_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")


def _place(moment: Moment, thing: Thing, number: int, count: int) -> str:
    place = say_place(thing.box, moment.scene.size, moment.phrases.variant("place", VARIANTS, number))
    ordinal = _ORDINALS[number] if number < len(_ORDINALS) else "next"
    name = f"the {ordinal} target" if count > 1 else "the target"
    bank = say.HERE if thing.colours else say.HERE_PLAIN
    return moment.say(
        bank,
        number,
        d=str(moment.observation.decoded),
        the=name,
        The=say.capital(name),
        place=place,
        colours=looks(thing.colours),
    )


def action(moment: Moment, targets: Sequence[Thing], others: Sequence[Thing]) -> str:
    """Why look again, or why confirm."""
    around = moment.around()
    if moment.answers:
        return moment.say(say.CONFIRM_NONE if moment.absent else say.CONFIRM, around=around)
    bank = _reason(moment, targets, others)
    reason = moment.say(bank, d=str(moment.observation.decoded))
    return moment.say(say.LOOK, around=around, reason=reason[:1].lower() + reason[1:])


def _reason(moment: Moment, targets: Sequence[Thing], others: Sequence[Thing]) -> Sequence[str]:
    if moment.absent:
        return say.CHECKING
    if not targets:
        return say.UNSEEN
    reasons = [say.SHARPER]
    if any(set(thing.colours) & set(targets[0].colours) for thing in others):
        reasons.insert(0, say.RIVALRY)
    if cues_of(moment.expression).weight > 0:
        reasons.insert(0, say.TIMING)
    return reasons[moment.turn % len(reasons)]
