"""What is told of a batch of rollouts: rewards and their spread, turns, ends, masks, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any

from .advantages import spread
from .recipe import RlRecipe
from .rolling import Generation


@dataclass(frozen=True)
class Told:
    """The facts of one process's batch, as plain data that processes can send each other."""

    groups: list[list[dict[str, Any]]]
    failed: int
    counters: dict[str, int]


def told(generation: Generation) -> Told:
    """The facts of a batch; a failed rollout is in no group."""
    rows = [
        None
        if row is None
        else {
            "reward": row.reward,
            "terms": row.terms,
            "end": row.rollout.end,
            "iou": list(row.iou_own),
            "tokens": sum(len(turn.reply_ids) for turn in row.rollout.turns),
        }
        for row in generation.rows
    ]
    size = generation.size
    groups = [[row for row in rows[i : i + size] if row is not None] for i in range(0, len(rows), size)]
    return Told(groups, sum(row is None for row in rows), asdict(generation.store.counters))


def gathered(generation: Generation, accelerator: Any) -> list[Told]:
    """The facts of all processes."""
    found = told(generation)
    if accelerator.num_processes == 1:
        return [found]
    from accelerate.utils import gather_object

    every: list[Told] = gather_object([found])
    return every


def figures_of(parts: Sequence[Told], recipe: RlRecipe) -> dict[str, float]:
    """The figures of a batch of rollouts over all processes, by the names they are logged under."""
    groups = [group for part in parts for group in part.groups]
    rows = [row for group in groups for row in group]
    found: dict[str, float] = {"episodes": len(rows), "failed": sum(part.failed for part in parts)}
    for name in parts[0].counters if parts else ():
        found[name] = sum(part.counters[name] for part in parts)
    if not rows:
        return found
    rewards = [row["reward"] for row in rows]
    flat = sum(not spread([row["reward"] for row in group]) for group in groups)
    found |= {"reward": fmean(rewards), "reward_std": pstdev(rewards), "zero_spread": flat / len(groups)}
    for name in rows[0]["terms"]:
        values = [row["terms"][name] for row in rows]
        found |= {f"reward/{name}": fmean(values), f"reward/{name}_std": pstdev(values)}
    return found | _ends(rows, recipe) | _masks(rows)


def _ends(rows: Sequence[Mapping[str, Any]], recipe: RlRecipe) -> dict[str, float]:
    """Share of episodes by number of turns, and by how they ended."""
    turns = [len(row["iou"]) for row in rows]
    found = {
        f"turns/{count}": turns.count(count) / len(rows) for count in range(1, recipe.rollout_budget.max_turns + 1)
    }
    found |= {"turns": fmean(turns), "tokens": float(sum(row["tokens"] for row in rows))}
    ends = [row["end"] for row in rows]
    return found | {name: ends.count(name) / len(rows) for name in ("answered", "truncated", "unparsed")}


def _masks(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean IoU of the turns' masks, each on its frame: over the episodes that have the turn."""
    found = {"iou": fmean(row["iou"][-1] for row in rows)}
    for turn in range(max(len(row["iou"]) for row in rows)):
        found[f"iou/{turn}"] = fmean(row["iou"][turn] for row in rows if len(row["iou"]) > turn)
    return found
