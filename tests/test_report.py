"""The report in a real browser: it opens from disk, shows pictures, filters, and runs nothing that is not its own."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import Page, chromium, find_chromium
from tests.outcomes import MARKUP, VIDEOS, World, all_outcomes, ended, graded, make_world, track
from vtscot.masks import Rle
from vtscot.publish import publish
from vtscot.publish.album import SIZES, choose_sizes
from vtscot.publish.figures import figures
from vtscot.publish.outline import outline
from vtscot.publish.report import PICTURED, pick_pictured, report_data, script_json
from vtscot.records import Outcome

MEADOW, STREET, THIRD = VIDEOS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def report(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(all_outcomes(), world.context(), tmp_path_factory.mktemp("run")).report


# ---- the file ----


def test_one_file_that_names_no_address(report: Path) -> None:
    text = report.read_text()
    assert "https://" not in text
    assert set(re.findall(r"http://[^\"\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|iframe|object|img)\b|\bsrc=[\"']|@import|url\(", text.split("<script type=")[0])


def test_data_cannot_end_its_script_block(report: Path) -> None:
    text = report.read_text()
    blocks = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text, re.DOTALL)
    assert [name for name, _ in blocks] == ["page", "pictures"]
    page = json.loads(blocks[0][1])
    assert "<" not in blocks[0][1]
    assert MARKUP in {item["expression"] for item in page["items"]}


def test_script_json_is_json() -> None:
    value = {"a": "</script>&<!--\u2028\u2029", "b": [1, None, "ü"]}
    assert json.loads(script_json(value)) == value
    assert not set("<>&\u2028\u2029") & set(script_json(value))


def test_every_query_is_listed(report: Path, world: World) -> None:
    page, _ = report_data(all_outcomes(), figures(all_outcomes()), world.context())
    assert sorted(item["id"] for item in page["items"]) == sorted(o.query.id for o in all_outcomes())
    assert [item["state"] for item in page["items"] if "turns" not in item] == ["failed", "skipped", "skipped"]
    assert page["private"] == ["mevis"]


def test_pictures_are_stored_once(world: World) -> None:
    outcomes = [graded(MEADOW, str(i), f"ring {i}", 2) for i in range(6)]
    page, pictures = report_data(outcomes, figures(outcomes), world.context())
    one, alone = report_data(outcomes[:1], figures(outcomes[:1]), world.context())
    assert len(page["items"]) == 6 and len(one["items"]) == 1
    assert pictures == alone
    assert len(set(pictures)) == len(pictures)
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"


def test_the_sharp_frame_is_larger_and_is_the_decoded_one(world: World) -> None:
    outcomes = [graded(MEADOW, "0", "the red ring", 2)]
    page, pictures = report_data(outcomes, figures(outcomes), world.context())
    for turn, observation in zip(page["items"][0]["turns"], outcomes[0].record.episode.observations, strict=True):
        assert turn["sharp"]["frame"] == observation.decoded
        assert sorted(set(observation.indices)) == [index for index, _, _ in turn["shown"]]
        sharp = Image.open(io.BytesIO(base64.b64decode(pictures[turn["sharp"]["picture"]])))
        small = Image.open(io.BytesIO(base64.b64decode(pictures[turn["shown"][0][2]])))
        assert sharp.width > small.width


def area_of(path: str) -> float:
    """Area inside an SVG path of polygons by the even-odd rule, for polygons that are nested."""
    areas = []
    for part in filter(None, path.split("Z")):
        points = np.array(part.removeprefix("M").split(), dtype=float).reshape(-1, 2)
        x, y = points.T
        areas.append(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
    areas.sort(reverse=True)
    return sum(a if i == 0 else -a for i, a in enumerate(areas))


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


def test_pictures_shrink_where_there_are_many() -> None:
    episode = graded(MEADOW, "0", "ring", 2).record.episode
    assert choose_sizes([(MEADOW, episode)]) == SIZES[0]
    assert choose_sizes([(f"video {i}", episode) for i in range(500)]) == SIZES[-1]


def test_beyond_the_limit_episodes_are_listed_without_pictures_and_the_page_says_so(world: World) -> None:
    first = graded(MEADOW, "0", "ring", 1)
    many = [rename(first, f"{i:04d}") for i in range(PICTURED + 200)]
    assert len(pick_pictured(many)) == PICTURED
    page, _ = report_data(many, figures(many), world.context())
    assert page["pictured"] == [PICTURED, PICTURED + 200]
    assert sum(item["turns"][0]["sharp"]["picture"] is None for item in page["items"]) == 200


def rename(outcome: Outcome, exp_id: str) -> Outcome:
    query = outcome.query.model_copy(update={"exp_id": exp_id})
    record = outcome.record.model_copy(update={"query": query})
    return outcome.model_copy(update={"query": query, "record": record})


# ---- in the browser ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: the report is not opened in a browser")
    with chromium(program) as page:
        yield page


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    browser.errors.clear()
    browser.requests.clear()
    browser.resize(1280, 1000)
    browser.open("about:blank")
    browser.open(report.as_uri())
    return browser


SHOWN = "document.querySelectorAll('article').length"
IMAGES = """Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"""


def test_opens_and_its_images_load(page: Page, report: Path) -> None:
    assert page.run("document.documentElement.dataset.ready") == "true"
    assert page.run(SHOWN) == 12
    widths = page.run(IMAGES)
    assert len(widths) > 50 and min(widths) > 0
    assert page.errors == []
    assert {url for url in page.requests if not url.startswith("data:")} <= {"about:blank", report.as_uri()}


def test_filters_reduce_the_list(page: Page) -> None:
    page.run("document.querySelector('[data-state=rejected]').click()")
    assert page.run(SHOWN) == 3
    assert page.run("location.hash") == "#state=rejected"
    page.run(
        "const r = document.getElementById('by-reason'); r.value = 'leakage'; r.dispatchEvent(new Event('change'))"
    )
    assert page.run(SHOWN) == 1
    assert page.run("document.getElementById('count').textContent") == "1 of 12"
    assert page.run("document.querySelector('.why').textContent") == "leakage"
    page.run("document.querySelector('[data-state=rejected]').click()")
    assert page.run(SHOWN) == 12
    assert page.errors == []


@pytest.mark.parametrize(
    ("view", "count"),
    [
        ("state=kept", 6),
        ("turns=3", 1),
        ("source=mevis", 2),
        ("q=OVERTAKES", 1),
        ("state=skipped&reason=empty-expression", 1),
        ("q=nowhere+to+be+found", 0),
        ("page=99", 12),
        ("page=x&state=", 12),
    ],
)
def test_a_view_can_be_linked_to(view: str, count: int, page: Page, report: Path) -> None:
    page.open("about:blank")
    page.open(f"{report.as_uri()}#{view}")
    assert page.run(SHOWN) == count
    assert page.errors == []


def test_markup_in_data_is_inert(page: Page) -> None:
    page.run("location.hash = '#q=hacked'")
    page.run("new Promise(done => setTimeout(done, 50))")
    assert page.run(SHOWN) == 1
    assert MARKUP in page.run("document.querySelector('article h2').textContent")
    assert page.run("typeof window.hacked") == "undefined"
    assert page.run("document.querySelectorAll('article img[src=x], article script').length") == 0


def test_no_script_but_its_own_runs(page: Page) -> None:
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))"
    )
    assert page.run("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in error for error in page.errors)


def test_an_episode_shows_all_its_parts(page: Page) -> None:
    page.run("location.hash = '#turns=3'")
    page.run("new Promise(done => setTimeout(done, 50))")
    count = "document.querySelectorAll('article {}').length"
    assert page.run(count.format(".turn")) == 3
    assert page.run(count.format(".sharp path")) == 3
    assert page.run(count.format(".sharp rect")) == 3
    assert page.run(count.format("dd")) == 12
    assert page.run(count.format(".line .seen")) == 6
    assert page.run(count.format(".checks li")) == 2
    width, height = page.run(
        "(r => [r.width, r.height])(document.querySelector('.sharp path').getBoundingClientRect())"
    )
    assert width > 20 and height > 20


def test_the_graded_frame_is_in_sight_in_its_film(page: Page) -> None:
    page.resize(390, 844, phone=True)
    page.run("location.hash = '#turns=3'")
    page.run("new Promise(done => setTimeout(done, 50))")
    inside = """[...document.querySelectorAll('.film')].map(film => {
        const all = film.getBoundingClientRect(), one = film.querySelector('.decoded').getBoundingClientRect();
        return one.left >= all.left && one.right <= all.right; })"""
    assert page.run(inside) == [True, True, True]


def test_overlays_can_be_hidden(page: Page) -> None:
    shown = "getComputedStyle(document.querySelector('.sharp path')).display"
    assert page.run(shown) != "none"
    page.run("document.querySelector('.toggle').click()")
    assert page.run(shown) == "none"


def test_keys(page: Page) -> None:
    page.press("j")
    page.press("j")
    assert page.run("[...document.querySelectorAll('article')].indexOf(document.activeElement)") == 1
    page.press("k")
    assert page.run("[...document.querySelectorAll('article')].indexOf(document.activeElement)") == 0
    page.press("/")
    assert page.run("document.activeElement.id") == "by-q"
    assert page.run("document.getElementById('by-q').value") == ""


def test_everything_that_acts_can_be_reached_by_keyboard(page: Page) -> None:
    acting = "[...document.querySelectorAll('button, select, input, summary, a, .film')]"
    assert page.run(f"{acting}.every(e => e.tabIndex >= 0 || e.hidden)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_fits_a_phone(dark: bool, page: Page) -> None:
    page.resize(390, 844, dark=dark, phone=True)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    light = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 128")
    assert light != dark


def test_many_episodes_are_paged(page: Page, world: World, tmp_path: Path) -> None:
    first = graded(MEADOW, "0", "ring", 1)
    outcomes = [rename(first, f"{i:04d}") for i in range(45)]
    done = publish(outcomes, world.context(), tmp_path)
    page.open(done.report.as_uri())
    assert page.run(SHOWN) == 20
    page.press("n")
    page.press("n")
    assert (page.run(SHOWN), page.run("location.hash")) == (5, "#page=3")
    page.press("n")
    assert page.run("document.querySelector('#pager span').textContent") == "3 / 3"
    assert page.errors == []


@pytest.mark.parametrize(
    "outcomes", [[], [ended(MEADOW, "0", "ring", "failed", "timeout", "no answer")]], ids=["none", "failed"]
)
def test_a_run_without_episodes_opens(outcomes: list[Outcome], page: Page, world: World, tmp_path: Path) -> None:
    done = publish(outcomes, world.context(), tmp_path)
    page.open(done.report.as_uri())
    assert page.run("document.documentElement.dataset.ready") == "true"
    assert page.run(SHOWN) == len(outcomes)
    assert page.errors == []
