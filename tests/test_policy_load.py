"""A policy by its name: folder, device, type of its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="policies need the `train` extra (torch, transformers)")
pytest.importorskip("transformers", reason="policies need the `train` extra (torch, transformers)")

import torch

from vtscot.errors import PolicyError, UsageError
from vtscot.policy import load
from vtscot.policy.init import init_tiny
from vtscot.policy.load import load_policy, policy_folder
from vtscot.policy.settings import TinySettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy stored with half the bits, as the package's own is."""
    out = tmp_path_factory.mktemp("policy")
    init_tiny(out, 0, ["the red circle"], TinySettings(sam_size=64)).to(torch.bfloat16).save_pretrained(out)
    return out


@pytest.mark.parametrize(("dtype", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_on_a_cpu_a_policy_is_float32_unless_said_otherwise(folder: Path, dtype: str, expected: torch.dtype) -> None:
    policy, processor = load_policy(str(folder), device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in policy.parameters()} == {expected}
    assert not policy.training
    assert processor.seg_id == policy.config.seg_token_id


@pytest.mark.parametrize("name", [None, "nano"])
def test_the_policy_of_the_package_has_a_name(folder: Path, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "NANO_FOLDER", folder)
    assert policy_folder(name) == str(folder)
    monkeypatch.setattr(load, "NANO_FOLDER", folder / "none")
    with pytest.raises(PolicyError, match=r"none/config\.json is missing"):
        load_policy(name)


def test_other_names_are_folders_or_ids(folder: Path) -> None:
    assert policy_folder(folder) == str(folder)
    assert policy_folder("./nano") == "./nano"
    assert policy_folder("someone/policy") == "someone/policy"
    with pytest.raises(PolicyError, match="no policy there"):
        load_policy(folder.parent)


@pytest.mark.parametrize(("option", "value"), [("device", "gpu"), ("device", "cuda:99"), ("dtype", "int8")])
def test_devices_and_types_that_are_not_there(folder: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"no {option} '{value}'"):
        load_policy(folder, **{option: value})
