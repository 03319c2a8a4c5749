"""Recipes: what is shipped resolves, precedence holds, and mistakes name the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtscot.budget import PRESETS
from vtscot.errors import UsageError
from vtscot.recipe import load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_of_the_source_they_are_named_after(name: str) -> None:
    assert load_recipe(name).source.name == name


def test_a_shipped_recipe_of_another_name_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(None, Path("speedrun"))
    assert (recipe.source.name, recipe.teacher.style) == ("demo", "brief")
    assert "speedrun" not in shipped_recipes()
    with pytest.raises(UsageError, match="no recipe is shipped for source 'speedrun'"):
        load_recipe("speedrun")
    monkeypatch.chdir(tmp_path)
    Path("speedrun").write_text("seed: 5\n")  # a file of that name comes first
    assert load_recipe(None, Path("speedrun")).seed == 5


def test_precedence_file_then_set_then_flags(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("source: {name: mevis}\nseed: 1\nlimit: 10\nverify: {min_iou: 0.1}\n")
    recipe = load_recipe(None, path, ["seed=2", "limit=20"], {"limit": 30, "teacher.model": None})
    assert (recipe.source.name, recipe.seed, recipe.limit, recipe.verify.min_iou) == ("mevis", 2, 30, 0.1)


def test_a_budget_is_a_preset_or_a_preset_with_changes() -> None:
    assert load_recipe("demo", None, ["budget=evaluation"]).budget == PRESETS["evaluation"]
    changed = load_recipe("demo", None, ["budget=evaluation", "budget.window_frames=7"]).budget
    assert changed == PRESETS["evaluation"].model_copy(update={"window_frames": 7})


def test_how_a_build_runs_is_no_part_of_its_identity() -> None:
    plain = load_recipe("mevis")
    hurried = load_recipe(
        "mevis", None, ["workers=7", "teacher.concurrency=64", "teacher.timeout_s=5"], {"source.root": "/a", "limit": 3}
    )
    assert hurried.identity() == plain.identity()
    assert hurried.digest() == plain.digest()
    assert load_recipe("mevis", None, ["seed=9"]).digest() != plain.digest()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("verify: {min_iuo: 0.5}", "verify.min_iuo: Extra inputs", id="unknown key"),
        pytest.param("verify: {min_iou: high}", "verify.min_iou", id="wrong type"),
        pytest.param("seed: [", "not YAML", id="not YAML"),
        pytest.param("- a\n- b", "not a mapping", id="a list"),
        pytest.param("budget: huge", "no budget preset 'huge'", id="unknown preset"),
        pytest.param("budget: {preset: huge}", "no budget preset 'huge'", id="unknown preset to change"),
        pytest.param("budget: {preset: [1]}", r"budget: no budget preset \[1\]", id="a list for a preset"),
        pytest.param("teacher: {name: openai}", r"mine\.yaml: the endpoint needs a model", id="no model"),
        pytest.param("seed: !!python/object/apply:os.getcwd []", "not YAML", id="code in YAML"),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        load_recipe("demo", path)


@pytest.mark.parametrize("assignment", ["seed", "=3", "verify.min_iou=[", "nothing.here=1"])
def test_mistakes_in_assignments_are_usage_errors(assignment: str) -> None:
    with pytest.raises(UsageError):
        load_recipe("demo", None, [assignment])


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml"):
        load_recipe("demo", tmp_path / "absent.yaml")


def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"demo, .*mevis"):
        load_recipe("davis2077")
