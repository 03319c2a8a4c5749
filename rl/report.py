"""OUT/report.html of a reinforcement stage: curves of rewards, turns and masks; counts and recipe. Needs no torch.

See `vtscot.training.report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vtscot.training.curves import brief
from vtscot.training.metrics import Line
from vtscot.training.report import curves, render_page, write_page

from .rewards import TERMS

MEANINGS: Final = {
    "reward": "weighted sum of the terms, mean over episodes",
    "reward_std": "its spread over all episodes of a step",
    "zero_spread": "share of groups whose episodes all earned the same",
    **{f"reward/{name}": f"term of the reward: {name}" for name in TERMS},
    "iou": "last mask of an episode, on its frame",
    **{f"iou/{turn}": f"masks of turn {turn}, on their frames" for turn in range(3)},
    "turns": "turns per episode",
    **{f"turns/{count}": f"share of episodes of {count} turn{'s' * (count > 1)}" for count in (1, 2, 3)},
    "answered": "share of episodes that answer",
    "unparsed": "share of episodes that end with a turn that does not parse",
    "kl": "k3 estimate against the reference, per token",
    "clip": "share of tokens whose ratio is clipped",
    "entropy": "nats per sampled token",
    "likelihood": "of the rollout's masks: l of the calibration",
    "mask_loss": "BCE + Dice, spatial frames and own frames",
    "closing_loss": "cross-entropy of the tags that guided turns are closed with",
    "loss": "all terms",
    "grad_norm": "length of the gradient before clipping",
    "lr": "learning rate",
    "failed": "rollouts that failed",
    "skipped": "share of steps that were skipped",
    "tokens": "sampled tokens of a batch of rollouts",
    "prefilled_tokens": "tokens read in rollouts",
    "encoded_images": "images through the vision tower in rollouts",
    "sam_frames": "frames through SAM 2's encoder",
    "seconds_rollout": "of a batch of rollouts",
    "seconds_scoring": "reference and old log-probabilities of a batch",
    "seconds": "of a step, all in all",
}


def write_report(out: Path) -> Path:
    """Write the report of the training in `out`; DataError where there is none."""
    return write_page(out, render_report)


def render_report(told: dict[str, Any], recipe: dict[str, Any], lines: Sequence[Line]) -> str:
    """The page. `told` are the counts of the training, `recipe` its settings, `lines` its figures."""
    counted = {"asked": f"{told.get('queries', 0):,}"}
    counted |= {f"left out: {reason}": f"{count:,}" for reason, count in told.get("left_out", {}).items()}
    drawn = curves(lines, MEANINGS)
    return render_page("Reinforcement", told, recipe, _tiles(told, lines), drawn, "Queries", counted)


def _tiles(told: dict[str, Any], lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """(value, unit, explanation) of what matters most."""
    last = lines[-1] if lines else {"step": 0}
    ends = [line["reward"] for line in [*lines[:1], *lines[-1:]] if "reward" in line]
    episodes = sum(line.get("episodes", 0) for line in lines)
    failed = sum(line.get("failed", 0) for line in lines)
    return [
        (f"{last['step']:,}", "steps", f"{round(sum(line.get('seconds', 0.0) for line in lines)):,} seconds"),
        (brief(ends[-1]) if ends else "-", "reward", f"{brief(ends[0])} at the first step" if ends else "no step yet"),
        (f"{episodes:,.0f}", "episodes", f"{failed:,.0f} failed"),
        (f"{told.get('queries', 0):,}", "queries", f"of {told.get('data', '')}"),
    ]
