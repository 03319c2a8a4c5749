"""`vtscot stats`, `merge` and `split` as they are called, on a run of the demo world."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli import vtscot
from vtscot.cli.stats import lines
from vtscot.publish.figures import row_figures
from vtscot.publish.opened import open_dataset


@pytest.fixture
def run(sft_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that may be changed."""
    shutil.copytree(sft_run, tmp_path / "run", ignore=shutil.ignore_patterns("source"))
    return tmp_path / "run"


def test_stats_of_a_run_are_the_numbers_of_its_card(sft_run: Path) -> None:
    numbers = vtscot("stats", sft_run, "--json").json()
    card = (sft_run / "dataset" / "README.md").read_text()
    states = ", ".join(f"{count} {state}" for state, count in numbers["states"].items())
    assert f"{numbers['queries']} queries: {states}." in card
    assert f"mean {numbers['keyframe_iou']:.3f}" in card
    for turns, count in numbers["turns"].items():
        assert f"| {turns} | {count} |" in card
    for window, count in numbers["windows"].items():
        assert f"| {window} | {count} |" in card
    assert f"{numbers['leaks']['leaks']} of {numbers['leaks']['traced']} episodes" in card
    assert sum(numbers["states"].values()) == numbers["queries"] == 16


def test_stats_of_a_dataset_are_those_of_its_run_as_far_as_rows_tell(sft_run: Path) -> None:
    of_run, of_rows = (vtscot("stats", name, "--json").json() for name in (sft_run, sft_run / "dataset"))
    assert set(of_rows["states"]) == {"kept", "rejected"}
    rejected = of_run["reasons"]["rejected"]
    for states in (of_run.pop("states"), of_rows.pop("states")):
        assert (states["kept"], states["rejected"]) == (sum(of_rows["turns"].values()), sum(rejected.values()))
    for told in (of_run, of_rows):
        assert told.pop("reasons")["rejected"] == rejected
        del told["queries"]
    assert of_rows == of_run


def test_stats_as_text(sft_run: Path) -> None:
    ended = vtscot("stats", sft_run)
    assert ended.code == 0 and ended.err == ""
    assert re.search(r"^queries +16$", ended.out, re.MULTILINE)
    assert re.search(r"^leak rate +\d\.\d{3}  \d+ of \d+ traced episodes$", ended.out, re.MULTILINE)
    assert "frames of the answer's window" in ended.out and "keyframe IoU" in ended.out


def test_stats_of_nothing_kept_have_no_bars() -> None:
    told = lines(row_figures([]))
    assert "mean keyframe IoU                  -" in told and not any("#" in line for line in told)


def test_stats_of_an_unfinished_run_say_what_is_missing(run: Path) -> None:
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM outcomes WHERE query_id LIKE '%/1'")
    ended = vtscot("stats", run, "--json")
    assert ended.code == 0 and ended.json()["queries"] < 16
    assert "queries were not worked on yet; vtscot build --run" in " ".join(ended.err.split())


BROKEN = {
    "a recipe edited by hand": "recipe.yaml",
    "a column missing": "has no column 'checks'",
    "another version": "made by a newer vtscot",
    "no dataset and no run": "is no run and no dataset of vtscot",
}


@pytest.mark.parametrize("name", BROKEN)
def test_stats_name_what_is_broken(name: str, run: Path) -> None:
    import pyarrow.parquet as pq

    target = run
    if name == "a recipe edited by hand":
        (run / "recipe.yaml").write_text("teacher: [")
    elif name == "a column missing":
        target = run / "dataset"
        for shard in target.rglob("*.parquet"):
            pq.write_table(pq.read_table(shard).drop_columns(["checks"]), shard)
    elif name == "another version":
        with sqlite3.connect(run / "ledger.sqlite") as ledger:
            ledger.execute("UPDATE settings SET value = '99' WHERE name = 'format'")
    else:
        target = run / "index" / "nothing"
        target.mkdir()
    ended = vtscot("stats", target)
    assert ended.code == 1 and BROKEN[name] in ended.complaint


def test_split_and_merge_as_they_are_called(sft_run: Path, tmp_path: Path) -> None:
    ended = vtscot("split", sft_run, "--out", tmp_path / "parts", "--valid", "0.3", "--json")
    assert ended.code == 0, ended.err
    made = ended.json()
    assert [part["split"] for part in made["parts"] if part["config"] == "demo"] == ["train", "validation"]
    assert Path(made["report"]).is_file()
    ended = vtscot("merge", tmp_path / "parts", sft_run, "--out", tmp_path / "both")
    assert ended.code == 0, ended.err
    assert re.search(rf"^duplicates left out +{made['rows']}$", ended.out, re.MULTILINE)
    again = vtscot("stats", tmp_path / "both", "--json").json()
    assert again == row_figures(entry.counted for entry in open_dataset(str(sft_run)).entries).json()
    ended = vtscot("push", tmp_path / "both", "--repo", "user/name", "--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    assert ended.code == 0, ended.err


USAGE = {
    "one alone": (["merge", "RUN", "--out", "OUT"], "two or more"),
    "the same twice": (["merge", "RUN", "RUN", "--out", "OUT"], "named twice"),
    "into itself": (["split", "RUN", "--out", "RUN"], "choose another folder"),
    "all of it": (["split", "RUN", "--out", "OUT", "--valid", "1"], "leave something to train on"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_use_is_refused(name: str, sft_run: Path, tmp_path: Path) -> None:
    words, complaint = USAGE[name]
    places = {"RUN": str(sft_run), "OUT": str(tmp_path / "out")}
    ended = vtscot(*(places.get(word, word) for word in words))
    assert ended.code == 2 and complaint in ended.complaint
    assert not (tmp_path / "out").exists()


def test_a_run_whose_dataset_is_older_than_its_ledger_is_not_merged(run: Path, sft_run: Path, tmp_path: Path) -> None:
    ended = vtscot("split", sft_run / "dataset", "--out", tmp_path / "parts", "--valid", "0.3", "--json")
    assert ended.code == 0, ended.err
    shutil.rmtree(run / "dataset")
    shutil.copytree(tmp_path / "parts" / "dataset", run / "dataset")
    for shard in (run / "dataset").rglob("validation-*.parquet"):
        shard.unlink()
    readme = run / "dataset" / "README.md"
    readme.write_text(re.sub(r"  - name: validation\n.*\n.*\n", "", readme.read_text()))
    ended = vtscot("split", run, "--out", tmp_path / "out")
    assert ended.code == 1 and "is older than the run's ledger" in ended.complaint
