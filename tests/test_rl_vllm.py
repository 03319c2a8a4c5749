"""vLLM writes what the policy writes: its tokens, also with weights that have changed. Needs vLLM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs the extra `train`")
pytest.importorskip("vllm", reason="vLLM is not installed: docs/training.md says how")

import torch

from tests.policies import SIZES, speaking_policy, spoken_episodes
from tests.rl import SMALL, make_trainer, small
from tests.training import write_recipe
from vtscot.policy.load import load_policy
from vtscot.policy.sampling import Sampling
from vtscot.rl.rolling import Generation, Roller
from vtscot.training.metrics import read_metrics

GREEDY = Sampling(guided=True)
WARM = Sampling(temperature=1.0, seed=3, guided=True)


@pytest.fixture(scope="module")
def policy_folder(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    wide = SIZES.model_copy(update={"head": 32})  # the least that vLLM's attention on a CPU takes
    return speaking_policy(tmp_path_factory.mktemp("vllm") / "policy", spoken_episodes(demo_root), settings=wide)


@pytest.fixture(scope="module")
def trainer(policy_folder: Path, demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer with an engine: starting one takes half a minute on a CPU."""
    recipe = small(generation="vllm", vllm={"window": 2048})
    return make_trainer(recipe, policy_folder, demo_root, tmp_path_factory.mktemp("trainer"))


@pytest.fixture(autouse=True)
def as_it_was(trainer: Any) -> Iterator[None]:
    kept = {name: weight.detach().clone() for name, weight in trainer.policy.named_parameters()}
    yield
    with torch.no_grad():
        for name, weight in trainer.policy.named_parameters():
            weight.copy_(kept[name])


class Drawn(Roller):
    """Every batch is drawn in the same way."""

    def __init__(self, *given: Any, sampling: Sampling) -> None:
        super().__init__(*given)
        self.drawn = sampling

    def sampling(self, name: int | str) -> Sampling:
        return self.drawn


def rolled(trainer: Any, sampling: Sampling, *, engine: bool = True) -> Generation:
    with_engine = trainer.roller.engine if engine else None
    given = (trainer.policy, trainer.processor, trainer.recipe, trainer.tasks, with_engine)
    return Drawn(*given, sampling=sampling).generation([0, 5], 0)


def said(generation: Generation) -> list[list[list[int]]]:
    rows = [row for row in generation.rows if row is not None]
    return [[turn.reply_ids.tolist() for turn in row.rollout.turns] for row in rows]


def check_alike(trainer: Any) -> None:
    """Greedy rollouts of vLLM and of the cache are the same, and so are their masks and rewards."""
    ours, theirs = rolled(trainer, GREEDY, engine=False), rolled(trainer, GREEDY)
    assert said(ours) == said(theirs)
    for one, other in zip(ours.rows, theirs.rows, strict=True):
        assert one is not None and other is not None
        assert one.reward == pytest.approx(other.reward, abs=1e-3)
        for turn, again in zip(one.rollout.turns, other.rollout.turns, strict=True):
            if turn.mask_logits is not None:
                torch.testing.assert_close(turn.mask_logits, again.mask_logits, atol=1e-3, rtol=1e-3)


def test_greedy_rollouts_are_those_of_the_cache(trainer: Any) -> None:
    check_alike(trainer)
    assert any(len(turns) > 1 for turns in said(rolled(trainer, GREEDY)))


def test_the_engine_learns_what_the_policy_learns(trainer: Any) -> None:
    before = said(rolled(trainer, GREEDY))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trainer.policy.vlm.parameters():
            weight.add_(0.5 * weight.std() * torch.randn_like(weight))
    check_alike(trainer)
    assert said(rolled(trainer, GREEDY)) != before


def test_the_same_seeds_give_the_same_rollouts(trainer: Any) -> None:
    first = said(rolled(trainer, WARM))
    assert said(rolled(trainer, WARM)) == first
    assert said(rolled(trainer, WARM.model_copy(update={"seed": 4}))) != first
    barred = set(trainer.processor.unsampled_ids)
    assert not barred & {token for row in first for turn in row for token in turn}


def test_a_training_goes_to_its_end_and_leaves_no_complaint(
    policy_folder: Path, demo_root: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", SMALL, generation="vllm", vllm={"window": 2048}, max_steps=2)
    given = ["--data", "demo", "--root", demo_root, "--split", "train", "--model", policy_folder, "--recipe", recipe]
    words = ["train", "rl", *map(str, given), "--device", "cpu", "--out", str(tmp_path / "out")]
    ours = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by the engine of this process
    env = {name: value for name, value in os.environ.items() if name not in ours}
    ended = subprocess.run(
        [sys.executable, "-m", "vtscot", *words], capture_output=True, text=True, timeout=600, check=False, env=env
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    steps = read_metrics(tmp_path / "out")
    assert [step["episodes"] for step in steps] == [6, 6]
    assert all(step["prefilled_tokens"] and step["generated_tokens"] for step in steps)
    load_policy(tmp_path / "out", "cpu")
