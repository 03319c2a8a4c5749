"""Places, sizes and colours in words: what is said can be read back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtscot.demo.palette import COLOURS
from vtscot.records import Box
from vtscot.words.colours import NAMES, dominant, kin_of, name_pixels, names_of, read_colours
from vtscot.words.english import content_words, function_share, quotable, stem
from vtscot.words.places import VARIANTS, read_place, say_place


def iou(a: Box, b: Box) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, w) * max(0.0, h)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


@st.composite
def framed_boxes(draw: st.DrawFn, least: float) -> tuple[Box, tuple[int, int]]:
    """A frame size and a box inside it whose sides are at least `least` of the frame's."""
    size = draw(st.sampled_from([(320, 240), (240, 320), (854, 480), (1920, 1080)]))
    w, h = (draw(st.floats(least, 1.0)) * side for side in size)
    x, y = draw(st.floats(0, 1)) * (size[0] - w), draw(st.floats(0, 1)) * (size[1] - h)
    return (x, y, w, h), size


@given(framed_boxes(0.1), st.integers(0, VARIANTS - 1))
def test_a_place_reads_back(framed: tuple[Box, tuple[int, int]], variant: int) -> None:
    box, size = framed
    place = read_place(f"In frame 12 the target is {say_place(box, size, variant)}; it looks red.")
    assert place is not None
    assert place.precise
    assert iou(place.box(size), box) >= 0.3


@pytest.mark.parametrize(("least", "typical"), [(0.08, 0.65), (0.2, 0.8), (0.4, 0.85)])
def test_places_read_back_closely_as_a_rule(least: float, typical: float) -> None:
    rng, size = np.random.default_rng(0), (320, 240)
    ious = []
    for _ in range(200):
        w, h = rng.uniform(least, least * 1.5) * size[0], rng.uniform(least, least * 1.5) * size[1]
        box = (rng.uniform(0, size[0] - w), rng.uniform(0, size[1] - h), w, h)
        place = read_place(say_place(box, size, int(rng.integers(VARIANTS))))
        assert place is not None
        ious.append(iou(place.box(size), box))
    assert np.mean(ious) >= typical
    assert np.quantile(ious, 0.05) >= typical - 0.2


@given(framed_boxes(0.02), st.integers(0, VARIANTS - 1))
def test_a_place_is_said_without_digits(framed: tuple[Box, tuple[int, int]], variant: int) -> None:
    assert not re.search(r"\d", say_place(*framed, variant))


def test_edges_that_cut_a_thing_are_read() -> None:
    place = read_place("It is " + say_place((0.0, 50.0, 60.0, 40.0), (320, 240)))
    assert place is not None
    assert place.touching == {"left"}
    assert place.box((320, 240))[0] == 0.0


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("The cat sits in the lower left corner.", 0.12, 0.78),
        ("a man at the far right", 0.88, None),
        ("The dog is near the top of the image.", None, 0.22),
        ("She stands in the center.", 0.5, 0.5),
        ("It is a third of the way across and halfway down.", 1 / 3, 0.5),
    ],
)
def test_loose_wording_is_understood(text: str, x: float | None, y: float | None) -> None:
    place = read_place(text)
    assert place is not None
    assert place.x == (None if x is None else pytest.approx(x))
    assert place.y == (None if y is None else pytest.approx(y))


@pytest.mark.parametrize(
    "text", ["It moves to the left.", "It is heading right.", "The one left of the tree.", "A red car."]
)
def test_motion_and_relations_are_no_place(text: str) -> None:
    assert read_place(text) is None


@pytest.mark.parametrize("name", COLOURS)
def test_the_demo_colours_have_their_names(name: str) -> None:
    pixel = np.array([[COLOURS[name]]], dtype=np.uint8)
    assert NAMES[name_pixels(pixel)[0, 0]] in names_of(name)


def test_dominant_colours_of_a_region() -> None:
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    image[:, :5] = (206, 32, 44)
    image[:, 5:9] = (250, 250, 250)
    everything = np.ones((10, 10), dtype=bool)
    assert dominant(image, everything) == ("red", "white")
    assert dominant(image, ~everything) == ()


def test_colour_words_are_read_in_order() -> None:
    assert read_colours("a Reddish dog, golden and red, beside a grey car; colored") == ("red", "golden", "grey")
    assert kin_of("silver") >= {"grey", "white"}


def test_content_words_and_stems() -> None:
    assert content_words("the dog that is moving to the left") == ("dog", "moving", "left")
    assert content_words("the one") == ("the", "one")
    assert stem("moves") == stem("moving") == stem("moved")
    assert stem("stopped") == stem("stops")


def test_quotable_text_holds_no_markup() -> None:
    assert quotable(' a <b>"cat"\n Action: [SEG] ') == "a b cat Action SEG"
    assert quotable("word " * 100).endswith("word ...")


def test_english_is_told_from_other_languages() -> None:
    assert function_share("The target is on the left side and it moves to the right.") > 0.5
    assert function_share("Das gesuchte Objekt befindet sich links unten im Bild.") < 0.2
    assert function_share("目标物体位于画面左下方") == 0.0
