"""The offline teacher: writes thoughts from the tracks, the expression and the pixels of the frames shown so far.

It stands in for a large model where there is none: varied but seeded, so that the same run writes the same words. It
says of a video only what the frames shown up to a turn tell, and speaks of frames only by shown indices. In the style
`brief` it uses few words, always the same in the same order, for policies too small for more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vtscot.records import Plan, Thought
from vtscot.teacher.base import Style, TraceTask
from vtscot.teacher.oracle.brief import compose_briefly
from vtscot.teacher.oracle.moment import Moment
from vtscot.teacher.oracle.parts import compose
from vtscot.teacher.oracle.scene import Scene
from vtscot.teacher.oracle.words import Phrases

COMPOSERS: Final[dict[Style, Callable[[Moment], Thought]]] = {"full": compose, "brief": compose_briefly}


class OracleTeacher:
    """Back end `oracle`; needs no endpoint and never fails."""

    def __init__(self, seed: int | None = None, style: Style = "full") -> None:
        self._seed = seed
        self._compose = COMPOSERS[style]
        self.name = "oracle" if style == "full" else f"oracle:{style}"

    async def trace(self, task: TraceTask) -> tuple[Plan, tuple[Thought, ...]]:
        """One thought per step; the plan stays as it was mined."""
        scene = Scene(task)
        seed = task.seed if self._seed is None else self._seed
        shown: set[int] = set()
        thoughts = []
        for turn, (step, observation) in enumerate(zip(task.plan.steps, task.observations, strict=True)):
            shown |= set(observation.indices)
            moment = Moment(
                scene=scene,
                phrases=Phrases(seed, task.query.id, turn),
                turn=turn,
                observation=observation,
                shown=tuple(sorted(shown)),
                step=step,
                answers=turn == len(task.plan.steps) - 1,
            )
            thoughts.append(self._compose(moment))
        return task.plan, tuple(thoughts)

    async def close(self) -> None:
        """Nothing is open."""
