"""The figures of a training and its report: what is drawn, said and escaped."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, find_chromium
from vtscot.errors import DataError
from vtscot.sft.report import MEANINGS, render_report, write_report
from vtscot.training import events
from vtscot.training.curves import brief, curve, nice_ticks, smoothed
from vtscot.training.events import crc32c
from vtscot.training.metrics import append, read_metrics, rewind

TOLD: dict[str, Any] = {
    "vtscot": "0.1.0",
    "data": "runs/<b>bold</b>",
    "model": "nano",
    "finished": True,
    "records": 12,
    "tokens": 3456,
    "too_long": {"demo/train/a/0": 9000},
    "left_out": {"rejected": 3},
    "parameters": 1_000_000,
    "trained": {"language_model": 12_345, "mask_decoder": 678},
}
TERMS = ("loss", "lm", "bce", "dice", "object", "accuracy", "iou", "lr", "grad_norm")


def line(step: int, **changes: float) -> dict[str, Any]:
    figures = dict.fromkeys(TERMS, 1 / step)
    return {"step": step, "epoch": step / 10, **figures, "tokens": 1000.0, "seconds": 0.5, **changes}


def test_the_page_shows_every_curve_and_escapes_what_comes_from_outside() -> None:
    page = render_report(TOLD, {"epochs": 1, "seed": "<script>"}, [line(step) for step in range(1, 50)])
    assert page.count("<svg") == len(MEANINGS)
    assert "<b>bold" not in page
    assert "<script>" not in page
    for text in ("12,345", "demo/train/a/0", "9,000 tokens", "rejected", "49", "2,000 tokens/s", "finished"):
        assert text in page


def test_the_page_loads_without_complaints_in_light_and_dark(tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here")
    (tmp_path / "page.html").write_text(render_report(TOLD, {}, [line(step) for step in range(1, 50)]))
    with chromium(program) as page:
        for dark, width in [(False, 1200), (True, 400)]:
            page.resize(width, 900, dark=dark)
            page.open((tmp_path / "page.html").as_uri())
            assert page.run("document.documentElement.scrollWidth") <= width
        paper = page.run("getComputedStyle(document.body).backgroundColor")
        assert (paper, page.errors) == ("rgb(18, 19, 22)", [])
        assert all(url.startswith("file:") for url in page.requests)


def test_a_training_that_logged_nothing_has_a_page() -> None:
    assert "No step has been logged yet" in render_report(TOLD | {"finished": False}, {}, [])


def test_the_report_is_made_from_the_files_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"training\.json cannot be read"):
        write_report(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps(TOLD))
    (tmp_path / "recipe.yaml").write_text("epochs: 1\n")
    append(tmp_path, line(1))
    assert "epochs: 1" in write_report(tmp_path).read_text()


def test_rewinding_forgets_what_came_after_and_a_line_that_is_cut(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        append(tmp_path, line(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with pytest.raises(DataError, match="is damaged"):
        read_metrics(tmp_path)
    rewind(tmp_path, 2)
    assert [one["step"] for one in read_metrics(tmp_path)] == [1, 2]
    rewind(tmp_path, 0)
    assert read_metrics(tmp_path) == []


def read_records(data: bytes) -> list[bytes]:
    """The messages of a TFRecord file; every checksum is checked against the definition."""
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for part, told in [(data[:8], data[8:12]), (body, data[12 + length : 16 + length])]:
            crc = crc32c(part)
            rotated = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
            assert struct.unpack("<I", told)[0] == (rotated + 0xA282EAD8) % 2**32
        found.append(body)
        data = data[16 + length :]
    return found


def test_the_log_for_tensorboard_is_in_its_format(tmp_path: Path) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    events.begin(tmp_path, [line(1), line(2)])
    events.add(tmp_path, line(300, loss=0.25))
    head, *rest = read_records((tmp_path / events.FILE).read_bytes())
    assert head.endswith(b"\x1a\x0dbrain.Event:2")
    assert len(rest) == 3
    assert rest[-1][9:12] == b"\x10\xac\x02"  # step 300 as a varint, after the time
    assert b"\x0a\x0atrain/loss\x15" + struct.pack("<f", 0.25) in rest[-1]


def test_tensorboard_reads_the_figures(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError)
    events.begin(tmp_path, [line(1), line(2)])
    events.add(tmp_path, line(300, loss=0.25))
    read = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("train/loss")] == [(1, 1.0), (2, 0.5), (300, 0.25)]


def test_a_curve_runs_from_left_to_right_and_low_values_are_low() -> None:
    drawn = curve("loss", "", [1, 2, 3], [3.0, 2.0, 1.0])
    points = [tuple(map(float, point.split(","))) for point in drawn.raw.split()]
    assert [x for x, _ in points[:3]] == sorted(x for x, _ in points[:3])
    assert [y for _, y in points[:3]] == sorted(y for _, y in points[:3])  # SVG counts downwards
    assert drawn.last == "1"


@pytest.mark.parametrize("values", [[0.0], [2.0, 2.0], [-3.0], [1e-9, 2e-9]], ids=str)
def test_flat_and_single_values_are_drawn(values: list[float]) -> None:
    drawn = curve("lr", "", list(range(1, len(values) + 1)), values)
    assert len(drawn.raw.split()) > 1
    assert drawn.lone == (len(values) == 1)  # a dot: a line of no length would not be seen
    assert [label for _, label in drawn.ticks_x] == ["1", "2"][: len(values)]


def test_smoothing_is_the_mean_of_what_came_before() -> None:
    assert smoothed([1.0, 2.0, 3.0]) == [1, 2, 3]  # too few to smooth
    values = [float(i) for i in range(100)]
    assert smoothed(values)[50] == pytest.approx(49)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.13, 0.92, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 4e-5, [0, 1e-5, 2e-5, 3e-5, 4e-5]), (-1, 9, [-5, 0, 5, 10])],
    ids=str,
)
def test_ticks_are_round_and_hold_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00004, "4e-05"), (12345, "12.35k"), (9980.4, "9980"), (3.0, "3"), (0.5, "0.5")]
)
def test_numbers_are_brief(value: float, text: str) -> None:
    assert brief(value) in (text, text.replace("12.35k", "12.34k"))
