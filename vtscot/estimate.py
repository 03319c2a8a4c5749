"""What a build would do and send, counted from real plans and budgets before anything is spent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vtscot.build import open_recipe_source, select
from vtscot.episode import observations
from vtscot.index import build_index
from vtscot.progress import Progress
from vtscot.recipe import Recipe
from vtscot.records import Observation
from vtscot.stages import mine_query


def estimate(recipe: Recipe, scratch: Path, say: Progress) -> dict[str, Any]:
    """Queries, turns, requests and images of a build; indexes into `scratch`, touches no run and sends nothing."""
    root = Path(recipe.source.root) if recipe.source.root else scratch / "source"
    say.stage("index")
    index = build_index(open_recipe_source(recipe, root), scratch / "index")
    queries, skipped = select(index, recipe.limit)
    say.stage("mine", len(queries))
    turns: Counter[int] = Counter()
    sent: Counter[str] = Counter(requests=0, images=0)
    for query in queries:
        plan = mine_query(query, index, recipe.mining, recipe.budget)
        turns[len(plan.steps)] += 1
        for observation in observations(plan, recipe.budget):
            sent.update(sent_for(recipe, observation))
        say.advance()
    return {
        "queries": len(queries),
        "skipped": len(skipped),
        "turns": {str(n): turns[n] for n in sorted(turns)},
        **sent,
    }


def sent_for(recipe: Recipe, observation: Observation) -> dict[str, int]:
    """Requests and images that one turn costs: a question per pass, every frame once, and what verifies it."""
    requests = images = 0
    if recipe.teacher.name == "openai":
        from vtscot.teacher.passes import PASSES

        requests, images = len(PASSES), len(observation.frames)
    if recipe.verify.grounder == "openai":
        requests, images = requests + 1, images + 1
    if recipe.verify.judge == "openai":
        requests += 1
    return {"requests": requests, "images": images}
