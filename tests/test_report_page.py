"""The report in a real browser: it opens from disk, shows pictures, filters, and runs nothing that is not its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import Page, chromium, find_chromium
from tests.outcomes import MARKUP, VIDEOS, World, all_outcomes, ended, graded, make_world, rename
from vtscot.publish import publish
from vtscot.publish.context import RawAnswer
from vtscot.publish.figures import figures
from vtscot.publish.report import write_report
from vtscot.records import Fact, Outcome, Query

MEADOW, STREET, _ = VIDEOS
HIDDEN = f"{STREET}/2"  # three turns; the target is hidden now and then
SHOWN = "document.querySelectorAll('.row').length"
THERE = "document.querySelector('article') && document.querySelector('article').dataset.ready === 'true'"
IMAGES = """Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("frames"))


def told(query: Query) -> list[RawAnswer]:
    """Two answers about the query in markup, one of them no completion; none about others."""
    if query.expression != MARKUP:
        return []
    body = json.dumps({"choices": [{"message": {"content": f"said: {MARKUP}"}}]})
    return [RawAnswer(0, "temporal", 0, body), RawAnswer(0, "spatial", 1, MARKUP)]


@pytest.fixture(scope="module", params=["one file", "folder"])
def report(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same report in both of its forms."""
    outcomes = sorted(all_outcomes(), key=lambda outcome: outcome.query.id)
    context = replace(world.context(), answers=told)
    limit = {"one_file": 10_000} if request.param == "folder" else {}
    page = write_report(outcomes, figures(outcomes), context, tmp_path_factory.mktemp("run"), **limit)
    assert page.with_name("report").exists() == (request.param == "folder")
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: the report is not opened in a browser")
    with chromium(program) as page:
        yield page


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    browser.resize(1280, 1000)
    return fresh(browser, report)


def fresh(browser: Page, report: Path, view: str = "") -> Page:
    """The report as it opens, with nothing before it."""
    browser.open("about:blank")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(report.as_uri() + view)
    return browser


def wait(page: Page, condition: str) -> None:
    """Until `condition` holds; the page has five seconds for it."""
    look = f"""new Promise((yes, no) => {{
        const end = performance.now() + 5000;
        const look = () => ({condition}) ? yes(true)
            : performance.now() > end ? no(new Error('it never came')) : setTimeout(look, 10);
        look(); }})"""
    assert page.run(look)


def visit(page: Page, view: str) -> None:
    page.run(f"location.hash = {json.dumps(view)}")
    wait(page, THERE if "id=" in view or "/" in view else f"!document.querySelector('article') && {SHOWN} >= 0")


def test_opens_and_its_images_load(page: Page, report: Path) -> None:
    assert page.run("document.documentElement.dataset.ready") == "true"
    assert page.run(SHOWN) == 12
    wait(page, "document.images.length === 9")
    assert min(page.run(IMAGES)) > 0
    visit(page, f"#{HIDDEN}")
    widths = page.run(IMAGES)
    assert len(widths) > 15 and min(widths) > 0
    assert page.errors == []
    home = report.parent.as_uri()
    assert all(url.startswith((home, "data:", "about:blank")) for url in page.requests)


def test_filters_reduce_the_list(page: Page) -> None:
    page.run("document.querySelector('[data-state=rejected]').click()")
    assert page.run(SHOWN) == 3
    assert page.run("location.hash") == "#state=rejected"
    page.run(
        "const r = document.getElementById('by-reason'); r.value = 'leakage'; r.dispatchEvent(new Event('change'))"
    )
    assert page.run(SHOWN) == 1
    assert page.run("document.getElementById('count').textContent") == "1 of 12"
    assert page.run("document.querySelector('.row .why').textContent") == "leakage"
    page.run("document.getElementById('clear').click()")
    assert page.run(SHOWN) == 12
    assert page.errors == []


@pytest.mark.parametrize(
    ("view", "count"),
    [
        ("state=kept", 6),
        ("turns=3", 1),
        ("source=mevis", 2),
        ("q=OVERTAKES", 1),
        ("q=drifts", 0),
        ("iou=8", 5),
        ("state=skipped&reason=empty-expression", 1),
        ("q=nowhere+to+be+found", 0),
        ("page=99", 12),
        ("page=x&state=", 12),
        ("%", 12),
        ("id=no/such/query", 12),
    ],
)
def test_a_view_can_be_linked_to(view: str, count: int, browser: Page, report: Path) -> None:
    page = fresh(browser, report, f"#{view}")
    assert page.run(SHOWN) == count
    assert page.errors == []


def test_thoughts_are_searched_where_wanted(browser: Page, report: Path) -> None:
    page = fresh(browser, report, "#q=drifts+meadow")
    assert page.run(SHOWN) == 0
    page.run("document.getElementById('by-in').click()")
    wait(page, f"{SHOWN} === 5")
    assert page.run("document.getElementById('count').textContent") == "5 of 12"


def test_an_episode_opens_while_thoughts_are_read(browser: Page, report: Path) -> None:
    page = fresh(browser, report, f"#q=drifts&in=thoughts&id={HIDDEN}")
    wait(page, f"{THERE} && document.querySelector('#bar .soft').textContent !== ''")
    assert page.run("document.querySelectorAll('.turn').length") == 3
    wait(page, "document.getElementById('count').textContent === '9 of 12'")
    assert (page.run("document.querySelector('[role=alert]')"), page.errors) == (None, [])


def test_the_worst_come_first_where_wanted(browser: Page, report: Path) -> None:
    page = fresh(browser, report, "#sort=iou")
    first = "document.querySelector('.row .facts').textContent"
    assert "IoU 0.05" in page.run(first)


@pytest.mark.parametrize("link", [f"#{HIDDEN}", f"#id={HIDDEN}", f"#state=kept&id={HIDDEN.replace('/', '%2F')}"])
def test_an_episode_can_be_linked_to(link: str, browser: Page, report: Path) -> None:
    page = fresh(browser, report, link)
    wait(page, THERE)
    assert page.run("document.querySelector('article').dataset.id") == HIDDEN
    assert page.run("document.title").startswith("the ring that is hidden")
    assert page.errors == []


def test_markup_in_data_is_inert(page: Page) -> None:
    page.run("location.hash = '#q=hacked'")
    wait(page, f"{SHOWN} === 1")
    assert MARKUP in page.run("document.querySelector('.row b').textContent")
    page.run("document.querySelector('.row').click()")
    wait(page, THERE)
    assert MARKUP in page.run("document.querySelector('article h2').textContent")
    page.run("document.querySelector('.raw summary').click()")
    wait(page, "document.querySelectorAll('.answer').length === 2")
    answers = page.run("[...document.querySelectorAll('.answer')].map(a => a.querySelector('pre').textContent)")
    assert answers == [f"said: {MARKUP}", MARKUP]
    assert page.run("document.querySelector('.answer details pre').textContent").startswith('{"choices"')
    assert page.run("typeof window.hacked") == "undefined"
    assert page.run("document.querySelectorAll('img[src=x], article script').length") == 0


def test_no_script_but_its_own_runs(page: Page, report: Path) -> None:
    other = report.with_name("other.js")
    other.write_text("window.hacked = 1")
    for property_, value in (("textContent", "window.hacked = 1"), ("src", "other.js")):
        page.run(
            f"new Promise(done => {{ const s = document.createElement('script'); s.{property_} = '{value}';"
            " s.onload = s.onerror = done; document.body.append(s); setTimeout(done, 100); })"
        )
    assert page.run("typeof window.hacked") == "undefined"
    assert sum("Content Security Policy" in error for error in page.errors) >= 2


def test_an_episode_shows_all_its_parts(page: Page) -> None:
    visit(page, f"#{HIDDEN}")
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


def test_thoughts_stand_beside_what_was_visible(page: Page) -> None:
    visit(page, f"#{HIDDEN}")
    table = """[...document.querySelectorAll('.turn')].map(
        turn => [...turn.querySelectorAll('.shown tbody tr')].map(row => row.innerText))"""
    assert page.run(table) == [  # the thoughts name frame 9, which no turn is shown
        ["0\t○ not visible\t–", "6 … 39 (8)\t● visible\t–", "not shown yet\t\t9"],
        ["0, 10\t○ not visible\t–", "20, 29, 39\t● visible\t–", "not shown yet\t\t9"],
        ["3 … 36 (6)\t● visible\t–", "not shown yet\t\t9"],
    ]
    assert page.run("document.querySelector('.turn mark.unshown').textContent") == "9"
    there = "[...document.querySelectorAll('.turn:nth-of-type(1) .there figcaption')].map(c => +c.textContent)"
    assert page.run(there) == [6, 11, 17, 20, 22, 28, 33, 39]


def test_a_mask_that_is_not_at_hand_is_no_missing_target(browser: Page, world: World, tmp_path: Path) -> None:
    seen, absent = graded(MEADOW, "0", "ring", 1), graded(MEADOW, "1", "no ring", 1, target=False)
    assert seen.record is not None
    facts = (Fact(kind="visible", start=2, end=23),)
    record = seen.record.model_copy(update={"plan": seen.record.plan.model_copy(update={"facts": facts})})
    outcomes = [seen.model_copy(update={"record": record}), absent]
    context = replace(world.context(), tracks=lambda query: None, boxes=False)
    report = write_report(outcomes, figures(outcomes), context, tmp_path)
    for exp_id, told in (("0", "its mask is not at hand"), ("1", "there is no target")):
        page = fresh(browser, report, f"#{MEADOW}/{exp_id}")
        wait(page, THERE)
        assert page.run("document.querySelector('.sharp figcaption').lastChild.textContent") == told
        assert page.run("document.querySelectorAll('.sharp rect, .sharp path').length") == 0
        assert page.errors == []


def test_the_graded_frame_is_in_sight_in_its_film(page: Page) -> None:
    page.resize(390, 844, phone=True)
    visit(page, f"#{HIDDEN}")
    inside = """[...document.querySelectorAll('.film')].map(film => {
        const all = film.getBoundingClientRect(), one = film.querySelector('.decoded').getBoundingClientRect();
        return one.left >= all.left && one.right <= all.right; })"""
    assert page.run(inside) == [True, True, True]


def test_overlays_can_be_hidden(page: Page) -> None:
    visit(page, f"#{HIDDEN}")
    shown = "getComputedStyle(document.querySelector('.sharp path')).display"
    assert page.run(shown) != "none"
    page.press("m")
    assert page.run(shown) == "none"
    page.run("document.querySelector('.toggle').click()")
    assert page.run(shown) != "none"


def test_keys(page: Page) -> None:
    focused = "[...document.querySelectorAll('.row')].indexOf(document.activeElement)"
    page.press("j")
    page.press("j")
    assert page.run(focused) == 1
    page.press("k")
    assert page.run(focused) == 0
    page.press("ArrowDown")
    assert page.run(focused) == 1
    page.run("document.activeElement.click()")  # what Enter does to a link
    wait(page, THERE)
    opened = "document.querySelector('article').dataset.id"
    assert page.run(opened) == f"{MEADOW}/1"
    page.press("j")
    wait(page, f"{opened} === '{MEADOW}/2' && {THERE}")
    page.press("ArrowLeft")
    wait(page, f"{opened} === '{MEADOW}/1' && {THERE}")
    page.press("?")
    assert page.run("document.getElementById('help').open") is True
    page.press("Escape")
    assert page.run("document.getElementById('help').open") is False
    page.press("Escape")
    wait(page, f"{SHOWN} === 12")
    assert page.run(focused) == 1  # where one was
    page.press("/")
    wait(page, "document.activeElement.id === 'by-q'")
    assert page.run("document.getElementById('by-q').value") == ""
    assert page.errors == []


def test_back_leads_from_an_episode_to_the_same_list(page: Page) -> None:
    page.run("document.querySelector('[data-state=kept]').click()")
    page.run("document.querySelector('.row').click()")
    wait(page, THERE)
    page.run("history.back()")
    wait(page, f"{SHOWN} === 6")
    assert page.run("location.hash") == "#state=kept"


def test_everything_that_acts_can_be_reached_by_keyboard(page: Page) -> None:
    acting = "[...document.querySelectorAll('button, select, input, summary, a[href], .film')]"
    assert page.run(f"{acting}.every(e => e.tabIndex >= 0 || e.hidden)")
    visit(page, f"#{HIDDEN}")
    assert page.run(f"{acting}.every(e => e.tabIndex >= 0 || e.hidden)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("view", ["#", f"#{HIDDEN}"], ids=["list", "episode"])
def test_fits_a_phone(dark: bool, view: str, browser: Page, report: Path) -> None:
    browser.resize(360, 800, dark=dark, phone=True)
    page = fresh(browser, report, view)
    wait(page, THERE if "/" in view else f"{SHOWN} > 0")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    bright = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 128"
    assert page.run(bright) != dark
    page.press("t")  # light
    assert page.run(bright) is True
    page.press("t")  # dark
    assert page.run(bright) is False
    page.press("t")


def test_many_episodes_are_paged(browser: Page, world: World, tmp_path: Path) -> None:
    first = graded(MEADOW, "0", "ring", 1)
    outcomes = [rename(first, f"{i:04d}") for i in range(75)]
    page = fresh(browser, publish(outcomes, world.context(), tmp_path).report)
    assert page.run(SHOWN) == 30
    page.press("n")
    page.press("n")
    assert (page.run(SHOWN), page.run("location.hash")) == (15, "#page=3")
    page.press("n")
    assert page.run("document.querySelector('#pager span').textContent") == "3 / 3"
    assert page.errors == []


@pytest.mark.parametrize(
    "outcomes", [[], [ended(MEADOW, "0", "ring", "failed", "timeout", "no answer")]], ids=["none", "failed"]
)
def test_a_run_without_episodes_opens(outcomes: list[Outcome], browser: Page, world: World, tmp_path: Path) -> None:
    page = fresh(browser, publish(outcomes, world.context(), tmp_path).report)
    assert page.run("document.documentElement.dataset.ready") == "true"
    assert page.run(SHOWN) == len(outcomes)
    if outcomes:
        page.run("document.querySelector('.row').click()")
        wait(page, THERE)
        assert page.run("document.querySelector('article .why').textContent").startswith("timeout no answer")
    assert page.errors == []


@pytest.mark.parametrize("change", ["gone", "of another build"])
def test_a_folder_that_does_not_belong_is_told(change: str, browser: Page, world: World, tmp_path: Path) -> None:
    one = [graded(MEADOW, "0", "ring", 1)]
    report = write_report(one, figures(one), world.context(), tmp_path, one_file=100)
    script = tmp_path / "report" / "episodes-0000.js"
    if change == "gone":
        script.unlink()
    else:
        script.write_text(script.read_text().replace('vtscotPart("', 'vtscotPart("f'))
    page = fresh(browser, report, f"#{MEADOW}/0")
    wait(page, "document.querySelector('[role=alert]')")
    said = page.run("document.querySelector('[role=alert]').textContent")
    assert said.startswith("report/episodes-0000.js")
    assert ("keep the folder report beside this page" in said) == (change == "gone")
