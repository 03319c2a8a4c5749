"""An episode's verdict: checks of its text, its window and frames, then blind grading of every turn.

All checks are made and recorded, in the order of `CHECKS`; the first that fails is the reason. The last gradable turn
decides how well the thought points at the target. Earlier turns are held to a lower ratio: their frames are low in
resolution and the target may be small there, but a thought that points elsewhere is wrong at any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vtscot.frames import Frames
from vtscot.records import Check, Episode, Plan, Selection, Verdict
from vtscot.segmenter.base import Segmenter
from vtscot.tracks import MaskTrack
from vtscot.verify import text
from vtscot.verify.acts import check_action
from vtscot.verify.base import Grounder, VerifySettings
from vtscot.verify.grading import Graded, grade
from vtscot.verify.judge import Judge, check_entailment

CHECKS: Final = (
    "format",
    "length",
    "language",
    "leakage",
    "repetition",
    "expression",
    "action",
    "plan",
    "window",
    "keyframe",
    "groundable",
    "contradiction",
    "gradable",
    "grounding",
    "targets",
    "along-window",
    "earlier-grounding",
    "entailment",
)
"""Names of all checks, in the order in which they are made."""


async def verify(
    episode: Episode,
    plan: Plan,
    target: MaskTrack | None,
    frames: Frames,
    grounder: Grounder,
    segmenter: Segmenter,
    settings: VerifySettings,
    judge: Judge | None = None,
) -> Verdict:
    """Whether the episode is kept, and why not; `target` is None for a no-target query.

    Raises what reading frames and asking the grounder raise (FrameError, TeacherError, EndpointError).
    """
    checks = [*_text_checks(episode, target, settings), *_frame_checks(episode, plan, target, settings)]
    graded = [
        await grade(episode, turn, target, frames, grounder, segmenter, settings) for turn in range(len(episode.turns))
    ]
    checks += [*_grounding_checks(graded, settings), await check_entailment(episode, judge)]
    reason = next((check.name for check in checks if not check.passed), None)
    return Verdict(
        kept=reason is None,
        reason=reason,
        checks=tuple(checks),
        groundings=tuple(one.grounding for one in graded),
        grounder=grounder.name,
        segmenter=segmenter.name,
    )


def _text_checks(episode: Episode, target: MaskTrack | None, settings: VerifySettings) -> list[Check]:
    return [
        text.check_format(episode.turns),
        text.check_length(episode.turns, settings),
        text.check_language(episode.turns, settings),
        text.check_leakage(episode, target),
        text.check_repetition(episode.turns, settings),
        text.check_expression(episode, settings),
        check_action(episode.turns),
    ]


def _frame_checks(episode: Episode, plan: Plan, target: MaskTrack | None, settings: VerifySettings) -> list[Check]:
    if target is None:
        whole = Check(name="window", passed=True, detail="no target: any window will do")
        return [check_plan(episode, plan), whole, Check(name="keyframe", passed=True, detail="no target")]
    window = check_window(episode.turns[-1].selection, target, settings)
    return [check_plan(episode, plan), window, check_keyframe(episode, target)]


def check_plan(episode: Episode, plan: Plan) -> Check:
    """The episode selects the plan's windows, and keyframes among its candidates; each look shows what was selected."""
    problem = ""
    if len(episode.turns) != len(plan.steps):
        problem = f"{len(episode.turns)} turns for {len(plan.steps)} steps"
    for number, (turn, step) in enumerate(zip(episode.turns, plan.steps, strict=False)):
        own, mined = turn.selection, step.selection
        if (own.start, own.end) != (mined.start, mined.end) or own.keyframe not in step.keyframes:
            problem = problem or f"turn {number} selects what was not mined"
        if number + 1 < len(episode.observations) and episode.observations[number + 1].decoded != own.keyframe:
            problem = problem or f"after turn {number} another keyframe is shown than it selected"
    return Check(name="plan", passed=not problem, detail=problem)


def check_window(window: Selection, target: MaskTrack, settings: VerifySettings) -> Check:
    """The answer's window holds the frames that show the target, and few others."""
    visible = target.visible
    shown = int(visible[window.start : window.end + 1].sum())
    length, total = window.end - window.start + 1, int(visible.sum())
    precision, iou = shown / length, shown / max(1, total + length - shown)
    if precision < settings.min_window_precision:
        detail = f"{shown} of the window's {length} frames show the target"
        return Check(
            name="window", passed=False, value=precision, threshold=settings.min_window_precision, detail=detail
        )
    passed = iou >= settings.min_window_iou
    detail = "" if passed else f"the window holds {shown} of the target's {total} frames, and {length - shown} others"
    return Check(name="window", passed=passed, value=iou, threshold=settings.min_window_iou, detail=detail)


def check_keyframe(episode: Episode, target: MaskTrack) -> Check:
    """The target is visible on every selected keyframe, and on the frame that the answer's mask is decoded on."""
    frames = [turn.selection.keyframe for turn in episode.turns] + [episode.observations[-1].decoded]
    missing = [frame for frame in frames if not target.visible[frame]]
    return Check(
        name="keyframe", passed=not missing, detail=f"frame {missing[0]} does not show the target" if missing else ""
    )


def _grounding_checks(graded: Sequence[Graded], settings: VerifySettings) -> list[Check]:
    """Checks on what the blind grounder made of each turn."""
    gradable = [one for one in graded if one.grounding.gradable]
    judged = gradable[-1] if gradable else None
    earlier = [one for one in gradable if one is not judged and one.area >= settings.min_earlier_area]
    return [
        _check_groundable(graded),
        _check_contradiction(graded),
        _check_gradable(graded, settings),
        _check_ratio("grounding", [judged] if judged else [], settings, settings.min_ratio),
        _check_targets(judged, settings),
        _check_along(graded[-1], settings),
        _check_ratio("earlier-grounding", earlier, settings, settings.min_earlier_ratio),
    ]


def _check_groundable(graded: Sequence[Graded]) -> Check:
    lost = next((one for one in graded if one.ungroundable is not None), None)
    detail = f"turn {lost.grounding.turn}: {lost.ungroundable}" if lost else ""
    return Check(name="groundable", passed=lost is None, detail=detail)


def _check_contradiction(graded: Sequence[Graded]) -> Check:
    """No thought says "not here" of a target that is plainly visible, or points at one that is not there."""
    wrong = next((one for one in graded if one.contradicts), None)
    if wrong is None:
        return Check(name="contradiction", passed=True)
    claim = "points at something, but the target is not" if wrong.grounding.boxes else 'says "not here", but it is'
    detail = f"turn {wrong.grounding.turn} {claim} visible on frame {wrong.grounding.frame}"
    return Check(name="contradiction", passed=False, detail=detail)


def _check_gradable(graded: Sequence[Graded], settings: VerifySettings) -> Check:
    best = max(one.grounding.ceiling for one in graded)
    passed = any(one.grounding.gradable for one in graded)
    detail = "" if passed else "the segmenter finds the target on no frame, even from its own box"
    return Check(name="gradable", passed=passed, value=best, threshold=settings.min_ceiling, detail=detail)


def _check_ratio(name: str, turns: Sequence[Graded], settings: VerifySettings, least: float) -> Check:
    """IoU, and IoU over ceiling, of the worst of these turns."""
    if not turns:
        return Check(name=name, passed=True, detail="nothing to grade")
    worst = min(turns, key=lambda one: one.grounding.iou / max(one.grounding.ceiling, 1e-9)).grounding
    ratio = worst.iou / max(worst.ceiling, 1e-9)
    floor = settings.min_iou if least == settings.min_ratio else 0.0
    passed = ratio >= least and worst.iou >= floor
    detail = f"turn {worst.turn}, frame {worst.frame}: IoU {worst.iou:.3f} of a ceiling of {worst.ceiling:.3f}"
    return Check(name=name, passed=passed, value=min(ratio, 1e6), threshold=least, detail=detail)


def _check_along(last: Graded, settings: VerifySettings) -> Check:
    """What was found is found along the answer's window too, as far as the segmenter can follow it."""
    iou, ceiling = last.grounding.window_iou, last.grounding.window_ceiling
    if iou is None or ceiling is None:
        return Check(name="along-window", passed=True, detail="the segmenter does not follow")
    if ceiling < settings.min_ceiling:
        return Check(name="along-window", passed=True, detail=f"the segmenter itself reaches {ceiling:.3f} only")
    ratio, least = iou / ceiling, settings.min_window_ratio
    detail = f"IoU {iou:.3f} along the window, of a ceiling of {ceiling:.3f}"
    return Check(name="along-window", passed=ratio >= least, value=min(ratio, 1e6), threshold=least, detail=detail)


def _check_targets(judged: Graded | None, settings: VerifySettings) -> Check:
    """Every large piece of the target is found, and every box has some of it: the number of targets is right."""
    part = judged.part if judged is not None else 1.0
    passed = part >= settings.min_part
    detail = "" if passed else "a part of the target is missed, or a box is beside it"
    return Check(name="targets", passed=passed, value=part, threshold=settings.min_part, detail=detail)
