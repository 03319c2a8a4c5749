"""What may not be published: rows, files, texts and pictures that a push refuses, before it asks the Hub anything."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.outcomes import LICENCES, all_outcomes, make_world
from vtscot.errors import PublishError
from vtscot.publish import Target, publish, push, validate_dataset
from vtscot.publish.leaks import leaks, leaves_root
from vtscot.publish.pictures import picture_problems


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    publish(all_outcomes(), make_world(run / "frames").context(), run)
    return run


@pytest.fixture
def run(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published / "dataset", tmp_path / "run" / "dataset")
    return tmp_path / "run"


def test_a_fresh_dataset_is_fit(run: Path) -> None:
    assert validate_dataset(run / "dataset") == []
    assert validate_dataset(run / "dataset", LICENCES) == []


def edit(run: Path, config: str, change: Any) -> None:
    """Rewrite the rows of a config by hand, keeping the schema."""
    path = run / "dataset" / config / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def with_images(rows: list[dict[str, Any]]) -> None:
    rows[0]["images"] = [{"bytes": b"jpeg", "path": None}] * len(rows[0]["frames"])


def with_masks_called_free(rows: list[dict[str, Any]]) -> None:
    rows[0] |= {"redistributable": True, "track": ["abc"]}


EDITS = {
    "frames of a third party": ("mevis", with_images, "images of a source whose licence"),
    "masks of a third party": ("mevis", with_masks_called_free, "track of a source whose licence"),
    "another licence": ("mevis", lambda rows: rows[0].update(licence="mit"), "it states licence 'mit'"),
    "unknown source": ("demo", lambda rows: rows[0].update(source="who"), "source 'who' is not known"),
    "an image too few": ("demo", lambda rows: rows[0]["images"].pop(), "image placeholders, but"),
    "local path in a name": (
        "demo",
        lambda rows: rows[0]["frames"][0].update(name="/home/me/1.jpg"),
        "path of this machine",
    ),
    "local path in a thought": (
        "demo",
        lambda rows: rows[0]["messages"][2]["content"][0].update(text="see /home/me/x.jpg"),
        "path of this machine: /home/me/x.jpg",
    ),
    "secret": (
        "demo",
        lambda rows: rows[0].update(teacher="openai:" + "sk-" + "a1" * 12),
        "looks like a secret: sk-a1a",
    ),
    "a value that a check of counts does not see": (
        "demo",
        lambda rows: rows[0].update(expression=rows[0]["expression"][::-1]),
        "they were changed after it",
    ),
    "a picture that is none": (
        "demo",
        lambda rows: rows[0]["images"][0].update(bytes=b"GIF89a"),
        "an image that is neither JPEG nor PNG",
    ),
    "a picture with a local name": (
        "demo",
        lambda rows: rows[0]["images"][0].update(path="C:\\frames\\1.jpg"),
        "path of this machine: C:",
    ),
    "rows gone": ("demo", lambda rows: rows.pop(), "README.md states 5 rows, the files hold 4"),
}


@pytest.mark.parametrize("name", EDITS)
def test_rows_that_may_not_go(name: str, run: Path) -> None:
    config, change, message = EDITS[name]
    edit(run, config, change)
    problems = validate_dataset(run / "dataset", LICENCES)
    assert any(message in problem for problem in problems), problems


def test_push_refuses_them_before_it_asks_anything(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # nobody answers there
    edit(run, "mevis", with_images)
    said: list[str] = []
    with pytest.raises(PublishError, match=r"is not fit to be published: .*vtscot rebuild RUN"):
        push(run / "dataset", Target("someone/episodes"), say=said.append, confirm=lambda: True, licences=LICENCES)
    assert any("images of a source whose licence" in line for line in said)


def test_frames_that_the_rows_call_private_are_seen_without_knowing_the_sources(run: Path) -> None:
    edit(run, "mevis", with_images)
    assert any("images of a source" in problem for problem in validate_dataset(run / "dataset"))


def drop_column(directory: Path) -> None:
    path = directory / "demo" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["plan"]), path)


def retype_column(directory: Path) -> None:
    path = directory / "demo" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("seed")
    pq.write_table(table.set_column(place, "seed", table.column("seed").cast(pa.string())), path)


def footer(directory: Path) -> None:
    path = directory / "demo" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"where": b"/home/me/build"}), path)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'

FILES = {
    "column missing": (drop_column, "column 'plan' is missing"),
    "column of another type": (retype_column, "column 'seed' is string, not int64"),
    "truncated": (
        lambda d: (d / "demo" / "train-00000-of-00001.parquet").write_bytes(b"PAR1"),
        "not a parquet file that can be read",
    ),
    "frames beside it": (lambda d: (d / "00000.jpg").write_bytes(b"jpeg"), "00000.jpg is no part of a dataset"),
    "folder of a hydrated dataset": (
        lambda d: shutil.copytree(d / "demo", d / "frames"),
        "frames/train-00000-of-00001.parquet: no config of README.md names it",
    ),
    "picture that the card does not show": (
        lambda d: (d / "assets" / "more.svg").write_text(SVG),
        "assets/more.svg: README.md does not show it",
    ),
    "picture of another kind": (
        lambda d: (d / "assets" / "example.jpg").write_bytes(b"GIF89a"),
        "assets/example.jpg: is called a JPEG picture, but is none",
    ),
    "licence gone": (
        lambda d: (d / "README.md").write_text(re.sub(r"(?m)^license.*\n", "", (d / "README.md").read_text())),
        "README.md states no licence",
    ),
    "machine in the footer": (footer, "a path of this machine: /home/me/build"),
    "link": (lambda d: (d / "LICENSE.md").unlink() or (d / "LICENSE.md").symlink_to("/etc/hostname"), "is a link"),
    "shard that no config names": (
        lambda d: shutil.copy(d / "demo" / "train-00000-of-00001.parquet", d / "demo" / "extra.parquet"),
        "demo/extra.parquet: no config of README.md names it",
    ),
    "shard gone": (lambda d: (d / "mevis" / "train-00000-of-00001.parquet").unlink(), "no file matches"),
    "card gone": (lambda d: (d / "README.md").unlink(), "holds no README.md"),
    "card without metadata": (lambda d: (d / "README.md").write_text("# hello\n"), "no YAML metadata"),
    "card of nonsense": (
        lambda d: (d / "README.md").write_text("---\nconfigs: 3\n---\n"),
        "README.md lists no config",
    ),
    "token in the card": (
        lambda d: (d / "README.md").write_text((d / "README.md").read_text() + "hf_" + "ab" * 12),
        "README.md: what looks like a secret: hf_aba",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_may_not_go(name: str, run: Path) -> None:
    change, message = FILES[name]
    change(run / "dataset")
    problems = validate_dataset(run / "dataset", LICENCES)
    assert any(message in problem for problem in problems), problems


def test_third_party_rows_alone_go_without_raster_pictures(run: Path) -> None:
    dataset = run / "dataset"
    for config in ("demo", "rejected"):
        shutil.rmtree(dataset / config)
    problems = validate_dataset(dataset, LICENCES)
    assert "assets/example.jpg: no source of this dataset allows to pass on its frames" in " ".join(problems)
    assert not any(".svg" in problem and "allows" in problem and "example" not in problem for problem in problems)


SECRETS = {
    "Hugging Face": "hf_" + "aB3" * 8,
    "OpenAI": "sk-proj-" + "aB3" * 8,
    "Anthropic": "sk-ant-api03-" + "aB3" * 8,
    "AWS": "AKIA" + "ABCD1234" * 2,
    "AWS, for a while": "ASIA" + "ABCD1234" * 2,
    "GitHub": "ghp_" + "aB3" * 12,
    "GitHub, fine-grained": "github_pat_" + "aB3" * 12,
    "Google": "AIza" + "aB3-_" * 7,
    "Slack": "xoxb-" + "123456789-" * 2 + "a",
    "web token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIx" + "MjM." + "SflKxwRJSM",
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "bearer": "Authorization: Bearer " + "a1b2c3d4" * 4,
    "password in an address": "https://me:" + "pass" + "@proxy.example/v1",
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("around", ["{}", "key={}", '{{"key": "{}"}}', "the {}, as told"])
def test_secrets_are_seen_and_not_repeated(name: str, around: str) -> None:
    (found,) = leaks(around.format(SECRETS[name]))
    assert found.startswith("what looks like a secret: ")
    assert SECRETS[name] not in found


def test_the_value_of_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_KEY", "correct horse battery")
    assert list(leaks("said: correct horse battery")) == ["the value of the environment variable MY_SERVICE_KEY"]


PLACES = [
    "/home/me/x.jpg",
    "/Users/me/x.jpg",
    "/Volumes/Disk/x.jpg",
    "/var/folders/ab/x.jpg",
    "/mnt/nfs/davis",
    "~/data/x.jpg",
    "~me/data/x.jpg",
    "C:\\Users\\me\\x.jpg",
    "C:\\\\Users\\\\me",
    "D:/videos/x.jpg",
    "\\\\server\\share\\x.jpg",
    "file:///anywhere/x.jpg",
    "file:/anywhere/x.jpg",
    "FILE:///anywhere/x.jpg",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "around", ["{}", "see {} here", '{{"root": "{}"}}', "root={}", "first\n{}", "first\\n{}", "({})", "[x]({})"]
)
def test_paths_of_this_machine_are_seen(place: str, around: str) -> None:
    found = list(leaks(around.format(place)))
    assert len(found) == 1
    assert found[0].startswith("a path of this machine: ")


HARMLESS = [
    "the risk-taker and the task-oriented one that follows",
    "left/right of the dog, and/or behind it",
    "https://huggingface.co/datasets/someone/home/x",
    "see https://example.org/data/x, mailto:me@example.org",
    "~3/4 of the frame, ~ 1/2 of the time",
    "at 3:/4, ratio 1:2, a ~ b, ~5 frames",
    "UVO/all/-fbscFfkh4M",
    "demo/train-00000-of-00001.parquet",
    "the bearer of the yellow umbrella walks away",
    "/no_think",
    '{"name": "iou", "value": 0.5}',
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_a_little_like_it_may_go(text: str) -> None:
    assert list(leaks(text)) == []


@pytest.mark.parametrize("name", ["/a/b.jpg", "..", "a/../b", "C:/a.jpg", "c:\\a.jpg", "\\\\s\\a", "~/a", "file://a"])
def test_names_that_leave_their_dataset(name: str) -> None:
    assert leaves_root(name)
    assert not leaves_root("UVO/all/00000.jpg")


def picture(kind: str, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind, **options)
    return out.getvalue()


def noted() -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "from my desk")
    return info


PICTURES: dict[str, tuple[str, bytes, str | None]] = {
    "JPEG": ("a.jpg", picture("JPEG"), None),
    "progressive JPEG": ("a.jpeg", picture("JPEG", progressive=True, dpi=(72, 72)), None),
    "PNG": ("a.png", picture("PNG"), None),
    "SVG": ("a.svg", SVG.encode(), None),
    "empty": ("a.png", b"", "0 bytes"),
    "too large": ("a.jpg", b"\xff\xd8\xff" + bytes(5 * 2**20), "has at most"),
    "a PNG called JPEG": ("a.jpg", picture("PNG"), "is called a JPEG picture, but is none"),
    "cut off": ("a.png", picture("PNG")[:40], "is no PNG picture that can be read"),
    "EXIF": ("a.jpg", picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), "holds more than a picture (exif)"),
    "comment": ("a.png", picture("PNG", pnginfo=noted()), "holds more than a picture (Comment)"),
    "too wide": ("a.png", picture("PNG")[:16] + (9000).to_bytes(4, "big") + picture("PNG")[20:], "PNG picture|at most"),
    "script": ("a.svg", SVG.replace("<rect", "<script>x()</script><rect").encode(), "holds <script>"),
    "handler": ("a.svg", SVG.replace("<rect", '<rect onload="x()"').encode(), "holds onload="),
    "address": ("a.svg", SVG.replace("<rect", '<a href="https://x.y"/><rect').encode(), "holds href="),
    "embedded picture": (
        "a.svg",
        SVG.replace("<rect", '<image href="data:image/png;base64,AA"/><rect').encode(),
        "<image>",
    ),
    "entities": ("a.svg", b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.encode(), "declares a document type"),
    "no SVG": ("a.svg", b"<html></html>", "is called an SVG picture, but is none"),
    "no XML": ("a.svg", b"PNG", "is no SVG picture that can be read"),
    "path in an SVG": (
        "a.svg",
        SVG.replace("<rect", "<desc>/home/me/plot.py</desc><rect").encode(),
        "path of this machine",
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_the_card(name: str, tmp_path: Path) -> None:
    file, data, message = PICTURES[name]
    (tmp_path / file).write_bytes(data)
    problems = list(picture_problems(tmp_path / file))
    if message is None:
        assert problems == []
    else:
        assert any(part in " ".join(problems) for part in message.split("|")), problems


def test_publish_does_not_load_the_client() -> None:
    heavy = ("huggingface_hub", "pyarrow", "cv2", "jinja2", "datasets")
    code = f"import sys, vtscot.publish; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
