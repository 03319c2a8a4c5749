"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtscot.ledger import Ledger

os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos, masks and expressions that stand beside a checkout, where they are at hand."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data of ../shared/data is not here ({SHARED_DATA.name} is missing beside the checkout)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo tree of 8 videos (6 train, 2 valid_u), seed 0."""
    from vtscot.demo import write_demo

    root = tmp_path_factory.mktemp("demo")
    write_demo(root, videos=8, seed=0, workers=1)
    return root


@pytest.fixture(scope="session")
def tiny_policy_folder(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with random weights (see tests/policies.py): nothing it says parses."""
    pytest.importorskip("torch", reason="policies need the extra `train`")
    pytest.importorskip("transformers", reason="policies need the extra `train`")
    from tests.policies import spoken_episodes, tiny_policy

    return tiny_policy(tmp_path_factory.mktemp("policies") / "tiny", spoken_episodes(demo_root))


@pytest.fixture(scope="session")
def speaking_policy_folder(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that says the same two turns about every query of `demo_root`: some seconds of training."""
    torch = pytest.importorskip("torch", reason="policies need the extra `train`")
    pytest.importorskip("transformers", reason="policies need the extra `train`")
    from tests.policies import speaking_policy, spoken_episodes

    torch.set_num_threads(1)
    return speaking_policy(tmp_path_factory.mktemp("policies") / "speaking", spoken_episodes(demo_root))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger of its own."""
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def sft_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two demo videos with few and small frames per observation."""
    from tests.sft import make_run

    return make_run(tmp_path_factory.mktemp("sft") / "run")


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tree`, a dataset whose licence keeps frames at home, and `run`, made of it; not to be changed."""
    from tests.sft import make_third_party

    return make_third_party(tmp_path_factory.mktemp("third-party"))


@pytest.fixture(scope="session")
def sft_policy(sft_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy whose tokenizer knows the words of `sft_run`."""
    pytest.importorskip("peft", reason="a policy needs the extra `train`")
    from tests.sft import make_policy

    return make_policy(tmp_path_factory.mktemp("sft-policy"), sft_run)
