"""`vtscot export`, `import` and `validate` on real and demo runs, and on files that are not what they should be."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Ended
from tests.released import load, load_rl
from tests.sft import BUDGET
from vtscot.build import build
from vtscot.cli.main import run as run_command
from vtscot.errors import DataError
from vtscot.interchange import export, findings
from vtscot.interchange.losses import LOSSES, NOTES, REFUSALS
from vtscot.interchange.opening import open_items
from vtscot.ledger import Ledger
from vtscot.publish.reading import Rows, find_shards, read_episode
from vtscot.recipe import load_recipe
from vtscot.records import Record
from vtscot.run import run_recipe


def vtscot(*arguments: str | Path) -> Ended:
    """The command line in this process: what a command of its own takes to start is not what is tested here."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


REAL = {"mevis": "mevis", "revos": "revos", "ref-youtube-vos": "ref-youtube-vos"}
SMALL = [part for key, value in BUDGET.items() for part in ("--set", f"budget.{key}={value}")]


def records_of(run: Path) -> list[Record]:
    """The records of a run in the order of their ids."""
    with Ledger(run / "ledger.sqlite", read_only=True) as ledger:
        found = [outcome.record for outcome in ledger.outcomes() if outcome.record is not None]
    return sorted(found, key=lambda record: record.query.id)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=sorted(REAL))
def real_run(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of real videos, graded with boxes: the words do not depend on the segmenter."""
    run = tmp_path_factory.mktemp("real") / "run"
    flags = {"source.root": str(shared_data / REAL[request.param]), "verify.segmenter": "box", "workers": 1}
    build(load_recipe(request.param, None, (), {"source.split": "train", **flags}), run)
    return run


def test_every_record_of_real_runs_keeps_the_loaders_rules(real_run: Path, tmp_path: Path) -> None:
    with open_items(str(real_run), rejected=True) as items:
        result = export(items, "videoseg-o3", tmp_path / "o3.json", mask_dict=tmp_path / "mask_dict.json")
    with open_items(str(real_run), rejected=True) as items:
        export(items, "videoseg-o3-rl", tmp_path / "rl.json")
    masks, entries = read(tmp_path / "mask_dict.json"), read(tmp_path / "rl.json")
    ours = {record.query.id: record for record in sorted(records_of(real_run), key=lambda r: not r.verdict.kept)}
    lost = {name for name, _, _ in result.refused}
    written = [record for name, record in ours.items() if name not in lost]
    assert written and result.written == len(written) == len(entries)
    for record, released, entry in zip(written, read(tmp_path / "o3.json"), entries, strict=True):
        loaded = load(released)
        looks = [shown.decoded for shown in record.episode.observations[1:]]
        assert loaded.masks == [*released["sample_frame_indice"], *looks]
        seen = load_rl(entry)
        for anno_id in map(str, released["anno_id"]):
            assert len(masks[anno_id]) == len(released["frames"])
        tracks = [masks[str(anno_id)] for anno_id in released["anno_id"]]
        assert seen == [i for i in range(len(released["frames"])) if any(track[i] is not None for track in tracks)]


@pytest.mark.parametrize("name", ["videoseg-o3", "videoseg-o3-rl", "sharegpt"])
def test_a_dataset_without_frames_gives_the_same_file_with_the_users_copy(
    name: str, real_run: Path, tmp_path: Path
) -> None:
    root = Path(run_recipe(real_run).source.root or "")
    places = {"run": (real_run, None), "dataset": (real_run / "dataset", root)}
    for out, (where, copy) in places.items():
        with open_items(str(where), rejected=True, root=copy) as items:
            assert export(items, name, tmp_path / out / "file.json").written
    assert (tmp_path / "run" / "file.json").read_bytes() == (tmp_path / "dataset" / "file.json").read_bytes()
    assert list(findings(tmp_path / "dataset" / "file.json", name)) == []


def test_a_row_is_not_completed_from_other_frames(real_run: Path, demo_root: Path, tmp_path: Path) -> None:
    recipe = run_recipe(real_run)
    with (
        open_items(str(real_run / "dataset"), rejected=True, root=demo_root) as items,
        pytest.raises(DataError) as error,
    ):
        export(items, "videoseg-o3", tmp_path / "x.json")
    reason = "changed-source" if recipe.source.name == "mevis" else "unreadable"
    assert reason in str(error.value) and not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("name", ["videoseg-o3", "videoseg-o3-rl", "sharegpt", "trl"])
def test_formats_of_a_demo_run(name: str, sft_run: Path, tmp_path: Path) -> None:
    out = tmp_path / ("file.parquet" if name == "trl" else "file.json")
    ended = vtscot("export", sft_run, "--format", name, "--out", out, "--json")
    assert ended.code == 0, ended.err
    figures = ended.json()
    kept = [record for record in records_of(sft_run) if record.verdict.kept]
    assert figures["written"] + figures["refused"] == len(kept) and figures["written"]
    assert set(figures["losses"]) <= set(LOSSES) and figures["losses"]["verdict"] == figures["written"]
    checked = vtscot("validate", out)
    assert checked.code == 0, checked.out
    assert checked.out == f"{figures['written']} records of {name}, 0 with faults\n"


def test_every_record_of_a_demo_run_comes_back(sft_run: Path, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{i}.json" for i in range(3))
    root = ("--root", sft_run / "source")
    assert vtscot("export", sft_run, "--format", "videoseg-o3", "--out", first).code == 0
    assert [load(record) for record in read(first)]
    ended = vtscot("import", first, "--source", "mevis", *root, "--out", tmp_path / "back", *SMALL, "--json")
    assert ended.code == 0, ended.err
    assert (ended.json()["imported"], ended.json()["refused"]) == (len(read(first)), 0)
    own = {record.query.video + "/" + record.query.exp_id: record.episode for record in records_of(sft_run)}
    rows = Rows(find_shards(tmp_path / "back"))
    assert len(rows) == len(read(first))
    for i in range(len(rows)):
        episode = read_episode(rows.row(i))
        before = own[episode.query_id.removeprefix("mevis/train/")]
        assert episode.model_copy(update={"query_id": before.query_id}) == before
    assert vtscot("export", tmp_path / "back", "--format", "videoseg-o3", "--out", second, *root).code == 0
    dataset = sft_run / "dataset"
    assert vtscot("export", dataset, "--format", "videoseg-o3", "--out", third, *root, "--source", "demo").code == 0
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_an_import_says_that_nobody_verified_it(sft_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "o3.json"
    vtscot("export", sft_run, "--format", "videoseg-o3", "--out", file)
    file.write_text(json.dumps(read(file)[:3]))
    command = ("import", file, "--source", "mevis", "--root", sft_run / "source", *SMALL)
    assert vtscot(*command, "--out", tmp_path / "plain").code == 0
    row = _row(tmp_path / "plain")
    checks = json.loads(row["checks"])
    assert (row["teacher"], row["grounder"], row["segmenter"], row["kept"]) == ("imported", "none", "none", True)
    assert checks[0]["name"] == "imported" and "not verified" in checks[0]["detail"]
    assert {"format", "leakage", "window", "keyframe"} <= {check["name"] for check in checks}
    assert row["images"] is None  # MeViS does not allow to pass them on
    boxes = ("--verify", "--set", "verify.segmenter=box", "--set", "workers=1")
    ended = vtscot(*command, "--out", tmp_path / "verified", *boxes, "--json")
    assert ended.code == 0, ended.err
    states = ended.json()["states"]
    assert states["kept"] + states["rejected"] == 3 and states["kept"]
    assert (_row(tmp_path / "verified")["grounder"], _row(tmp_path / "verified")["teacher"]) == ("words", "imported")


def _row(directory: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    (shard,) = directory.glob("mevis/*.parquet")
    row: dict[str, Any] = pq.read_table(shard).slice(0, 1).to_pylist()[0]
    return row


def test_llama_factory_finds_its_images(sft_run: Path, tmp_path: Path) -> None:
    assert vtscot("export", sft_run, "--format", "sharegpt", "--out", tmp_path / "a").code == 0
    info = read(tmp_path / "a" / "dataset_info.json")["vts_cot"]
    samples = read(tmp_path / "a" / info["file_name"])
    for sample in samples:
        said = sample[info["columns"]["messages"]]
        assert [one["from"] for one in said] == ["system", *["human", "gpt"] * (len(said) // 2)]
        assert sum(one["value"].count("<image>") for one in said) == len(sample["images"])
        assert all((tmp_path / "a" / image).read_bytes()[:2] == b"\xff\xd8" for image in sample["images"])
    again = vtscot("export", sft_run, "--format", "sharegpt", "--out", tmp_path / "b")
    assert again.code == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    (tmp_path / "b" / "dataset_info.json").write_text('{"mine": {}}')
    ended = vtscot("export", sft_run, "--format", "sharegpt", "--out", tmp_path / "b")
    assert ended.code == 0 and '"vts_cot"' in ended.err
    assert read(tmp_path / "b" / "dataset_info.json") == {"mine": {}}


def test_trl_takes_the_samples_as_they_are(sft_run: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra `train` or `dev`")
    files = tmp_path / "a.parquet", tmp_path / "b.jsonl"
    for file in files:
        assert vtscot("export", sft_run / "dataset", "--format", "trl", "--out", file).code == 0
    inside, beside = (
        datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
        for kind, file in zip(("parquet", "json"), files, strict=True)
    )
    assert len(inside) == len(beside) > 0
    for one, other in zip(inside, beside, strict=True):
        places = sum(part["type"] == "image" for message in one["messages"] for part in message["content"])
        assert places == len(one["images"]) == len(other["images"])
        assert _spoken(one["messages"]) == _spoken(other["messages"]) and one["images"][0].size[0] > 0
        jpeg = (tmp_path / other["images"][0]).read_bytes()
        assert inside.with_format("arrow")[0]["images"][0].as_py()[0]["bytes"][:2] == jpeg[:2]
    trl = pytest.importorskip("trl.data_utils", reason="needs the extra `train`")
    prepared = trl.prepare_multimodal_messages(inside[0]["messages"], images=inside[0]["images"])
    assert [message["role"] for message in prepared[:3]] == ["system", "user", "assistant"]


def _spoken(messages: list[dict[str, Any]]) -> list[tuple[str, list[tuple[str, str | None]]]]:
    return [(one["role"], [(part["type"], part.get("text")) for part in one["content"]]) for one in messages]


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Change, str]] = {
    "trace": (lambda r: r["cot_trace"].insert(0, {"start_frame": 0, "end_frame": 1, "key_frame": 0}), "trace"),
    "traversal of the video": (lambda r: r.update(video_name="../../secret"), "path"),
    "traversal of a frame": (lambda r: r["frames"].__setitem__(0, "../../secret"), "path"),
    "other frames": (lambda r: r["frames"].__setitem__(0, "99999"), "frames-differ"),
    "fewer frames": (lambda r: r["frames"].append("99999"), "frames-differ"),
    "another video": (lambda r: r.update(video_name="nowhere"), "unknown-video"),
    "an unknown object": (lambda r: r.update(anno_id=[10**30]), "unknown-anno"),
    "a huge index": (lambda r: r.update(sample_frame_indice=[10**300]), "range"),
    "a wrong type": (lambda r: r.update(frames="00000"), "type"),
    "no thought": (
        lambda r: r["conversations"][-1].update(
            value='<answer><VTG>{"start": 0, "end": 1, "keyframe": 0}</VTG>[SEG]</answer>'
        ),
        "grammar",
    ),
}


def test_every_record_is_imported_or_refused_with_a_reason(sft_run: Path, tmp_path: Path) -> None:
    good, file = tmp_path / "good.json", tmp_path / "mixed.json"
    assert vtscot("export", sft_run, "--format", "videoseg-o3", "--out", good, "--min-turns", "2").code == 0
    first, second = read(good)[:2]
    mixed = []
    for change, _ in WRONG.values():
        mixed.append(json.loads(json.dumps(first)))
        change(mixed[-1])
    stranger = json.loads(json.dumps(second))
    stranger.update(exp="a text that the source does not have", extra=1)
    file.write_text(json.dumps([*mixed, first, first, stranger, None]))
    command = ("import", file, "--source", "mevis", "--root", sft_run / "source", *SMALL, "--out", tmp_path / "out")
    ended = vtscot(*command, "--json")
    assert ended.code == 0, ended.err
    figures = ended.json()
    rules = [(one["record"], one["rule"]) for one in figures["refusals"]]
    count = len(WRONG)
    assert rules == [*enumerate(rule for _, rule in WRONG.values()), (count + 1, "duplicate"), (count + 3, "type")]
    assert (figures["records"], figures["imported"], figures["refused"]) == (count + 4, 2, count + 2)
    assert figures["losses"] == {"unknown-fields": 1, "new-expression": 1} and figures["unknown_fields"] == ["extra"]
    assert all(f"record {number}: " in ended.err for number, _ in rules)
    checked = vtscot("validate", file, "--format", "videoseg-o3")
    assert checked.code == 1 and "record 0: cot_trace[0].start_frame: trace: " in checked.out
    assert "Traceback" not in checked.err and checked.out.splitlines()[-1].startswith(f"{count + 4} records")


def test_frames_that_are_missing_under_the_root_are_a_reason(sft_run: Path, tmp_path: Path) -> None:
    file, root = tmp_path / "o3.json", tmp_path / "root"
    vtscot("export", sft_run, "--format", "videoseg-o3", "--out", file)
    shutil.copytree(sft_run / "source", root)
    gone = read(file)[0]["video_name"]
    next((root / "train" / "JPEGImages" / gone).iterdir()).unlink()
    ended = vtscot("import", file, "--source", "mevis", "--root", root, "--out", tmp_path / "out", *SMALL, "--json")
    lost = sum(record["video_name"] == gone for record in read(file))
    if lost == len(read(file)):
        assert ended.code == 1 and "frame-missing" in ended.complaint
    else:
        assert ended.json()["reasons"] == {"frame-missing": lost}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"video_name": "a"', "not usable JSON"),
        ("", "not usable JSON"),
        ('{"video_name": "a"}', "a JSON list"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "no known format"),
        ("[1, 2]", "no known format"),
        ("\ufeff[NaN]", "not usable JSON"),
    ],
    ids=["truncated", "empty", "an object", "deep", "no records", "numbers", "NaN"],
)
def test_a_file_that_is_no_list_of_records(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(text, encoding="utf-8")
    ended = vtscot("validate", file)
    assert ended.code == 1 and complaint in ended.complaint and "file.json" in ended.complaint


def test_only_a_dataset_is_replaced(sft_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "o3.json"
    vtscot("export", sft_run, "--format", "videoseg-o3", "--out", file)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    command = ("import", file, "--source", "mevis", "--root", sft_run / "source", *SMALL, "--out", tmp_path / "mine")
    ended = vtscot(*command)
    assert ended.code == 2 and "thesis.txt" in ended.complaint
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--format", "pickle", "--out", "x.json"], "no format 'pickle'"),
        (["--format", "trl", "--out", "x.json"], ".parquet"),
        (["--format", "trl", "--out", "x.parquet", "--mask-dict", "m.json"], "masks are written beside"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], complaint: str, sft_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = vtscot("export", sft_run, *options)
    assert ended.code == 2 and complaint in ended.complaint
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_nothing_can_be(sft_run: Path, tmp_path: Path) -> None:
    ended = vtscot("export", sft_run / "dataset", "--format", "videoseg-o3", "--out", tmp_path / "x.json")
    assert ended.code == 1 and "no-frame-names" in ended.complaint and "--root" in ended.complaint
    assert not list(tmp_path.iterdir())


def test_the_documents_name_every_loss_and_reason() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "interchange.md").read_text()
    told = set(re.findall(r"`([a-z-]+)`", text))
    assert set(LOSSES) | set(NOTES) | set(REFUSALS) <= told
