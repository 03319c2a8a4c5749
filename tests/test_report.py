"""The report as files: what is in it, what cannot get out of its data, and one file or a folder by its size."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.outcomes import MARKUP, VIDEOS, World, all_outcomes, graded, make_world, rename, track
from vtscot.masks import Rle
from vtscot.publish import publish
from vtscot.publish.album import SIZES, Sizes, choose_sizes
from vtscot.publish.context import RawAnswer
from vtscot.publish.figures import figures
from vtscot.publish.outline import outline
from vtscot.publish.parts import MOST, Store, script_json, write_parts
from vtscot.publish.report import page_data, write_report
from vtscot.records import Outcome, Query

MEADOW, STREET, THIRD = VIDEOS
KINDS = ("answers", "episodes", "pictures", "thumbs")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def report(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(all_outcomes(), world.context(), tmp_path_factory.mktemp("run")).report


def blocks(page: Path) -> dict[str, Any]:
    """The JSON blocks of a page by name."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page.read_text(), re.DOTALL)
    assert all("<" not in text for _, text in found)
    return {name: json.loads(text) for name, text in found}


def scripts(folder: Path) -> dict[str, Any]:
    """What the scripts of a folder hand to their page, by name."""
    values = {}
    for path in folder.iterdir():
        key, name, text = json.loads(f"[{path.read_text().removeprefix('vtscotPart(').removesuffix(');' + chr(10))}]")
        assert (len(key), name) == (32, path.stem)
        values[name] = json.loads(text)
    return values


def put(outcomes: list[Outcome], world: World, sizes: Sizes = SIZES[0]) -> dict[str, Any]:
    """The blocks of some outcomes."""
    store = Store(Path("nowhere"), "key")
    write_parts(outcomes, sizes, world.context(), store)
    return {name: json.loads(text) for name, text in store.blocks.items()}


def test_one_file_that_names_no_address(report: Path) -> None:
    text = report.read_text()
    assert "https://" not in text
    assert set(re.findall(r"http://[^\"\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|iframe|object|img)\b|\bsrc=[\"']|@import|url\(", text.split("<script type=")[0])
    assert "nonce" not in re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[0]


def test_data_cannot_end_its_script_block(report: Path) -> None:
    found = blocks(report)
    assert sorted(found) == ["episodes-0000", "page", "pictures-0000", "thumbs-0000"]
    assert MARKUP in {row[3] for row in found["page"]["rows"]}


def test_script_json_is_json() -> None:
    value = {"a": "</script>&<!--\u2028\u2029", "b": [1, None, "ü"]}
    assert json.loads(script_json(value)) == value
    assert not set("<>&\u2028\u2029") & set(script_json(value))


def test_every_query_is_listed(world: World) -> None:
    page = page_data(all_outcomes(), figures(all_outcomes()), world.context())
    assert [row[0] for row in page["rows"]] == [outcome.query.id for outcome in all_outcomes()]
    states = [page["states"][row[2]] for row in page["rows"]]
    assert states == [outcome.state for outcome in all_outcomes()]
    assert page["private"] == ["mevis"]
    absent = next(row for row in page["rows"] if row[3] == "the green triangle")
    assert absent[8] is None  # an empty mask for an absent target is no IoU


def test_pictures_are_stored_once(world: World) -> None:
    many = put([graded(MEADOW, str(i), f"ring {i}", 2) for i in range(6)], world)
    one = put([graded(MEADOW, "0", "ring 0", 2)], world)
    assert len(many["episodes-0000"]) == 6
    assert many["pictures-0000"] == one["pictures-0000"]
    assert len(set(many["pictures-0000"])) == len(many["pictures-0000"])
    for picture in many["pictures-0000"]:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"


def test_the_sharp_frame_is_larger_and_is_the_decoded_one(world: World) -> None:
    outcome = graded(MEADOW, "0", "the red ring", 2)
    found = put([outcome], world)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in found["pictures-0000"]]
    assert outcome.record is not None
    for turn, observation in zip(found["episodes-0000"][0]["turns"], outcome.record.episode.observations, strict=True):
        assert turn["sharp"]["frame"] == observation.decoded
        assert sorted(set(observation.indices)) == [index for index, _, _ in turn["shown"]]
        assert pictures[turn["sharp"]["picture"]].width > pictures[turn["shown"][0][2]].width
    data, width, height, path = found["thumbs-0000"][0]
    assert (width, height) == VIDEOS[MEADOW][1:]
    assert Image.open(io.BytesIO(base64.b64decode(data))).width < pictures[0].width
    assert path.startswith("M")


def test_pictures_shrink_where_there_are_many() -> None:
    record = graded(MEADOW, "0", "ring", 2).record
    assert record is not None
    assert choose_sizes([(MEADOW, record.episode)]) == SIZES[0]
    assert choose_sizes([(f"video {i}", record.episode) for i in range(2_000)]) == SIZES[1]
    assert choose_sizes([(f"video {i}", record.episode) for i in range(10_000)]) == SIZES[-1]


# ---- large runs ----


@pytest.fixture(scope="module")
def many() -> list[Outcome]:
    """More queries than one part holds, the episodes of every one with pictures."""
    first = graded(MEADOW, "0", "ring", 1)
    return [rename(first, f"{i:04d}") for i in range(2 * MOST + 30)]


def test_every_episode_of_a_large_run_has_its_pictures(many: list[Outcome], world: World, tmp_path: Path) -> None:
    page = write_report(many, figures(many), world.context(), tmp_path, one_file=10_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.html"]
    found, told = scripts(tmp_path / "report"), blocks(page)
    assert list(told) == ["page"]
    assert told["page"]["begins"] == [0, MOST, 2 * MOST]
    assert len(told["page"]["rows"]) == len(many)
    for part, count in enumerate((MOST, MOST, 30)):
        episodes, pictures = found[f"episodes-{part:04d}"], found[f"pictures-{part:04d}"]
        assert len(episodes) == len(found[f"thumbs-{part:04d}"]) == count
        assert all(pictures[shown[2]] for one in episodes for turn in one["turns"] for shown in turn["shown"])
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page.read_text())[0]
    assert f"'nonce-{told['page']['key']}'" in policy


def test_a_part_ends_where_its_pictures_are_many(
    many: list[Outcome], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtscot.publish.parts.PICTURES", 1)
    store = Store(Path("nowhere"), "key")
    contents = write_parts(many[:5], SIZES[0], world.context(), store)
    assert contents.begins == [0, 1, 2, 3, 4]
    assert "thumbs-0004" in store.blocks


def test_the_same_outcomes_give_the_same_bytes(many: list[Outcome], world: World, tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        write_report(many, figures(many), world.context(), tmp_path, one_file=10_000)
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert files() == files()


def test_a_smaller_report_leaves_no_folder_behind(many: list[Outcome], world: World, tmp_path: Path) -> None:
    write_report(many, figures(many), world.context(), tmp_path, one_file=10_000)
    few = many[:3]
    write_report(few, figures(few), world.context(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_fails_leaves_the_one_before(many: list[Outcome], world: World, tmp_path: Path) -> None:
    def broken(query: Query) -> list[RawAnswer]:
        raise OSError("the disk is gone")

    write_report(many, figures(many), world.context(), tmp_path, one_file=10_000)
    before = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="disk"):
        write_report(many, figures(many), replace(world.context(), answers=broken), tmp_path, one_file=10_000)
    assert {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_secrets_in_raw_answers_are_struck_out(world: World, tmp_path: Path) -> None:
    secret = "sk-" + "a1b2c3d4e5f6g7h8"

    def told(query: Query) -> list[RawAnswer]:
        return [RawAnswer(0, "temporal", 0, f'{{"choices": "{secret} </script>"}}')]

    one = [graded(MEADOW, "0", "ring", 1)]
    page = write_report(one, figures(one), replace(world.context(), answers=told), tmp_path)
    assert secret not in page.read_text()
    assert blocks(page)["answers-0000"] == [[[0, "temporal", 0, '{"choices": "*** </script>"}']]]


# ---- outlines ----


def area_of(path: str) -> float:
    """Area inside an SVG path of polygons by the even-odd rule, for polygons that are nested."""
    areas = []
    for part in filter(None, path.split("Z")):
        points = np.array(part.removeprefix("M").split(), dtype=float).reshape(-1, 2)
        x, y = points.T
        areas.append(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
    areas.sort(reverse=True)
    return float(sum(a if i == 0 else -a for i, a in enumerate(areas)))


def test_outline_follows_the_mask_and_its_hole() -> None:
    rle = track(MEADOW).rle(6)
    assert rle is not None
    path = outline(rle, tolerance=0.5)
    assert path.count("M") == 2
    pixels = track(MEADOW).areas[6]
    assert area_of(path) == pytest.approx(pixels, rel=0.15)


def test_outline_is_where_the_mask_is() -> None:
    mask = np.zeros((50, 80), dtype=bool)
    mask[10:20, 30:60] = True
    assert outline(Rle.from_array(mask), 0.5) == "M30 10 30 19 59 19 59 10Z"
    assert outline(Rle.from_array(np.zeros((5, 5), dtype=bool)), 0.5) == ""
