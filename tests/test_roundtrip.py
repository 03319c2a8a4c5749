"""Push -> load -> hydrate -> train-ready: a run on a third-party source goes to the Hub without its frames, comes back,
meets the user's own copy, and is what training on the run itself would see. The commands and the Python of
docs/dataset.md are what is run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("datasets", reason="loading needs the extra `train`")
pytest.importorskip("peft", reason="a policy needs the extra `train`")

import torch

from tests.cli import Ended, vtscot
from tests.hub import TOKEN, serve_hub
from vtscot.cli.main import run as run_command
from vtscot.policy.load import load_policy
from vtscot.policy.processor import PolicyProcessor
from vtscot.publish.columns import AT_HOME, arrow_schema
from vtscot.publish.shards import GROUP_BYTES
from vtscot.sft.batching import Collator
from vtscot.sft.encoding import Encoder
from vtscot.sft.examples import open_examples

DOCS = (Path(__file__).resolve().parents[1] / "docs" / "dataset.md").read_text()
REPO = "someone/mevis-cot"
SIDE = 64
FIRST_STEP = ("max_steps=1", "batch.effective=2", "batch.per_device=1", "losses.points=64", "max_tokens=4096")


def blocks(language: str) -> list[str]:
    """Code blocks of docs/dataset.md in a language."""
    fenced = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
    assert fenced
    return fenced


def commands(name: str, root: Path) -> list[list[str]]:
    """The command lines `vtscot NAME` of docs/dataset.md, for this repository and this copy of the source."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith(f"vtscot {name} ")]
    swapped = {"user/name": REPO, "MEVIS": str(root)}
    return [[swapped.get(word, word) for word in shlex.split(line, comments=True)[1:]] for line in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader of the docs works."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def env(place: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who is logged in to a stand-in for the Hub."""
    with serve_hub() as hub:
        home = {"HF_HOME": str(place / "hf"), "HF_DATASETS_CACHE": str(place / "cache")}
        yield {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", **home}


@pytest.fixture(scope="module")
def pushed(third_party: Path, env: dict[str, str]) -> Ended:
    ended = vtscot("push", third_party / "run", "--repo", REPO, "--yes", **env)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def hydrated(pushed: Ended, third_party: Path, place: Path, env: dict[str, str]) -> dict[str, Path]:
    """What the commands of the docs write, by the name of the folder."""
    done = {}
    for words in commands("hydrate", third_party / "tree"):
        ended = vtscot(*words, "--json", cwd=place, **env)
        assert ended.code == 0, ended.err
        figures = ended.json()
        assert figures["hydrated"] == figures["rows"] and not figures["differences"]
        done[words[words.index("--out") + 1]] = place / figures["out"]
    assert set(done) == {"at-home", "embedded"}
    return done


def python(code: str, place: Path, env: dict[str, str]) -> str:
    """What a process prints that knows the stand-in from its start."""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=place, env=os.environ | env, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def published(third_party: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    (shard,) = (third_party / "run" / "dataset" / "mevis").glob("train-*.parquet")
    rows: list[dict[str, Any]] = pq.read_table(shard).to_pylist()
    return rows


SHOW = f"""
import json
print(json.dumps(list(load_dataset("{REPO}", "mevis", split="train"))))
print([row["id"] for row in load_dataset("{REPO}", "mevis", split="train", streaming=True)])
"""


def test_load(pushed: Ended, third_party: Path, place: Path, env: dict[str, str]) -> None:
    """From the Hub, whole and streamed, by the docs: the rows that were published, without frames."""
    code = "".join(block for block in blocks("python") if '"user/name"' in block).replace("user/name", REPO) + SHOW
    printed = python(code, place, env).splitlines()
    rows = published(third_party)
    assert printed[0] == f"{rows[0]['expression']} {rows[0]['turns']}"
    assert printed[1] == f"{rows[0]['id']} {rows[0]['selections'][-1]}"
    assert json.loads(printed[2]) == rows
    assert printed[3] == str([row["id"] for row in rows])
    assert all(row[name] is None for row in rows for name in AT_HOME)


def test_the_shards_are_such_that_the_viewer_pages_through_them(third_party: Path) -> None:
    """A page index, row groups of bounded size, and features that need no guessing."""
    import pyarrow.parquet as pq

    for path in (third_party / "run" / "dataset").rglob("*.parquet"):
        with pq.ParquetFile(path) as file:
            assert file.schema_arrow.equals(arrow_schema())
            assert file.schema_arrow.metadata[b"huggingface"] == arrow_schema().metadata[b"huggingface"]
            for group in (file.metadata.row_group(i) for i in range(file.num_row_groups)):
                assert group.total_byte_size < 2 * GROUP_BYTES
                assert all(group.column(i).has_offset_index for i in range(group.num_columns))


def test_push_load_hydrate_train_ready(
    hydrated: dict[str, Path],
    third_party: Path,
    sft_policy: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole way; what `train` makes of the rows at its end is what it makes of the run."""
    torch.set_num_threads(1)
    processor = PolicyProcessor.from_pretrained(sft_policy)
    run = Encoder(open_examples(str(third_party / "run")), processor, SIDE, 64)
    kept = {row["id"] for row in published(third_party)}
    assert kept and kept <= set(run.examples.ids)
    for name, folder in hydrated.items():
        rows = Encoder(open_examples(str(folder)), processor, SIDE, 64)
        assert set(rows.examples.ids) <= set(run.examples.ids)
        places = [run.examples.ids.index(one) for one in rows.examples.ids]
        ours = Collator(rows)([(0, i, rows.sample(i)) for i in range(4)])
        theirs = Collator(run)([(0, i, run.sample(i)) for i in places[:4]])
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            if name == "at-home" or key not in ("pixel_values", "frames"):
                assert torch.equal(ours[key], value) if isinstance(value, torch.Tensor) else ours[key] == value, key
        near = (ours["pixel_values"] - theirs["pixel_values"]).abs().mean()
        assert near < 0.1  # after JPEG, where they are embedded
    flags = [flag for key in FIRST_STEP for flag in ("--set", key)]
    (train,) = commands("train sft", third_party)
    monkeypatch.chdir(place)
    code = run_command([*train, "--model", str(sft_policy), *flags, "--device", "cpu", "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert json.loads(printed.out)["steps"] == 1


def test_trl_trains_on_the_rows_as_they_are(
    hydrated: dict[str, Path], sft_policy: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SFTTrainer with the policy's language model and processor: one real step on rows of `load_dataset`."""
    trl = pytest.importorskip("trl", reason="needs the extra `train`")
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(place / "cache"))
    (code,) = (block for block in blocks("python") if "embedded" in block)
    known: dict[str, Any] = {}
    exec(code, known)
    torch.set_num_threads(1)
    policy, processor = load_policy(sft_policy, "cpu", "float32")
    arguments = trl.SFTConfig(
        output_dir=str(place / "trl"), max_steps=1, per_device_train_batch_size=1, max_length=None, bf16=False,
        use_cpu=True, report_to=[], save_strategy="no", gradient_checkpointing=False, logging_steps=1,
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=policy.vlm, args=arguments, train_dataset=known["rows"], processing_class=processor)
    batch = next(iter(trainer.get_train_dataloader()))
    images = len(batch["image_grid_thw"])
    assert images in {len(row["images"]) for row in known["rows"]}
    shown = sum(processor.tokens_of(grid) for grid in batch["image_grid_thw"])
    assert int((batch["input_ids"] == processor.image_token_id).sum()) == shown
    trainer.train()
    assert trainer.state.global_step == 1
    assert any(0 < entry.get("loss", 0) < 100 for entry in trainer.state.log_history)
