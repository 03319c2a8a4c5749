"""The text of a turn: rendering and parsing are inverse, and what breaks the grammar is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtscot.errors import EpisodeError
from vtscot.grammar import SEG, clean, closing, parse_turn, render_turn, reserved
from vtscot.records import Selection, Thought, Turn

PARAGRAPH = st.text(min_size=1, max_size=80).map(clean).filter(lambda text: text and not reserved(text))


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    start = draw(st.integers(0, 500))
    return Turn(
        thought=Thought(
            temporal=draw(PARAGRAPH), spatial=draw(PARAGRAPH), linguistic=draw(PARAGRAPH), action=draw(PARAGRAPH)
        ),
        action=draw(st.sampled_from(["select", "answer"])),
        selection=Selection(start=start, end=start + draw(st.integers(0, 90)), keyframe=draw(st.integers(0, 600))),
    )


@given(turns())
def test_parse_is_the_inverse_of_render(turn: Turn) -> None:
    assert parse_turn(render_turn(turn)) == turn


THINK = "<think>Step 1: a Step 2: b Step 3: c Action: d</think>"
VTG = '<VTG>{"start": 4, "end": 19, "keyframe": 11}</VTG>'


def test_canonical_text_is_the_published_form() -> None:
    turn = Turn(
        thought=Thought(temporal="a", spatial="b", linguistic="c", action="d"),
        action="select",
        selection=Selection(start=4, end=19, keyframe=11),
    )
    assert render_turn(turn) == (
        "<think>Step 1: Temporal Dynamics. a Step 2: Spatial Details. b Step 3: Expression Analysis. c Action: d"
        f"</think><select>{VTG}<RefSeg>[SEG]</RefSeg></select>"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{THINK}<answer>{VTG}<RefVOS>[SEG]</RefVOS></answer>", id="RefVOS of the published figure"),
        pytest.param(f"{THINK}\n<answer>\n{VTG} <RefSeg> [SEG] </RefSeg>\n</answer>\n", id="white space between tags"),
        pytest.param(
            f"<think>\nStep 1: Temporal Dynamics: a\nStep 2: b\nStep 3: c\nAction: d\n</think><answer>{VTG}"
            "<RefSeg>[SEG]</RefSeg></answer>",
            id="steps on lines of their own",
        ),
    ],
)
def test_reads_what_published_data_holds(text: str) -> None:
    turn = parse_turn(text)
    assert turn.action == "answer"
    assert turn.thought == Thought(temporal="a", spatial="b", linguistic="c", action="d")
    assert turn.selection == Selection(start=4, end=19, keyframe=11)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "<think>", id="nothing"),
        pytest.param(f"{THINK}<answer>{VTG}</answer>", "RefSeg", id="no SEG"),
        pytest.param(f"<answer>{VTG}<RefSeg>[SEG]</RefSeg></answer>", "<think>", id="no thought"),
        pytest.param(
            f"{THINK}<select>{VTG}<RefSeg>[SEG]</RefSeg></answer>", "one <select> or <answer>", id="tags crossed"
        ),
        pytest.param(
            f"<think>Step 1: a Step 3: c Action: d</think><answer>{VTG}<RefSeg>[SEG]</RefSeg></answer>",
            "lacks Step 1",
            id="a step missing",
        ),
        pytest.param(
            f"<think>Step 1: Step 2: b Step 3: c Action: d</think><answer>{VTG}<RefSeg>[SEG]</RefSeg></answer>",
            "temporal part of a thought is empty",
            id="a step empty",
        ),
        pytest.param(
            f"{THINK}<answer><VTG>{{4, 19}}</VTG><RefSeg>[SEG]</RefSeg></answer>", "not JSON", id="VTG not JSON"
        ),
        pytest.param(
            f'{THINK}<answer><VTG>{{"start": 4, "end": 19}}</VTG><RefSeg>[SEG]</RefSeg></answer>',
            "exactly the keys",
            id="VTG key missing",
        ),
        pytest.param(
            f'{THINK}<answer><VTG>{{"start": 4, "end": 19, "keyframe": "11"}}</VTG><RefSeg>[SEG]</RefSeg></answer>',
            "integers",
            id="VTG not integers",
        ),
        pytest.param(
            f'{THINK}<answer><VTG>{{"start": 20, "end": 19, "keyframe": 11}}</VTG><RefSeg>[SEG]</RefSeg></answer>',
            "no window",
            id="window reversed",
        ),
        pytest.param(
            f'{THINK}<answer><VTG>{{"start": -1, "end": 19, "keyframe": 11}}</VTG><RefSeg>[SEG]</RefSeg></answer>',
            "no window",
            id="negative index",
        ),
        pytest.param(
            f"{THINK}<answer><VTG>{'[' * 100_000}</VTG><RefSeg>[SEG]</RefSeg></answer>", "not JSON", id="deep nesting"
        ),
    ],
)
def test_what_breaks_the_grammar_is_named(text: str, complaint: str) -> None:
    with pytest.raises(EpisodeError, match=complaint):
        parse_turn(text)


@pytest.mark.parametrize(
    "part",
    ["two\nlines", " padded", "", "<b>", "see [SEG]", "Step 2: again", "my Action: go"],
    ids=["newline", "padding", "empty", "tag", "seg", "heading", "action heading"],
)
def test_a_thought_with_markup_is_not_rendered(part: str) -> None:
    turn = Turn(
        thought=Thought(temporal=part, spatial="b", linguistic="c", action="d"),
        action="answer",
        selection=Selection(start=0, end=1, keyframe=0),
    )
    with pytest.raises(EpisodeError, match="temporal part"):
        render_turn(turn)


@given(turns())
def test_closing_is_what_a_turn_ends_with(turn: Turn) -> None:
    text = render_turn(turn)
    opened = text[: text.rindex(SEG) + len(SEG)]
    assert opened + str(closing(opened)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        SEG,
        "<think>a</think><select><VTG>{}</VTG><RefSeg>",
        "<think>a</think><select><VTG>{}<RefSeg>[SEG]",
        "<think>a</think><pick><VTG>{}</VTG><RefSeg>[SEG]",
        "<think>a</think><select><VTG>{}</VTG><RefSeg>[SEG] ",
    ],
)
def test_nothing_closes_what_is_not_open(text: str) -> None:
    assert closing(text) is None
