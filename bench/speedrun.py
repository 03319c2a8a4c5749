"""The whole way on two cores: demo data, build, cold start from nano, evaluation on held-out demo videos, report.

Every step is a command of vtscot, run as a user would and timed; finished steps are not repeated when the bench is run
again with the same --out. Seed S makes demo world S (train and valid_u, videos that nano has never seen), its build,
and the cold start. Measured are the episodes of the policy on valid_u (greedy), beside the best constant answers and
the box of the largest object; what has to hold is in `_reach.py`. Exit code 1 where a line of it does not (not with
--quick, which is too short to tell).

OUT/seed-S/{run,policy,eval,log}   what the commands made and said; OUT/seed-S/figures.json
OUT/speedrun.json, OUT/speedrun.html

    python bench/speedrun.py [--quick] [--json] [--seeds 0,1,2] [--out DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _reach import reach, seed_figures  # the parts of this bench beside it
from _speedrun_page import write_page

from vtscot.policy.load import policy_folder
from vtscot.processes import cores
from vtscot.sft.recipe import load_sft_recipe

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = "sft_tiny"


@dataclass(frozen=True)
class Plan:
    """How much of everything: videos of the world (every fourth is held out), queries, settings of the recipes."""

    videos: int = 240
    queries: int | None = 240  # None: all of valid_u
    build: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    model: str = "nano"
    cores: int = 1


QUICK = Plan(videos=8, queries=6, train=("max_steps=4", "save_every=100"))


@dataclass(frozen=True)
class Step:
    """One command, and the path whose presence says that something of it is there to be gone on with.

    `base` is the digest of the policy that it begins from, which may change under the same name.
    """

    name: str
    line: tuple[str, ...]
    begun: Path
    resume: tuple[str, ...] = ()
    processes: int = 1
    threads: int = 1
    base: str = ""

    def command(self) -> list[str]:
        """What is run. Several processes train on shares of every step, through torch's launcher: that of accelerate
        starts several on a CPU only with MPI."""
        launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(self.processes), "-m"]
        return [sys.executable, "-m", *(launch if self.processes > 1 else ()), "vtscot", *self.line]


def steps(plan: Plan, seed: int, place: Path) -> tuple[Step, ...]:
    """The commands of one seed."""
    run, policy, evaluated = place / "run", place / "policy", place / "eval"
    sets = [f"source.videos={plan.videos}", *plan.build]
    build = ("build", "--recipe", "speedrun", "--run", str(run), "--seed", str(seed), *_sets(sets))
    train = ("train", "sft", "--data", str(run), "--model", plan.model, "--recipe", RECIPE, "--out", str(policy))
    train = (*train, *_sets([f"seed={seed}", _share(plan), *plan.train]))
    held_out = ("--source", "demo", "--root", str(run / "source"), "--split", "valid_u")
    ask = ("eval", "--model", str(policy), *held_out, "--guided", "--episodes-only")
    where = ("--batch-size", "32", "--out", str(evaluated))
    limit = ("--limit", str(plan.queries)) if plan.queries else ()
    return (
        Step("build", build, run),
        Step("train", train, policy, ("--resume",), plan.cores, base=_digest(plan.model)),
        Step("eval", (*ask, *where, *limit), evaluated / "episodes.jsonl", ("--resume",), threads=plan.cores),
    )


def _share(plan: Plan) -> str:
    """The setting that gives each process its share of a step's records at once."""
    effective = load_sft_recipe(RECIPE, plan.train).batch.effective
    return f"batch.per_device={max(1, effective // plan.cores)}"


def _digest(model: str) -> str:
    """A digest of weights, configs and tokenizer in the folder of that policy; that of nothing for an id of the Hub."""
    digest = hashlib.sha256()
    folder = Path(policy_folder(model))
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sets(assignments: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for assignment in assignments for word in ("--set", assignment))


def take(step: Step, place: Path) -> float:
    """Run a step unless it is done; its seconds, over all attempts that it took."""
    stamp, log = place / f"{step.name}.json", place / "log" / f"{step.name}.txt"
    of = {"line": list(step.line), "base": step.base}
    before = json.loads(stamp.read_text()) if stamp.is_file() else {**of, "seconds": 0.0, "done": False}
    if {key: before.get(key) for key in of} != of:
        raise SystemExit(f"{stamp} is of another command, or of another policy; choose another --out, or remove it")
    if before["done"]:
        return float(before["seconds"])
    log.parent.mkdir(parents=True, exist_ok=True)
    more = step.resume if step.begun.exists() else ()
    began = time.perf_counter()
    with log.open("a") as file:
        ended = subprocess.run(
            [*step.command(), *more],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": str(step.threads)},
            check=False,
        )
    seconds = before["seconds"] + time.perf_counter() - began
    stamp.write_text(json.dumps({**of, "seconds": seconds, "done": ended.returncode == 0}))
    if ended.returncode:
        last = "\n".join(log.read_text().splitlines()[-12:])
        raise SystemExit(f"{step.name} failed (exit code {ended.returncode}); {log} ends with\n{last}")
    return float(seconds)


def one_seed(plan: Plan, seed: int, place: Path) -> dict[str, Any]:
    """All steps of a seed, and its figures."""
    place.mkdir(parents=True, exist_ok=True)
    seconds = {}
    for step in steps(plan, seed, place):
        say(f"seed {seed}  {step.name:8}", end="")
        seconds[step.name] = take(step, place)
        say(f"{seconds[step.name]:8.1f} s")
    figures = {"seed": seed, **seed_figures(place / "run", place / "eval", place / "eval", seconds)}
    (place / "figures.json").write_text(json.dumps(figures, indent=1))
    return figures


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reach as lines of text."""
    lines = [f"{'':52}{'reach':36}{'needed':>8}{'measured':>10}{'s.e.':>7}   held"]
    for row in rows:
        held = {None: "-", True: "yes", False: "NO"}[row["held"]]
        numbers = f"{shown(row['needed']):>8}{shown(row['measured']['mean']):>10}{shown(row['measured']['se']):>7}"
        lines.append(f"{row['name']:52}{row['rule']:36}{numbers}   {held}")
    return lines


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 videos, 4 steps, 6 queries")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--seeds", default="0", help="separated by commas; each is a whole speedrun of its own")
    parser.add_argument("--out", type=Path, help="where everything is kept [default: a folder that is removed again]")
    parser.add_argument("--videos", type=int, help="of the demo world; a quarter of them is held out")
    parser.add_argument("--queries", type=int, help="asked at most")
    parser.add_argument("--model", default="nano", help="policy that the cold start begins from")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe sft_tiny")
    parser.add_argument("--set-build", action="append", default=[], help="KEY=VALUE of the recipe speedrun")
    parser.add_argument("--cores", type=int, default=cores(), help="processes of the cold start [default: all cores]")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    usual = QUICK if options.quick else Plan()
    return Plan(
        videos=options.videos or usual.videos,
        queries=options.queries or usual.queries,
        build=(*usual.build, *options.set_build),
        train=(*usual.train, *options.set),
        model=options.model,
        cores=options.cores,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    plan, seeds = plan_of(options), [int(seed) for seed in options.seeds.split(",")]
    where = nullcontext(options.out) if options.out else tempfile.TemporaryDirectory(prefix="vtscot-speedrun-")
    with where as folder:
        out = Path(folder).absolute()
        figures = [one_seed(plan, seed, out / f"seed-{seed}") for seed in seeds]
        rows = reach(figures)
        result = {"videos": plan.videos, "seeds": seeds, "reach": rows, "each": figures}
        (out / "speedrun.json").write_text(json.dumps(result, indent=1))
        write_page(out / "speedrun.html", result, out)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(table(rows)))
    if options.out:
        say(f"report: {out / 'speedrun.html'}")
    return 0 if options.quick else int(any(row["held"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
