"""What a thought says it does, against what it does."""

from __future__ import annotations

import pytest

from vtscot.records import Selection
from vtscot.verify.acts import contradiction

WINDOW = Selection(start=12, end=30, keyframe=20)

SAYS_ANSWER = (
    "No further look is needed, the answer is the dog on the left.",
    "I am sure, and I answer with the left dog.",
    "There is no need to look again.",
    "This is my final answer.",
    "I can now confirm that it is the red car.",
    "I do not need to look any further.",
    "Nothing more to see here, so I confirm it.",
)
SAYS_LOOK = (
    "I need to look closer before I answer.",
    "I want to see frames 12 to 30 more closely.",
    "Another look is needed.",
    "I look at frames 12 to 30 with frame 20 sharp.",
    "It is too early to answer; let me check the middle.",
    "I cannot answer yet, so I will look at frames 12 to 30.",
    "I must inspect the window around frame 20.",
    "Only then can I confirm it, so I look closer.",
)
SAYS_NEITHER = (
    "It is the dog on the left.",
    "The window around frame 20 matters, because it turns there.",
    "I have looked closely, and both words fit.",
    "Frame 20 shows it best.",
)


@pytest.mark.parametrize("text", SAYS_ANSWER)
def test_an_answer_may_say_so_and_a_look_may_not(text: str) -> None:
    assert contradiction(text, True, WINDOW) is None
    assert contradiction(text, False, WINDOW) is not None


@pytest.mark.parametrize("text", SAYS_LOOK)
def test_a_look_may_say_so_and_an_answer_may_not(text: str) -> None:
    assert contradiction(text, False, WINDOW) is None
    assert contradiction(text, True, WINDOW) is not None


@pytest.mark.parametrize("text", SAYS_NEITHER)
@pytest.mark.parametrize("answers", [True, False])
def test_what_says_neither_is_no_contradiction(text: str, answers: bool) -> None:
    assert contradiction(text, answers, WINDOW) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Frames 40 to 60 will settle it.", True),
        ("Frames 25 to 60 will settle it.", False),
        ("Frames 0 to 10 told little; frames 12 to 30 will tell more.", False),
        ("Frames 31-33 matter.", True),
    ],
)
def test_the_window_named_is_the_window_chosen(text: str, wrong: bool) -> None:
    assert (contradiction(text, False, WINDOW) is not None) == wrong
