"""A vision tower that is not trained sees an image once in a training, and it changes no loss and no gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("accelerate", reason="training needs the extra `train`")
pytest.importorskip("peft", reason="training needs the extra `train`")

import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from tests.sft import SMALL
from tests.training import dying
from vtscot.progress import Silent
from vtscot.sft.batching import Collator
from vtscot.sft.recipe import SftRecipe
from vtscot.sft.train import train_sft
from vtscot.training.metrics import read_metrics


def recipe(megabytes: int, **trained: bool) -> SftRecipe:
    parts = {**SMALL["trainable"], "image_encoder": False, **trained}
    return SftRecipe.model_validate({**SMALL, "trainable": parts, "features_mb": megabytes})


def losses(out: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in read_metrics(out)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through the vision tower, call by call."""
    counts: list[int] = []
    see = Qwen3VLModel.get_image_features

    def seen(self: Any, pixels: Any, grids: Any, **kwargs: Any) -> Any:
        counts.append(len(grids))
        return see(self, pixels, grids, **kwargs)

    monkeypatch.setattr(Qwen3VLModel, "get_image_features", seen)
    return counts


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The images of all batches, each once per batch."""
    keys: list[Any] = []
    collate = Collator.__call__

    def collated(self: Any, batch: Any) -> Any:
        made = collate(self, batch)
        keys.extend(made["image_keys"])
        return made

    monkeypatch.setattr(Collator, "__call__", collated)
    return keys


def test_each_image_is_encoded_once_and_no_loss_or_gradient_changes(
    sft_run: Path, sft_policy: Path, tmp_path: Path, encoded: list[int], shown: list[Any]
) -> None:
    train_sft(str(sft_run), str(sft_policy), recipe(64), tmp_path / "kept")
    assert sum(encoded) == len(set(shown)) < len(shown)
    train_sft(str(sft_run), str(sft_policy), recipe(0), tmp_path / "anew")
    pairs = list(zip(losses(tmp_path / "kept"), losses(tmp_path / "anew"), strict=True))
    for kept, anew in pairs[:2]:  # what is rounded differently grows with every step
        assert kept == pytest.approx(anew, rel=1e-5, abs=1e-7)


def test_what_does_not_fit_is_encoded_again(
    sft_run: Path, sft_policy: Path, tmp_path: Path, encoded: list[int], shown: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("vtscot.sft.frozen.features_bytes", lambda image: 2**19)  # two images to the megabyte
    train_sft(str(sft_run), str(sft_policy), recipe(1), tmp_path / "few")
    assert len(set(shown)) < sum(encoded) <= len(shown)


def test_a_resumed_training_that_has_kept_nothing_yet_has_the_same_losses_bit_for_bit(
    sft_run: Path, sft_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_sft(str(sft_run), str(sft_policy), recipe(64), tmp_path / "whole")
    with dying(monkeypatch, step=5):
        train_sft(str(sft_run), str(sft_policy), recipe(64), tmp_path / "cut")
    train_sft(str(sft_run), str(sft_policy), recipe(64), tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_what_a_tower_that_is_trained_makes_is_not_kept_and_that_is_said(
    sft_run: Path, sft_policy: Path, tmp_path: Path, encoded: list[int], shown: list[Any]
) -> None:
    say = Notes()
    train_sft(str(sft_run), str(sft_policy), recipe(64, vision_tower=True), tmp_path / "out", progress=say)
    assert sum(encoded) == len(shown)
    assert "features_mb: nothing is kept, for the vision tower is trained" in say.notes
    train_sft(str(sft_run), str(sft_policy), recipe(64), tmp_path / "frozen", progress=(quiet := Notes()))
    assert not [note for note in quiet.notes if "features_mb" in note]
