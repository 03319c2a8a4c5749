"""vLLM writes what the policy writes: its tokens, with weights that have changed, adapters and seeds. Needs vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs the extra `train`")
pytest.importorskip("vllm", reason="vLLM is not installed: docs/training.md says how")

import torch

from tests.policies import SIZES, speaking_policy, spoken_episodes
from tests.rl import make_trainer, small
from vtscot.policy.sampling import Sampling
from vtscot.rl.rolling import Generation, Roller

GREEDY = Sampling(guided=True)
WARM = Sampling(temperature=1.0, seed=3, guided=True)


@pytest.fixture(scope="module")
def trainer(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer with an engine: starting one takes half a minute on a CPU."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("vllm")
    wide = SIZES.model_copy(update={"head": 32})  # the least that vLLM's attention on a CPU takes
    policy = speaking_policy(folder / "policy", spoken_episodes(demo_root), settings=wide)
    recipe = small(generation="vllm", vllm={"window": 2048})
    return make_trainer(recipe, policy, demo_root, folder)


@pytest.fixture(autouse=True)
def as_it_was(trainer: Any) -> Iterator[None]:
    kept = {name: weight.detach().clone() for name, weight in trainer.policy.named_parameters()}
    yield
    with torch.no_grad():
        for name, weight in trainer.policy.named_parameters():
            weight.copy_(kept[name])


def rolled(trainer: Any, sampling: Sampling, *, engine: bool = True) -> Generation:
    with_engine = trainer.roller.engine if engine else None
    roller = Roller(trainer.policy, trainer.processor, trainer.recipe, trainer.tasks, with_engine)
    roller.sampling = lambda name: sampling  # type: ignore[method-assign]
    return roller.generation([0, 5], 0)


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
