"""Raw answers by query: found by the label of their request, of this run's settings alone, in one order."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.server import Body, Reply, ScriptedServer, completion
from vtscot.build import build, rebuild
from vtscot.ledger import Ledger
from vtscot.publish.context import RawAnswer
from vtscot.raw import RawAnswers
from vtscot.recipe import load_recipe
from vtscot.records import Query

ASKS = {"model": "m", "temperature": 0.7}


def query(video: str, exp_id: str = "0") -> Query:
    return Query(source="demo", split="train", video=video, exp_id=exp_id, expression="the ring")


def store(ledger: Ledger, label: str, body: str, *, answer: int = 0, asks: dict[str, Any] = ASKS) -> None:
    summary = json.dumps({"label": label, "answer": answer, "asks": asks})
    ledger.store(f"{label}{answer}{asks}{body}", summary, body.encode())


def test_answers_come_by_turn_pass_and_try(ledger: Ledger) -> None:
    name = "demo/train/a, turn 1, spatial pass/0"  # a name that looks like a label
    for turn, question, answer in ((1, "temporal", 0), (0, "linguistic", 0), (0, "temporal", 1), (0, "temporal", 0)):
        store(ledger, f"{name}, turn {turn}, {question} pass", f"{turn} {question} {answer}", answer=answer)
    found = RawAnswers(ledger, ASKS)(query("a, turn 1, spatial pass"))
    assert found == (
        RawAnswer(0, "temporal", 0, "0 temporal 0"),
        RawAnswer(0, "temporal", 1, "0 temporal 1"),
        RawAnswer(0, "linguistic", 0, "0 linguistic 0"),
        RawAnswer(1, "temporal", 0, "1 temporal 0"),
    )


def test_what_was_asked_otherwise_or_by_others_is_left_out(ledger: Ledger) -> None:
    store(ledger, "demo/train/a/0, turn 0, temporal pass", "other model", asks={**ASKS, "model": "n"})
    store(ledger, "demo/train/b/0, turn 0, temporal pass", "other query")
    store(ledger, "'the ring', blind grounding on frame 3", "boxes")
    ledger.store("k", "no JSON", b"body")
    ledger.store("l", "[]", b"body")
    answers = RawAnswers(ledger, ASKS)
    assert answers(query("a")) == ()
    assert [answer.body for answer in answers(query("b"))] == ["other query"]


def test_a_body_that_is_no_text_is_shown_all_the_same(ledger: Ledger) -> None:
    label = "demo/train/a/0, turn 0, single pass"
    ledger.store("k", json.dumps({"label": label, "asks": ASKS, "answer": 0}), b"\xff\xfe<html>")
    assert RawAnswers(ledger, ASKS)(query("a"))[0].body == "\ufffd\ufffd<html>"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    from vtscot.demo import write_demo

    write_demo(tmp_path / "world", videos=1, seed=5, workers=1)
    return tmp_path / "world"


def test_the_report_of_a_build_holds_them_and_is_rebuilt_alike(world: Path, tmp_path: Path) -> None:
    def spoiled(number: int, body: Body) -> Reply | None:
        return completion('{"poem": "roses </script>"}') if number == 1 else None

    run = tmp_path / "run"
    with ScriptedServer(script=spoiled) as server:
        flags = {"source.root": str(world), "limit": 2, "workers": 1, "teacher.name": "openai", "teacher.model": "m"}
        address = {"teacher.base_url": server.base_url, "verify.segmenter": "box"}
        build(load_recipe("mevis", None, (), {**flags, **address}), run)
    text = (run / "report.html").read_text()
    block = re.findall(r'id="answers-0000">(.*?)</script>', text, re.DOTALL)[0]
    first, second = json.loads(block)
    with Ledger(run / "ledger.sqlite") as ledger:
        teacher = [s for _, s in ledger.summaries() if json.loads(s)["label"].endswith(" pass")]
    assert len(first) + len(second) == len(teacher)
    assert sum("roses </script>" in answer[3] for answer in first + second) == 1
    shutil.rmtree(run / "dataset")
    (run / "report.html").unlink()
    rebuild(run)
    assert (run / "report.html").read_text() == text
