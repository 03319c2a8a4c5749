"""The card: metadata that parses, numbers that are counted, and texts from data that stay text."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image, ImageChops

from tests.outcomes import LICENCES, MARKUP, SETTINGS, VIDEOS, World, all_outcomes, graded, make_world, track
from vtscot.publish import PublishContext
from vtscot.publish.card import About, Shards, card_files, escape, fence, plain_settings, render_card
from vtscot.publish.example import Example, draw_example, pick_example
from vtscot.publish.figures import figures, window_class
from vtscot.publish.metadata import front_matter, read_metadata, read_recipes
from vtscot.publish.plots import bars, columns
from vtscot.publish.release import write_dataset
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


def example_of(outcomes: list[Outcome], world: World | None = None) -> Example | None:
    """What a card shows of these outcomes; with frames where a world is given."""
    record = pick_example([o.record for o in outcomes if o.record])
    if record is None:
        return None
    query, known = record.query, world is not None
    return Example(
        source=query.source,
        video=query.video,
        expression=query.expression,
        episode=record.episode,
        plan=record.plan,
        keyframe_iou=record.verdict.keyframe_iou,
        frames=world.frames(query.video_id) if world else None,
        track=track(query.video_id) if known else None,
    )


def card_of(outcomes: list[Outcome], world: World, sources: tuple[str, ...] = ("demo", "mevis")) -> str:
    numbers = figures(outcomes)
    return render_card(SHARDS, numbers, About.of(world.context(sources), numbers), example_of(outcomes, world))


def dataset_of(outcomes: list[Outcome], context: PublishContext, directory: Path) -> Path:
    """The dataset of these outcomes, written there."""
    write_dataset(sorted(outcomes, key=lambda outcome: outcome.query.id), figures(outcomes), context, directory)
    return directory


def metadata_of(card: str) -> dict[str, object]:
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert match
    value = yaml.safe_load(match[1])
    assert isinstance(value, dict)
    return value


def test_metadata_names_configs_and_counts(world: World, tmp_path: Path) -> None:
    dataset = dataset_of(all_outcomes(), world.context(), tmp_path / "a")
    metadata = metadata_of((dataset / "README.md").read_text())
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
            assert len(list(dataset.glob(part["path"]))) == 1


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


def test_sizes_are_not_rounded_to_nothing(world: World) -> None:
    small, large = replace(SHARDS[0], bytes=31_400), replace(SHARDS[1], bytes=2_345_678)
    numbers = figures(all_outcomes())
    card = render_card([small, large], numbers, About.of(world.context(), numbers), None)
    assert "| 5 | 31.4 kB |" in card and "| 2 | 2.3 MB |" in card


def test_every_section_is_there(world: World) -> None:
    headings = re.findall(r"^## (.*)$", card_of(all_outcomes(), world), re.MULTILINE)
    assert headings == [
        "One episode",
        "How to load",
        "Frames stay home",
        "How it was made",
        "Statistics",
        "Licence",
        "Limits",
        "Citation",
    ]
    assert "Frames stay home" not in card_of(all_outcomes()[:3], world, ("demo",))
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
        ("[x](http://y)", r"\[x\]\(http&#58;//y\)"),
        ("- item", r"\- item"),
        ("![x](y) [^1]", r"\!\[x\]\(y\) \[\^1\]"),
        ("see https://evil.example and WWW.evil.example", "see https&#58;//evil.example and WWW&#46;evil.example"),
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
    card = render_card(SHARDS, figures([]), About.of(context, figures([])), None)
    assert "vtscot 9.8.7" in card and "prompts 0000000000000000" in card


def test_recipes_stand_in_the_metadata(world: World, tmp_path: Path) -> None:
    dataset = dataset_of(all_outcomes(), world.context(), tmp_path / "a")
    recipes = read_recipes(read_metadata(dataset / "README.md"))
    assert recipes == {"0123456789abcdef": plain_settings(SETTINGS)}
    assert read_recipes({"vtscot_recipes": ["no", "mapping"]}) == {}
    broken = tmp_path / "README.md"
    broken.write_text("---\na: [\n---\n")
    assert read_metadata(broken) == read_metadata(tmp_path / "nothing.md") == {}


def test_licence_of_each_config() -> None:
    infos = front_matter(SHARDS, LICENCES, "T")["dataset_info"]
    assert [info["license"] for info in infos] == ["cc0-1.0", "cc-by-nc-sa-4.0 and cc0-1.0"]
    metadata = front_matter(SHARDS, LICENCES, "T")
    assert metadata["source_datasets"] == ["original", "extended|other-mevis"]


def test_pictures_that_the_card_names_are_there_and_are_the_same_each_time(world: World, tmp_path: Path) -> None:
    done = dataset_of(all_outcomes(), world.context(), tmp_path / "a")
    again = dataset_of(all_outcomes(), world.context(), tmp_path / "b")
    card = (done / "README.md").read_text()
    named = set(re.findall(r"assets/[\w.-]+", card))
    assert named == {path.relative_to(done).as_posix() for path in (done / "assets").iterdir()}
    assert "assets/example.jpg" in named and len(named) == 6
    for name in named:
        assert (done / name).read_bytes() == (again / name).read_bytes()


def test_frames_of_third_parties_are_not_drawn(world: World, tmp_path: Path) -> None:
    third = [outcome for outcome in all_outcomes() if outcome.query.source == "mevis"]
    done = dataset_of(third, world.context(("mevis",)), tmp_path / "a")
    names = sorted(path.name for path in (done / "assets").iterdir())
    assert names == ["keyframe-iou.svg", "rejections.svg", "timeline.svg", "turns.svg", "windows.svg"]
    assert "<image" not in "".join(path.read_text() for path in (done / "assets").iterdir())
    card = (done / "README.md").read_text()
    assert "example.jpg" not in card and "vtscot hydrate path/or/repo --source mevis" in card


def test_the_picture_shows_the_mask(world: World) -> None:
    outcomes = [graded(STREET, "0", "a ring", 2)]
    shown = example_of(outcomes, world)
    assert shown is not None
    plain = replace(shown, track=None)
    with_mask, without = (Image.open(io.BytesIO(draw_example(one) or b"")) for one in (shown, plain))
    assert with_mask.size == without.size and with_mask.size[0] == 1200
    difference = ImageChops.difference(with_mask.convert("L"), without.convert("L"))
    assert difference.point(lambda value: 255 * (value > 24)).histogram()[255] > 1000


@pytest.mark.parametrize("name", ["timeline", "turns", "windows", "keyframe-iou", "rejections"])
def test_svgs_are_inert_and_whole(name: str, world: World) -> None:
    outcomes = [*all_outcomes(), graded(MEADOW, "9", MARKUP, 1, reason=MARKUP)]
    numbers = figures(outcomes)
    made = card_files(SHARDS, numbers, About.of(world.context(), numbers), example_of(outcomes))
    svg = made[f"assets/{name}.svg"].decode()
    tree = ElementTree.fromstring(svg)
    tags = {element.tag.split("}")[1] for element in tree.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "path"}
    assert not [key for element in tree.iter() for key in element.attrib if key.startswith("on") or "href" in key]


def test_plots_draw_what_is_counted() -> None:
    tree = ElementTree.fromstring(columns("T", "n", {"a": 4, "b": 2, "c": 0}))
    heights = [float(rect.get("height", 0)) for rect in tree.iter() if rect.get("class") == "b"]
    assert len(heights) == 2 and heights[0] == pytest.approx(2 * heights[1], abs=0.1)
    assert "none" in bars("T", "n", {}, ("leaks", None)) and "12.5%" in bars("T", "n", {}, ("leaks", 0.125))


def test_windows_are_counted_by_their_frames() -> None:
    assert [window_class(n) for n in (1, 2, 3, 4, 255, 256)] == ["1", "2-3", "2-3", "4-7", "128-255", "256+"]
    numbers = figures(all_outcomes())
    assert sum(numbers.windows.values()) == numbers.states["kept"] and numbers.videos == 3
    assert numbers.window_share is not None and 0 < numbers.window_share < 1


HOSTILE = {
    "a template": "{{ 7 * 7 }}{% raw %}",
    "html": MARKUP,
    "metadata": "---\nlicense: mit\n---",
    "a fence": "```\n# out\n```",
    "a link": "[free](https://evil.example) https://evil.example ![x](http://evil.example/x.png)",
    "a table": "a | b\n|---|---|",
    "a heading": "# Title\n\n## Licence\n\nMIT",
    "details": "</details></blockquote><h1>x</h1>",
}


def saying(text: str) -> Outcome:
    """An outcome whose expression is `text`, line breaks and all, and whose thought repeats it on one line."""
    outcome = graded(MEADOW, "0", " ".join(text.split()), 2)
    assert outcome.record
    query = outcome.query.model_copy(update={"expression": text})
    episode = outcome.record.episode.model_copy(update={"expression": text})
    return outcome.model_copy(update={"record": outcome.record.model_copy(update={"query": query, "episode": episode})})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_expressions_stay_text(name: str, world: World) -> None:
    markdown_it = pytest.importorskip("markdown_it", reason="comes with rich")
    renderer = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    evil, tame = (card_of([saying(text)], world) for text in (HOSTILE[name], "a ring"))

    def skeleton(card: str) -> list[str]:
        """Tags of the page in order, without the lines of the dialogue: that is code."""
        body = card.split("\n---\n", 1)[1]
        return re.findall(r"<(?!br)/?[a-z]\w*[^>]*>", renderer.render(body))

    assert skeleton(evil) == skeleton(tame)
    assert metadata_of(evil) == metadata_of(tame)
    assert "49" not in re.findall(r"^> (.*)$", evil, re.MULTILINE)[0]
