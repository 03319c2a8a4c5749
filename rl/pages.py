"""OUT/pages/step-N.html: the rollouts of one query, as `vtscot predict` shows its answers, with what each earned."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vtscot.files import write_text
from vtscot.policy.predict import Prediction, trace_of
from vtscot.predict.page import render_trace
from vtscot.tracks import MaskTrack

from .recipe import RlRecipe
from .rolling import Generation
from .trials import Trialled

PAGES: Final = "pages"


class Pages:
    """Writes a page for the first rollouts at or after every `page_every` steps."""

    def __init__(self, out: Path, recipe: RlRecipe) -> None:
        self._folder, self._recipe = out / PAGES, recipe
        self._due = 0

    def write(self, step: int, generation: Generation) -> None:
        """The page of this batch, if one is due: of the first query with rollouts. FrameError for a broken frame."""
        size = generation.size
        groups = [generation.rows[i : i + size] for i in range(0, len(generation.rows), size)]
        group = next((rows for rows in ([row for row in g if row is not None] for g in groups) if rows), None)
        if step < self._due or group is None:
            return
        self._due = step - step % self._recipe.page_every + self._recipe.page_every
        write_text(self._folder / f"step-{step:06d}.html", render_group(group, self._recipe, step))


def render_group(group: list[Trialled], recipe: RlRecipe, step: int) -> str:
    """The page of the rollouts of one query."""
    task = group[0].task
    traces = [trace_of(_prediction(row), f"sample {row.rollout.sample}: reward {row.reward:.2f}") for row in group]
    about = f"Rollouts before step {step + 1} about {task.query.id}, at temperature {recipe.temperature:g}."
    return render_trace(
        f"Rollouts: {task.query.video_id}",
        task.frames,
        traces,
        f"{about} Masks are those of the turns; none is propagated.",
        [earned(row) for row in group],
    )


def earned(row: Trialled) -> str:
    """The terms of one rollout's reward as a line of text."""
    terms = ", ".join(f"{name} {value:+.2f}" for name, value in row.terms.items())
    ious = ", ".join(f"{iou:.2f}" for iou in row.iou_own)
    return f"Sample {row.rollout.sample}: {row.reward:.2f} = {terms}. IoU of its masks, each on its frame: {ious}."


def _prediction(row: Trialled) -> Prediction:
    """The rollout with its masks where they were decoded, and nothing elsewhere."""
    rollout = row.rollout
    width, height = rollout.ask.frames.size(0)
    nothing = MaskTrack(height, width, (None,) * len(rollout.ask.frames))
    traced = trace_of(Prediction(rollout, rollout.turns[-1].frame, False, nothing), "")
    masks = list(nothing.masks)
    for turn in traced.turns:
        if turn.mask is not None:
            masks[turn.frame] = turn.mask.counts
    last = rollout.turns[-1]
    absent = last.object_score is not None and last.object_score <= 0
    return Prediction(rollout, last.frame, absent, MaskTrack(height, width, tuple(masks)))
