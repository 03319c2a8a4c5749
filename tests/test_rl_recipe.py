"""Recipes of the reinforcement stage, the order of their queries, and advantages within a group. Needs no torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

import pytest

from tests.rl import SMALL, small
from vtscot.budget import PRESETS
from vtscot.errors import UsageError
from vtscot.rl.advantages import by_turn, normalised, sound, spread
from vtscot.rl.recipe import RlRecipe, accumulation, load_rl_recipe, shipped


def test_the_shipped_recipes_are_the_released_settings() -> None:
    assert shipped() == ("rl_tiny", "rl_videoseg_o3_2b", "rl_videoseg_o3_4b")
    for name in shipped()[1:]:
        recipe = load_rl_recipe(name)
        assert (recipe.group.prompts, recipe.group.size, recipe.max_steps) == (16, 4, 1000)
        assert (recipe.optimiser.lr, recipe.beta, recipe.mask_loss, recipe.iterations) == (3e-6, 0.04, 0.2, 1)
        assert (recipe.temperature, recipe.top_p) == (0.9, 0.9)
        assert recipe.rollout_budget == PRESETS["rl_rollout"]
        parts = recipe.trainable
        assert parts.language_model == "full"
        assert parts.vision_tower and parts.projector and parts.prompt_encoder and parts.mask_decoder
        assert not parts.image_encoder and not parts.memory


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("nonsense=1", "nonsense: Extra inputs are not permitted"),
        ("group.size=1", "group.size: Input should be greater than or equal to 2"),
        ("rewards.preset=best", "rewards.preset"),
        ("rewards.weights={masks: 2}", "default has no term 'masks'"),
        ("budget=small", "no budget preset 'small'"),
        ("advantage=token", "advantage"),
        ("iterations=3", "save_every 10 is no multiple of iterations 3"),
        ("temperature=0", "temperature"),
    ],
)
def test_what_a_recipe_may_not_say(assignment: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_rl_recipe("rl_tiny", [assignment])
    assert complaint in str(refused.value)
    assert "rl_tiny" in str(refused.value)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    assert accumulation(small(), 2) == 1
    assert accumulation(small()) == 2
    with pytest.raises(UsageError, match="per_device 4 does not divide the 6 rollouts"):
        accumulation(small(group={**SMALL["group"], "per_device": 4}))
    with pytest.raises(UsageError, match=r"prompts 2 is no multiple of 3 processes"):
        accumulation(small(), 3)


def test_weights_add_up_to_the_reward() -> None:
    settings = small(rewards={"weights": {"mask": 2.0, "format": 0.0}}).rewards
    assert settings.total({"format": 1.0, "mask": 0.5, "answered": 0.25}) == 1.25


def test_the_budget_may_be_said_in_full_and_changed() -> None:
    recipe = RlRecipe.model_validate({"budget": {"temporal_frames": 3}, "max_turns": 1, "max_new_tokens": 7})
    assert recipe.rollout_budget.temporal_frames == 3
    assert (recipe.rollout_budget.max_turns, recipe.rollout_budget.max_new_tokens) == (1, 7)


def test_one_figure_of_a_budget_changes_and_the_others_stay(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("max_steps: 5\n")
    for name, begun in (("rl_tiny", "tiny"), (str(plain), "rl_rollout")):
        recipe = load_rl_recipe(name, ["budget.window_frames=7"])
        assert recipe.budget == PRESETS[begun].model_copy(update={"window_frames": 7})
        assert RlRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
        assert load_rl_recipe(name).model_dump(mode="json")["budget"] == begun  # a preset is written by its name
    plain.write_text("budget: {preset: tiny, max_turns: 2}\n")
    assert load_rl_recipe(str(plain)).budget == PRESETS["tiny"].model_copy(update={"max_turns": 2})


def test_advantages_are_the_released_ones() -> None:
    rewards = [1.0, 2.0, 4.0, 1.0]
    expected = [(r - fmean(rewards)) / (stdev(rewards) + 1e-4) for r in rewards]
    assert normalised(rewards) == pytest.approx(expected)
    assert normalised([3.0, 3.0, 3.0]) == (0.0, 0.0, 0.0)
    assert normalised([3.0]) == (0.0,)
    assert spread(rewards) and not spread([3.0, 3.0]) and not spread([])
    assert sound(-1.0) and not sound(float("nan")) and not sound(float("inf"))


def test_a_turn_is_credited_with_what_comes_from_it_on() -> None:
    episodes = [(1.0, 3.0), (2.0, 1.0), (0.5,)]
    found = by_turn(episodes)
    assert [len(episode) for episode in found] == [2, 2, 1]
    first = normalised([3.0, 1.0, 0.5])
    assert [episode[0] for episode in found] == pytest.approx(list(first))
    assert [found[0][1], found[1][1]] == pytest.approx(list(normalised([3.0 - 1.0, 1.0 - 2.0])))


def test_every_epoch_asks_every_query_once_and_no_step_asks_one_twice() -> None:
    torch = pytest.importorskip("torch", reason="the order is a sampler of torch")
    assert torch
    from vtscot.rl.order import Order

    recipe = small(max_steps=7)
    order = Order([f"q{i}" for i in range(9)], recipe, steps_per_generation=2)
    batches = [order.batch(number) for number in range(7)]
    assert all(len(set(batch)) == 2 for batch in batches)
    assert Counter(i for batch in batches[:4] for i in batch).most_common(1)[0][1] == 1
    assert batches[:4] != batches[4:]
    items = list(order)
    assert len(items) == len(order) == 7 * 2 * 2 * 3
    assert items[:12] == [batches[0][0]] * 3 + [batches[0][1]] * 3 + [batches[0][0]] * 3 + [batches[0][1]] * 3
    with pytest.raises(UsageError, match="more than the 1 queries"):
        Order(["q"], recipe, 2)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe"):
        load_rl_recipe(str(tmp_path / "none.yaml"))
