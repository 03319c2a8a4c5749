"""What the tests of the reinforcement stage share: a recipe of very short steps, and a trainer that has not begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.policies import BUDGET
from vtscot.rl.recipe import RlRecipe

SMALL: dict[str, Any] = {
    "group": {"prompts": 2, "size": 3, "per_device": 3, "rolled": 6},
    "optimiser": {"lr": 2e-4, "warmup": 0.0, "schedule": "constant", "weight_decay": 0.0},
    "points": 64,
    "budget": BUDGET.model_dump(),
    "temperature": 1.0,
    "top_p": 1.0,
    "max_steps": 3,
    "precision": "fp32",
    "gradient_checkpointing": False,
    "budget_at_use": "tiny",
    "save_every": 2,
    "page_every": 2,
}


def small(**changes: Any) -> RlRecipe:
    """The recipe with changed keys."""
    return RlRecipe.model_validate({**SMALL, **changes})


def make_trainer(recipe: RlRecipe, policy_folder: Path, demo_root: Path, out: Path) -> Any:
    """A trainer that has not begun, about the demo's train split."""
    from vtscot.progress import Silent
    from vtscot.rl.recipe import accumulation
    from vtscot.rl.train import Data, arguments, prepare
    from vtscot.rl.trainer import RlTrainer

    work = prepare(Data("demo", demo_root, "train"), str(policy_folder), recipe, out / "index", Silent())
    return RlTrainer(
        work.policy,
        work.processor,
        recipe,
        arguments(recipe, out, accumulation(recipe), cpu=True),
        work.tasks,
        reference=work.reference,
        spare=work.spare,
    )
