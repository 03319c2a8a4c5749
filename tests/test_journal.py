"""The journal of answers, and what is made of it: predictions and scores. No policy, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trees import good_masks, good_meta, write_tree
from vtscot.errors import RunError, UsageError
from vtscot.evaluation import Truth, open_predictions, read_truth
from vtscot.evaluation.answers import Answer, episode_figures, score_answers, write_predictions
from vtscot.evaluation.journal import HEAD, LINES, Journal, differences
from vtscot.progress import Silent
from vtscot.sources.mevis import MevisSource

SETTINGS: dict[str, Any] = {"weights": "a" * 64, "budget": {"max_turns": 3}, "dtype": "float32"}


class Noted(Silent):
    """Remembers what was noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def answer(exp_id: str = "0", video: str = "cat", **fields: Any) -> Answer:
    about = {"query_id": f"mevis/train/{video}/{exp_id}", "video": video, "exp_id": exp_id, "end": "answered"}
    return Answer(**(about | fields))


def journal(directory: Path, *, resume: bool = False, **changed: Any) -> Journal:
    return Journal(directory, SETTINGS | changed, resume=resume, say=Silent())


def ids_in(directory: Path) -> list[str]:
    return [json.loads(line)["query_id"] for line in (directory / LINES).read_text().splitlines()]


def test_answers_come_back_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    given = [answer("0", masks=("0", None), size=(4, 4), replies=("ä\n",)), answer("1"), answer("2")]
    with journal(tmp_path) as book:
        for one in given:
            book.add(one)
        assert list(book.answers(["mevis/train/cat/2", "nobody", "mevis/train/cat/0"])) == [given[2], given[0]]
    with journal(tmp_path, resume=True) as book:
        assert book.done == {one.query_id for one in given}
        assert list(book.answers(one.query_id for one in given)) == given


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    with journal(tmp_path) as book:
        book.add(answer("0"))
        book.add(answer("1"))
    whole = (tmp_path / LINES).read_bytes()
    (tmp_path / LINES).write_bytes(whole[:-7])
    say = Noted()
    with Journal(tmp_path, SETTINGS, resume=True, say=say) as book:
        assert book.done == {"mevis/train/cat/0"}
        book.add(answer("1"))
    assert "line 2 was cut off" in say.notes[0]
    assert (tmp_path / LINES).read_bytes() == whole


def test_a_line_that_is_no_answer_is_an_error(tmp_path: Path) -> None:
    with journal(tmp_path) as book:
        book.add(answer("0"))
    with (tmp_path / LINES).open("a") as file:
        file.write('{"query_id": 3}\n')
    with pytest.raises(RunError, match="line 2 is no answer"):
        journal(tmp_path, resume=True)


def test_failed_queries_are_tried_again_and_the_last_line_counts(tmp_path: Path) -> None:
    with journal(tmp_path) as book:
        book.add(answer("0", end="failed", reason="frame-unreadable"))
        book.add(answer("1"))
    with journal(tmp_path, resume=True) as book:
        assert book.done == {"mevis/train/cat/1"}
        book.add(answer("0"))
        assert "mevis/train/cat/0" in book.done
        (last,) = book.answers(["mevis/train/cat/0"])
        assert not last.failed
    assert len(ids_in(tmp_path)) == 3


def test_answers_are_not_written_over(tmp_path: Path) -> None:
    with journal(tmp_path) as book:
        book.add(answer("0"))
    with pytest.raises(UsageError, match="--resume"):
        journal(tmp_path)
    assert ids_in(tmp_path) == ["mevis/train/cat/0"]


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    with journal(tmp_path) as book:
        book.add(answer("0"))
    with pytest.raises(
        RunError, match=r'weights: "aaaaaaaaaaaa\.\.\. -> "bbbbbbbbbbbb\.\.\.; budget.max_turns: 3 -> 2'
    ):
        journal(tmp_path, resume=True, weights="b" * 64, budget={"max_turns": 2})
    (tmp_path / HEAD).unlink()
    with pytest.raises(RunError, match="missing or broken"):
        journal(tmp_path, resume=True)


def test_a_folder_without_answers_is_begun_by_resume(tmp_path: Path) -> None:
    with journal(tmp_path, resume=True) as book:
        assert not book.done


def test_differences_name_what_is_new_and_what_is_gone() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 2, "d": None}, "e": "x"}) == [
        "a: 1 -> null",
        'e: null -> "x"',
    ]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom vtscot.evaluation.journal import Journal\n"
        "from vtscot.progress import Silent\n"
        f"Journal(Path({str(tmp_path)!r}), {SETTINGS!r}, resume=True, say=Silent())\n"
    )
    with journal(tmp_path):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "in use by another vtscot process" in ended.stderr


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    root = write_tree(tmp_path / "tree", good_meta(), good_masks(), images=False)
    return read_truth(MevisSource(root, "train"), tmp_path / "index")


def test_predictions_are_grouped_by_video_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    full = {"masks": ("04", None), "size": (2, 2)}
    count = write_predictions(path, [answer("0", **full), answer("1"), answer("2", **full), answer("0", "dög", **full)])
    assert count == 3
    entry = {"prediction_masks": [{"size": [2, 2], "counts": "04"}, None]}
    assert json.loads(path.read_text()) == {"cat": {"0": entry, "2": entry}, "dög": {"0": entry}}
    assert open_predictions(path).find("dög", "0") is not None
    assert write_predictions(path, [answer("0")]) == 0
    assert json.loads(path.read_text()) == {}


def test_what_failed_is_counted_but_not_scored(truth: Truth) -> None:
    queries = truth.index.expressions
    answers = [
        answer(query.exp_id, query.video, query_id=query.id, end=end, reason=reason)
        for query, end, reason in zip(queries, ("unparsed", "failed"), (None, "frame-unreadable"), strict=False)
    ]
    scores = list(score_answers(answers, truth))
    assert len(scores) == len(answers[:1])
    assert scores[0].window_iou == 0.0
    figures = episode_figures(answers, scores)
    assert figures["asked"] == len(answers)
    assert sum(figures["ended"].values()) == len(answers)
    assert figures["episodes"] == 1
