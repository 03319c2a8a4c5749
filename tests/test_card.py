"""The card: metadata that parses, numbers that are counted, and texts from data that stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.outcomes import LICENCES, MARKUP, SETTINGS, VIDEOS, World, all_outcomes, graded, make_world
from vtscot.publish import publish
from vtscot.publish.card import Shards, escape, fence, front_matter, pick_example, plain_settings, render_card
from vtscot.publish.figures import figures
from vtscot.records import Outcome
from vtscot.sources.base import Licence

MEADOW, STREET, THIRD = VIDEOS
SHARDS = [
    Shards("demo", "train", ("demo/train-00000-of-00001.parquet",), 5, 1000),
    Shards("rejected", "train", ("rejected/train-00000-of-00001.parquet",), 2, 500),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


def card_of(outcomes: list[Outcome], world: World, sources: tuple[str, ...] = ("demo", "mevis")) -> str:
    example = pick_example([o.record for o in outcomes if o.record])
    return render_card(SHARDS, figures(outcomes), world.context(sources), example)


def metadata_of(card: str) -> dict[str, object]:
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert match
    value = yaml.safe_load(match[1])
    assert isinstance(value, dict)
    return value


def test_metadata_names_configs_and_counts(world: World, tmp_path: Path) -> None:
    done = publish(all_outcomes(), world.context(), tmp_path)
    metadata = metadata_of((done.dataset / "README.md").read_text())
    assert [(c["config_name"], c.get("default")) for c in metadata["configs"]] == [
        ("demo", True),
        ("mevis", None),
        ("rejected", None),
    ]
    assert {i["config_name"]: i["splits"][0]["num_examples"] for i in metadata["dataset_info"]} == {
        "demo": 5,
        "mevis": 1,
        "rejected": 3,
    }
    for config in metadata["configs"]:
        for part in config["data_files"]:
            assert len(list(done.dataset.glob(part["path"]))) == 1


LICENCE_CASES = {
    "one of the Hub's": ({"demo": LICENCES["demo"]}, {"license": "cc0-1.0"}),
    "mixed": (
        LICENCES,
        {"license": "other", "license_name": "cc-by-nc-sa-4.0-and-cc0-1.0", "license_link": "LICENSE.md"},
    ),
    "unknown": (
        {"x": Licence("house-rules", "House rules", None, False)},
        {"license": "other", "license_name": "house-rules", "license_link": "LICENSE.md"},
    ),
}


@pytest.mark.parametrize("name", LICENCE_CASES)
def test_licence_metadata(name: str) -> None:
    licences, expected = LICENCE_CASES[name]
    metadata = front_matter(SHARDS, licences, "T")
    assert {key: value for key, value in metadata.items() if key.startswith("license")} == expected


def test_numbers_come_from_the_outcomes(world: World) -> None:
    few, all_of_them = card_of(all_outcomes()[:4], world), card_of(all_outcomes(), world)
    assert "4 queries: 4 kept, 0 rejected, 0 failed, 0 skipped." in few
    assert "12 queries: 6 kept, 3 rejected, 1 failed, 2 skipped." in all_of_them
    assert "| rejected | keyframe-iou | 2 |" in all_of_them
    assert "mean 0.812" in all_of_them
    assert "words + grabcut" in all_of_them and "recipe 0123456789abcdef" in all_of_them


def test_every_section_is_there(world: World) -> None:
    headings = re.findall(r"^## (.*)$", card_of(all_outcomes(), world), re.MULTILINE)
    assert headings == ["How to load", "One episode", "How it was made", "Counts", "Licence", "Limits", "Citation"]
    assert "2606.06819" in card_of(all_outcomes(), world)


def test_a_run_without_episodes_has_a_card(world: World) -> None:
    card = card_of([], world)
    assert "0 queries: 0 kept" in card and "## One episode" not in card
    assert metadata_of(card)["configs"]


def test_the_example_cannot_leave_its_fence(world: World) -> None:
    card = card_of([graded(MEADOW, "0", MARKUP, 2)], world)
    opened = re.search(r"^(`{4,})text$", card, re.MULTILINE)
    assert opened
    body = card.split(f"{opened[1]}text\n")[1].split(f"\n{opened[1]}\n")[0]
    assert MARKUP in body
    assert MARKUP not in card.replace(body, "")
    assert "<script>" not in card.replace(body, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a *b* _c_", r"a \*b\* \_c\_"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a | b\n# c", r"a \| b \# c"),
        ("[x](http://y)", r"\[x\]\(http://y\)"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("0.35", "0.35"),
        ("---\nkey: value", "--- key: value"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_reasons_with_markup_are_escaped(world: World) -> None:
    card = card_of([graded(MEADOW, "0", "a ring", 1, reason="<b>|*why*")], world)
    assert r"&lt;b&gt;\|\*why\*" in card and "<b>" not in card


def test_fence_is_longer_than_any_run_of_ticks() -> None:
    assert fence("a ````` b").startswith("``````text\n")


def test_settings_leave_out_places_of_this_machine() -> None:
    plain = plain_settings(SETTINGS)
    assert plain["verify.min_iou"] == 0.35 and plain["seed"] == 0
    assert not any("root" in key or "base_url" in key for key in plain)
    dotted = {"verify.min_iou": 0.35, "source.root": "/home/x", "teacher.base_url": "http://x", "seed": 0}
    assert plain_settings(dotted) == {"seed": 0, "verify.min_iou": 0.35}


def test_the_example_is_the_best_of_several_turns() -> None:
    records = [o.record for o in all_outcomes() if o.record]
    example = pick_example(records)
    assert example and len(example.episode.turns) > 1 and example.verdict.kept
    assert pick_example([r for r in records if not r.verdict.kept]) is None


def test_the_version_is_the_one_that_is_given(world: World) -> None:
    context = replace(world.context(), version="9.8.7", prompts="0" * 16)
    card = render_card(SHARDS, figures([]), context, None)
    assert "vtscot 9.8.7" in card and "prompts 0000000000000000" in card
