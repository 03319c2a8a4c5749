"""The page of a prediction: text is escaped, nothing is loaded, a browser shows it, light and dark, on a phone too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Page, chromium, find_chromium
from vtscot.budget import PRESETS
from vtscot.episode import first_observation, look_observation
from vtscot.frames import Frames
from vtscot.index import build_index
from vtscot.masks import Rle
from vtscot.predict.page import SAMPLED, render_trace
from vtscot.predict.trace import Trace, TraceTurn
from vtscot.records import Selection, Thought, Turn
from vtscot.sources.registry import open_source
from vtscot.tracks import MaskTrack

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"' &amp; {{ 7 * 7 }}"
CHROMIUM = find_chromium()


@pytest.fixture(scope="module")
def shown(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, MaskTrack]:
    """A demo video of some length, and the track of the first object that leaves it."""
    source = open_source("demo", demo_root, "train")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    query = next(q for q in source.queries() if len(q.anno_ids) == 1)
    video = index.videos[query.video]
    return source.frames(video), index.track(query.anno_ids[0])


def traces(frames: Frames, track: MaskTrack) -> list[Trace]:
    """An answer in two turns; one that breaks off; one that says the target is nowhere; none at all."""
    count = len(frames)
    selection = Selection(start=count // 4, end=count // 2, keyframe=count // 3)
    thought = Thought(temporal="When.", spatial="Where.", linguistic="Which.", action=f"Then {HOSTILE}")
    first = first_observation(count, PRESETS["evaluation"])
    look = look_observation(selection, count, PRESETS["evaluation"])
    selects = Turn(thought=thought, action="select", selection=selection)
    answers = Turn(thought=thought, action="answer", selection=selection)
    mask = Rle(track.height, track.width, next(mask for mask in track.masks if mask))
    turns = (
        TraceTurn(first, "", selects, None, first.decoded, mask, -900.0),
        TraceTurn(look, "", answers, None, look.decoded, mask, 4.0),
    )
    broken = TraceTurn(look, f"<think>{HOSTILE}" + "x" * 400, None, f"no think {HOSTILE}", look.decoded, None, None)
    none = MaskTrack(track.height, track.width, (None,) * count)
    return [
        Trace("0", "the first one", "answered", turns, look.decoded, False, track),
        Trace("1", HOSTILE + " " + "w" * 300, "unparsed", (turns[0], broken), first.decoded, False, none),
        Trace("2", "the ghost", "answered", turns, look.decoded, True, none),
        Trace("3", "too much", "too-long", (), count // 2, False, none),
    ]


@pytest.fixture(scope="module")
def html(shown: tuple[Frames, MaskTrack]) -> str:
    return render_trace(HOSTILE, shown[0], traces(*shown), f"about {HOSTILE}", [f"note {HOSTILE}"])


def test_everything_is_said(html: str, shown: tuple[Frames, MaskTrack]) -> None:
    for text in ("the first one", "says it is absent", "not understood", "too long", "When.", "Where.", "Which."):
        assert text in html
    visible = int(shown[1].visible.sum())
    assert f"in {visible} of {len(shown[0])} frames, followed from frame" in html
    assert html.count("in no frame") == 3
    assert "the target is here with probability 0.00" in html and "probability 0.98" in html
    assert "no [SEG], so no mask" in html
    assert html.count('<figure class="sharp') >= 4 * SAMPLED + 6


def test_text_stays_text(html: str) -> None:
    assert HOSTILE not in html
    assert "<script" not in html and "<img src=x" not in html
    assert "{{ 7 * 7 }}" in html
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg;base64,|#)", html)


def test_the_same_prediction_gives_the_same_page(html: str, shown: tuple[Frames, MaskTrack]) -> None:
    assert html == render_trace(HOSTILE, shown[0], traces(*shown), f"about {HOSTILE}", [f"note {HOSTILE}"])


def test_the_page_does_not_grow_with_the_video(html: str) -> None:
    assert len(html) < 2_500_000


@pytest.fixture(scope="module")
def page(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium or Chrome")
    path = tmp_path_factory.mktemp("page") / "trace.html"
    path.write_text(html)
    with chromium(CHROMIUM) as opened:
        yield opened, path.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "phone"), [(1280, False), (360, True)], ids=["desk", "phone"])
def test_a_browser_shows_it(page: tuple[Page, str], width: int, phone: bool, dark: bool) -> None:
    opened, url = page
    opened.resize(width, 800, dark=dark, phone=phone)
    opened.open(url)
    assert opened.errors == []
    assert all(request.startswith(("file:", "data:")) for request in opened.requests)
    assert opened.run("window.hit === undefined && document.scripts.length === 0")
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    paths = "[...document.querySelectorAll('.sharp path')].map((path) => path.getBoundingClientRect().width)"
    assert sum(drawn > 0 for drawn in opened.run(paths)) >= 4
    ground, ink = opened.run("['backgroundColor', 'color'].map((key) => getComputedStyle(document.body)[key])")
    bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink)]
    assert (bright[0] < bright[1]) == dark
    sizes = "[...document.querySelectorAll('dd, p, h2')].map((text) => parseFloat(getComputedStyle(text).fontSize))"
    assert min(opened.run(sizes)) >= 12
