"""Recipes of the cold start: the released settings, and errors that name file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtscot.errors import UsageError
from vtscot.recipe import shipped_recipes
from vtscot.sft.recipe import SftRecipe, load_sft_recipe, shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_loads_and_is_none_of_a_build(name: str) -> None:
    assert isinstance(load_sft_recipe(name), SftRecipe)
    assert name not in shipped_recipes()


@pytest.mark.parametrize(("name", "epochs"), [("sft_videoseg_o3_4b", 1), ("sft_videoseg_o3_2b", 2)])
def test_released_settings(name: str, epochs: int) -> None:
    recipe = load_sft_recipe(name)
    assert (recipe.epochs, recipe.max_tokens, recipe.precision) == (epochs, 8192, "bf16")
    assert (recipe.batch.effective, recipe.optimiser.lr, recipe.optimiser.weight_decay) == (32, 4e-5, 0.05)
    assert (recipe.optimiser.clip, recipe.optimiser.warmup, recipe.optimiser.schedule) == (1, 0.05, "cosine")
    assert (recipe.losses.bce, recipe.losses.dice, recipe.losses.points) == (2.0, 0.5, 12544)
    assert (recipe.losses.oversample, recipe.losses.importance) == (3, 0.75)
    lora = recipe.trainable.lora
    assert (recipe.trainable.language_model, lora.r, lora.alpha, lora.dropout) == ("lora", 128, 256, 0.05)
    trained = {part for part, wanted in recipe.trainable if wanted is True}
    assert trained == {"embeddings", "lm_head", "projector", "mask_decoder"}


def test_order_of_precedence(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimiser: {lr: 0.1}\nseed: 1\nepochs: 2\n")
    recipe = load_sft_recipe(str(path), ["optimiser.lr=0.2", "seed=2", "max_steps=7"], {"seed": 3, "max_tokens": None})
    assert (recipe.optimiser.lr, recipe.seed, recipe.max_steps, recipe.epochs) == (0.2, 3, 7, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lr: 1", "lr: Extra inputs"),
        ("optimiser: {learning: 1}", "optimiser.learning: Extra inputs"),
        ("optimiser: {scale: {brain: 1}}", "there is no part 'brain'"),
        ("optimiser: {scale: {projector: 0}}", "factors are positive"),
        ("epochs: 1\nmax_steps: 1", "either epochs or max_steps, not both"),
        ("budget_at_use: huge", "no budget preset 'huge'"),
        ("losses: {importance: 1, oversample: 0.5}", "losses.oversample"),
        ("precision: int8", "precision: Input should be"),
        ("- a", "is not a mapping"),
        ("a: [", "is not YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_sft_recipe(str(path))
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="sft_tiny"):
        load_sft_recipe("nothing")
