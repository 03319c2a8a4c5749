"""What reinforcement adds to the cold start: constants, SFT, RL without and with calibration, on held-out demo videos.

Goes on from the cold starts of `bench/speedrun.py` (made first where they are not there yet). Per seed: two trainings
that differ in `calibration.weight` alone, side by side where there are two cores, then `vtscot eval` of the three
policies on at least 200 queries of valid_u (greedy, guided, masks propagated), and the rewards of greedy rollouts about
the same queries, not guided: what is rewarded is all their own. Finished steps are not repeated when the bench is run
again with the same --out. The table has means over the seeds and their standard errors. Exit code 1 where RL is not
above SFT by more than two standard errors in reward and J&F (not with --quick: too short to tell).

OUT/seed-S/{run,policy,eval}                the cold start
OUT/seed-S/rl/{plain,calibrated}            the trainings; OUT/seed-S/rl/{...}-eval their scores
OUT/speedrun_rl.json

    python bench/speedrun_rl.py [--quick] [--json] [--seeds 0,1,2] [--out DIR] [--steps N] [--set KEY=VALUE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from _reach import over_seeds  # the parts of the speedrun beside it
from speedrun import QUICK, Plan, Step, cores, one_seed, say, take

RECIPE = "rl_tiny"
QUERIES = 200
WAYS = {"plain": 0.0, "calibrated": 1.0}  # RL, by the weight of the calibration
POLICIES = ("sft", *WAYS)
MEASURES = ("reward", "J&F", "keyframe_hit", "window_iou", "mean_rounds")


def trainings(place: Path, seed: int, steps: int, sets: Sequence[str]) -> list[Step]:
    """The commands of the two trainings of a seed."""
    made: list[Step] = []
    for way, weight in WAYS.items():
        settings = [f"calibration.weight={weight}", f"max_steps={steps}", f"seed={seed}", *sets]
        flags = [word for setting in settings for word in ("--set", setting)]
        policy = place / "rl" / way
        line = ("train", "rl", "--data", str(place / "run"), "--model", str(place / "policy"), "--recipe", RECIPE)
        made.append(Step(f"rl-{way}", (*line, "--out", str(policy), *flags), policy / "training.json", ("--resume",)))
    return made


def scoring(place: Path, name: str, queries: int) -> Step:
    """The command that scores one of a seed's policies."""
    out = place / "rl" / f"{name}-eval"
    split = ("--source", "demo", "--root", str(place / "run" / "source"), "--split", "valid_u")
    line = ("eval", "--model", str(policy_of(place, name)), *split, "--guided", "--limit", str(queries))
    return Step(f"rl-eval-{name}", (*line, "--out", str(out)), out / "episodes.jsonl", ("--resume",))


def policy_of(place: Path, name: str) -> Path:
    return place / "policy" if name == "sft" else place / "rl" / name


def rewards(policy: Path, root: Path, asked: Sequence[str], index: Path) -> float:
    """Mean reward (preset default, all weights 1) of greedy rollouts about these queries of valid_u."""
    import torch

    from vtscot.policy.cache import Counters
    from vtscot.policy.features import FeatureStore
    from vtscot.policy.load import load_policy
    from vtscot.policy.predict import budget_of
    from vtscot.policy.rollout import Ask, roll
    from vtscot.rl.queries import open_tasks
    from vtscot.rl.recipe import RewardSettings
    from vtscot.rl.trials import trial

    torch.set_num_threads(1)
    model, processor = load_policy(policy, "cpu")
    tasks = open_tasks("demo", root, "valid_u", index)
    wanted = [tasks[i] for i, name in enumerate(tasks.ids) if name in set(asked)]
    store = FeatureStore(model, processor, Counters())
    asks = [Ask(task.query.id, task.query.expression, task.frames) for task in wanted]
    found = zip(roll(model, processor, asks, budget_of(model, None), store=store), wanted, strict=True)
    made = [trial(store, [rollout], [task], RewardSettings())[0].reward for rollout, task in found if rollout.turns]
    return fmean(made)


def measured(place: Path, name: str) -> dict[str, float | None]:
    """The figures of one policy; its rewards are remembered beside its scores."""
    out = place / "rl" / f"{name}-eval"
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    lines = (out / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    kept = out / "reward.json"
    if not kept.is_file():
        asked = [json.loads(line)["query_id"] for line in lines]
        value = rewards(policy_of(place, name), place / "run" / "source", asked, place / "rl" / "index")
        kept.write_text(json.dumps({"reward": value}))
    episodes = scores["episodes"]
    return {
        "reward": json.loads(kept.read_text())["reward"],
        "J&F": scores["J&F"],
        **{name: _mean(episodes[name]) for name in MEASURES[2:]},
        "queries": len(lines),
    }


def _mean(found: Any) -> float | None:
    return found["mean"] if isinstance(found, Mapping) else found


def seed_of(plan: Plan, seed: int, place: Path, length: int, queries: int, sets: Sequence[str]) -> dict[str, Any]:
    """Everything of one seed."""
    start = one_seed(plan, seed, place)
    scores = {name: scoring(place, name, queries) for name in POLICIES}
    with _minutes(place / "rl" / "minutes.json") as spent:
        seconds = take_beside(seed, [*trainings(place, seed, length, sets), scores["sft"]], place, plan.cores)
        seconds |= take_beside(seed, [scores[way] for way in WAYS], place, plan.cores)
        policies = {name: measured(place, name) for name in POLICIES}
    constants = {name: _mean(start["baselines"][name]) for name in ("keyframe_hit", "window_iou")}
    minutes = spent["minutes"]
    return {"seed": seed, "constant": constants, **policies, "seconds": seconds, "minutes": minutes}


def take_beside(seed: int, steps: Sequence[Step], place: Path, cores: int) -> dict[str, float]:
    """Run steps that do not need each other, one per core; their seconds."""

    def one(step: Step) -> tuple[str, float]:
        spent = take(step, place)
        say(f"seed {seed}  {step.name:22}{spent:8.1f} s")
        return step.name, spent

    with ThreadPoolExecutor(max_workers=cores) as pool:
        return dict(pool.map(one, steps))


@contextmanager
def _minutes(kept: Path) -> Iterator[dict[str, float]]:
    """Minutes that a seed took after its cold start, over all calls that it took, those that failed among them."""
    spent = json.loads(kept.read_text()) if kept.is_file() else {"minutes": 0.0}
    began = time.perf_counter()
    try:
        yield spent
    finally:
        spent["minutes"] += (time.perf_counter() - began) / 60
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(spent))


def rows(seeds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every way with its measures over the seeds."""
    ways = ("constant", *POLICIES)
    return [{"way": way, **{m: over_seeds([seed[way].get(m) for seed in seeds]) for m in MEASURES}} for way in ways]


def above(seeds: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Any]:
    """How much RL with calibration is above SFT, seed by seed, and whether that is more than two standard errors."""
    found = over_seeds([seed["calibrated"][measure] - seed["sft"][measure] for seed in seeds])
    sure = found["se"] is not None and found["mean"] is not None and found["mean"] > 2 * found["se"]
    return {"measure": measure, **found, "held": sure}


def table(found: Sequence[Mapping[str, Any]], gains: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{'':14}" + "".join(f"{measure:>20}" for measure in MEASURES)]
    for row in found:
        lines.append(f"{row['way']:14}" + "".join(f"{_shown(row[measure]):>20}" for measure in MEASURES))
    for gain in gains:
        lines.append(f"calibrated - sft, {gain['measure']}: {_shown(gain)}  {'held' if gain['held'] else 'NOT held'}")
    return lines


def _shown(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.3f}" + ("" if value["se"] is None else f" +- {value['se']:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 videos, 2 steps, 6 queries")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    parser.add_argument("--out", type=Path, help="where everything is kept [default: a folder that is removed again]")
    parser.add_argument("--steps", type=int, default=40, help="of each training")
    parser.add_argument("--model", default="nano", help="policy that the cold start begins from")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe rl_tiny")
    options = parser.parse_args()
    plan = QUICK if options.quick else Plan()
    plan = replace(plan, model=options.model, cores=cores())  # as `bench/speedrun.py` has it: a cold start is made once
    length, queries = (2, 6) if options.quick else (options.steps, QUERIES)
    seeds = [0] if options.quick else [int(seed) for seed in options.seeds.split(",")]
    where = nullcontext(options.out) if options.out else tempfile.TemporaryDirectory(prefix="vtscot-speedrun-rl-")
    with where as folder:
        out = Path(folder).absolute()
        each = [seed_of(plan, seed, out / f"seed-{seed}", length, queries, options.set) for seed in seeds]
        found, gains = rows(each), [above(each, measure) for measure in ("reward", "J&F")]
        result = {"seeds": seeds, "steps": length, "rows": found, "gains": gains, "each": each}
        (out / "speedrun_rl.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result) if options.json else "\n".join(table(found, gains)))
    return 0 if options.quick else int(not all(gain["held"] for gain in gains))


if __name__ == "__main__":
    sys.exit(main())
