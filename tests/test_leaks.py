"""The leak filter: what it finds of planted leaks, and what it takes for leaks that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.outcomes import all_outcomes, make_world
from vtscot.budget import preset
from vtscot.index import build_index
from vtscot.publish import publish
from vtscot.publish.figures import figures
from vtscot.records import Check
from vtscot.selftest.leakage import KNOWN, SLOTS, false_alarms, planted, sentence_figures
from vtscot.selftest.measure import cases
from vtscot.selftest.planting import Case
from vtscot.selftest.sentences import INNOCENT, LEAKS
from vtscot.sources.registry import open_source
from vtscot.verify.leaks import KINDS, Known, find_leak, find_leaks


@pytest.fixture(scope="module")
def made(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    source = open_source("demo", demo_root, "train")
    return list(cases(source, build_index(source, tmp_path_factory.mktemp("index")), preset("cold_start"), seed=0))


def known(said: str = "", **more: object) -> Known:
    values: dict[str, object] = {"expression": KNOWN.expression, "frames": KNOWN.frames, "said": said, **more}
    return Known(**values)  # type: ignore[arg-type]


def test_every_kind_of_leak_is_found_in_the_sentences() -> None:
    figures = sentence_figures()
    for kind in KINDS:
        assert figures[kind].value == 1.0, figures[kind].wrong
    assert figures["innocent"].hits == 0, figures["innocent"].wrong


def test_sentences_it_was_not_made_for() -> None:
    figures = sentence_figures()
    assert figures["unseen"].value >= 0.8
    assert figures["unseen innocent"].value <= 0.1


def test_leaks_planted_into_thoughts_are_found_and_clean_thoughts_pass(made: list[Case]) -> None:
    for kind, share in planted(made).items():
        assert share.value >= 0.99, (kind, share.wrong)
    assert false_alarms(made).hits == 0


@pytest.mark.parametrize("kind", LEAKS)
def test_most_leaks_are_told_by_their_kind(kind: str) -> None:
    texts = [sentence.format(**SLOTS) for sentence in LEAKS[kind]]
    own = [any(leak.kind == kind for leak in find_leaks(text, known(text, box=KNOWN.box))) for text in texts]
    assert sum(own) >= 0.7 * len(own)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("The mask is white.", "the man whose mask is white"),
        ("It is outlined in red.", "the sign outlined in red"),
        ("The bounding box is blue.", "the blue bounding box"),
    ],
)
def test_words_of_the_expression_are_no_leak(text: str, expression: str) -> None:
    assert find_leak(text, known(expression=expression)) is None


def test_a_box_is_a_thing_where_one_was_introduced() -> None:
    text = "The cat in the box sleeps."
    assert find_leak(text, known("There is a large brown box.")) is None
    assert find_leak(text, known("There is nothing else.")) is not None


def test_numbers_of_the_box_betray_even_where_they_are_frames_too() -> None:
    text = "It lies between 20 and 30, and 41 from the top."
    assert find_leak(text, known(box=frozenset({30, 20, 41}))) is not None
    assert find_leak("It moves between 20 and 30.", known(box=frozenset({30, 20, 41}))) is None


def test_the_length_of_the_video_may_be_said() -> None:
    assert find_leak("The video has 41 frames.", known(num_frames=41)) is None
    assert find_leak("It stays for 20 frames.", known(num_frames=41)) is not None


def test_innocent_sentences_stay_innocent_together() -> None:
    text = " ".join(INNOCENT).format(**SLOTS)
    assert [leak for leak in find_leaks(text, known(text)) if leak.kind != "number"] == []


def test_the_hit_rate_is_in_card_and_report(tmp_path: Path) -> None:
    outcomes = all_outcomes()
    clean, hit = Check(name="leakage", passed=True), Check(name="leakage", passed=False, detail="the hint")
    told = []
    for number, outcome in enumerate(outcomes):
        record = outcome.record
        if record is not None:
            checks = (*record.verdict.checks, hit if number == 0 else clean)
            verdict = record.verdict.model_copy(update={"checks": checks})
            record = record.model_copy(update={"verdict": verdict})
        told.append(outcome.model_copy(update={"record": record}))
    numbers = figures(told)
    assert (numbers.leaks, numbers.traced) == (1, sum(outcome.record is not None for outcome in told))
    done = publish(told, make_world(tmp_path).context(), tmp_path / "out")
    assert f"Leak filter: 1 of {numbers.traced} episodes" in (done.dataset / "README.md").read_text()
    assert f'"leaks":[1,{numbers.traced}]' in done.report.read_text()
